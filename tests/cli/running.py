"""Runs `gridbeat` as a person would: in a folder of its own, with its exit code and its streams."""

import io
import os
import signal
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from cli.main import main

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = (sys.executable, "-c", "from cli.main import main; main()")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gridbeat:
    """The command in a folder of its own, with settings of its own and nobody else's."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("GRIDBEAT_")}
        ours = {
            "GRIDBEAT_DATABASE_URL": f"sqlite:///{self.folder / 'gridbeat.db'}",
            "GRIDBEAT_BROKER_DIR": str(self.folder / "broker"),
            "GRIDBEAT_HTTP_ADDRESS": "",
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
            "TZ": "Asia/Shanghai",
        }
        return inherited | {"LC_ALL": ""} | ours | self.settings

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command in this process: the same way in and out, without the start of Python."""
        out, err = io.StringIO(), io.StringIO()
        code: object = 0
        with (
            patch.dict(os.environ, self.environment, clear=True),
            patch.object(sys, "argv", ["gridbeat", *arguments]),
            chdir(self.folder),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as ended:
                code = ended.code
        returned = code if isinstance(code, int) else 0
        return subprocess.CompletedProcess(arguments, returned, out.getvalue(), err.getvalue())

    def process(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command as a process of its own."""
        return subprocess.run(
            [*PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command in the background, its streams open."""
        return subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hears_ctrl_c,  # noqa: PLW1509  (no thread of ours holds a lock here)
        )


def _hears_ctrl_c() -> None:
    """A shell's background job is deaf to SIGINT, and so is whatever it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)

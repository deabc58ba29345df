"""What `script/setup` installs, by the words it is given: beside an apt that only writes down."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAMPED = ("pyproject.toml", "firmware-sim/pyproject.toml")
NEEDED = ("bash", "cat", "cp", "cut", "dirname", "env", "sha256sum")
APT = """\
#!/bin/sh
for word in "$@"; do package=$word; done
case "$1" in
  install)
    echo "$package" >> "$APT_LOG"
    case "$package" in
      mosquitto) program=mosquitto ;; mosquitto-clients) program=mosquitto_pub ;; *) exit 0 ;;
    esac
    cp "$0" "${0%/*}/$program" ;;
esac
"""


class Box:
    """A checkout whose `.venv` is made already, on a machine with no package of ours."""

    def __init__(self, folder: Path, lock: str) -> None:
        self.home, self.bin, self.log = folder / "checkout", folder / "bin", folder / "apt.log"
        (self.home / "script").mkdir(parents=True)
        (self.home / "firmware-sim").mkdir()
        self.bin.mkdir()
        for name in ("script/setup", lock, *STAMPED):
            shutil.copy(ROOT / name, self.home / name)
        self._stamp(lock)
        for name in NEEDED:
            found = shutil.which(name)
            assert found is not None
            (self.bin / name).symlink_to(found)
        self._program("apt-get", APT)
        self._program("apt-cache", "#!/bin/sh\n")
        self._program("python3", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        self._program("id", "#!/bin/sh\necho 0\n")

    def setup(self, *words: str) -> set[str]:
        """Run it; the packages it installed."""
        subprocess.run(
            [self.home / "script" / "setup", *words],
            env={"PATH": str(self.bin), "APT_LOG": str(self.log), "HOME": os.environ["HOME"]},
            check=True,
            capture_output=True,
            timeout=60,
        )
        return set(self.log.read_text().split()) if self.log.exists() else set()

    def _program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def _stamp(self, lock: str) -> None:
        venv = self.home / ".venv"
        (venv / "bin").mkdir(parents=True)
        for name in ("gridbeat", "python"):
            (venv / "bin" / name).write_text("#!/bin/sh\nexit 1\n")
            (venv / "bin" / name).chmod(0o755)
        made_from = b"".join((self.home / name).read_bytes() for name in (lock, *STAMPED))
        digest = hashlib.sha256(made_from).hexdigest()
        (venv / "setup-stamp").write_text(f"{digest} {self.home.resolve()}")


@pytest.mark.parametrize(
    ("words", "influx"), [((), True), (("--test",), True), (("--service",), False)]
)
def test_a_box_that_only_serves_gets_no_influxdb(
    tmp_path: Path, words: tuple[str, ...], influx: bool
) -> None:
    """Debian's InfluxDB starts open to all: only who sets up the demo or the tests gets it."""
    lock = "requirements-dev.lock" if "--test" in words else "requirements.lock"
    installed = Box(tmp_path, lock).setup(*words)
    assert "mosquitto-clients" in installed
    assert ("influxdb" in installed) is influx


def test_the_reference_deployment_only_serves() -> None:
    """docs/deployment.md sets up each release with `--service`."""
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    told = re.findall(r"script/setup(.*)", text)
    assert told
    assert [line for line in told if not line.startswith(" --service")] == []

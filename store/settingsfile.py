"""The settings file: `gridbeat.toml` in the working directory, or what GRIDBEAT_CONFIG names."""

import os
import tomllib
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

CONFIG = "GRIDBEAT_CONFIG"
FILE = "gridbeat.toml"

PATHS = ("broker_dir", "ca_dir", "mqtt_ca_file", "tag_keys_file", "tag_passphrase_file")


class SettingsError(Exception):
    """Some settings are wrong. Each line says which, where it came from, and what to write."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(("the settings are wrong:", *(f"  {p}" for p in problems))))


def config_path() -> Path | None:
    """The settings file in force, or None. What GRIDBEAT_CONFIG names need not exist."""
    named = os.environ.get(CONFIG)
    if named:
        return Path(named).absolute()
    beside = Path.cwd() / FILE
    return beside if beside.exists() else None


def home() -> Path:
    """Where data lies unless told otherwise: beside the settings file, else the user's folder."""
    path = config_path()
    return path.parent if path else user_data_path("gridbeat", appauthor=False)


def read_file() -> dict[str, Any]:
    """What the settings file says, its paths made absolute. {} where there is none.

    Raises SettingsError if the file that GRIDBEAT_CONFIG names is missing, or is not TOML.
    """
    path = config_path()
    if path is None:
        return {}
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as cause:
        raise SettingsError(
            (f"{path}: cannot be read ({cause.strerror}): correct --config or {CONFIG}",)
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise SettingsError((f"{path}: is not TOML: {cause}",)) from None
    return {name: _rooted(name, value, path.parent) for name, value in said.items()}


def _rooted(name: str, value: Any, folder: Path) -> Any:
    if not isinstance(value, str) or not value:
        return value
    if name in PATHS:
        return str(folder / Path(value).expanduser())
    if name == "database_url" and value.startswith("sqlite:///") and value[10:11] not in ("", "/"):
        return value if ":memory:" in value else f"sqlite:///{folder / value[10:]}"
    return value

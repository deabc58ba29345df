"""What can be set, and from where: flags over GRIDBEAT_… over gridbeat.toml over defaults.

Paths in the file are relative to its folder; paths in flags and variables to the working directory.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from devices.ids import is_slug
from rules.presence import Limits
from store.addresses import HttpAddress, MqttAddress, database_path, database_url, http_url
from store.settingsfile import CONFIG, SettingsError, config_path, home, read_file

PREFIX = "GRIDBEAT_"
DEBUG = "GRIDBEAT_DEBUG"
OTHERS = ("GRIDBEAT_SIM_", "GRIDBEAT_DASHBOARDS")
"""Of the simulator, and of the deployment's Grafana."""


class ClockKind(StrEnum):
    """Whose time is now: the machine's, or the ticks of `patrol/v1/sim/clock`."""

    SYSTEM = "system"
    MQTT = "mqtt"


class MqttSource(StrEnum):
    """What reads from the broker (decision 15)."""

    WIRE = "wire"
    PAHO = "paho"


class WhenTaken(StrEnum):
    """What to do where another service serves the broker: end, or wait until it is gone."""

    STOP = "stop"
    SILENT = "silent"


class InfluxApi(StrEnum):
    """Which write endpoint the series uses: `/write` or `/api/v2/write`."""

    V1 = "v1"
    V2 = "v2"


class LogLevel(StrEnum):
    """The least severe line that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _reads(parse: Callable[[str], Any], *, empty: bool = False) -> BeforeValidator:
    """Text is parsed, anything else is left to the field's own type. `empty`: blank is None."""

    def read(value: Any) -> Any:
        if isinstance(value, int | float | list | dict):
            raise ValueError("write it as text, in quotes")
        if not isinstance(value, str):
            return value
        text = value.strip()
        return None if empty and not text else parse(text)

    return BeforeValidator(read)


def _sqlite(text: str) -> str:
    return database_url(database_path(text, Path.cwd()))


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _instance(text: str) -> str:
    if not is_slug(text):
        raise ValueError("write 1 to 63 of a-z, 0-9 and -, as in `gridbeat` or `worker-2`")
    return text


Text = Annotated[str | None, _reads(str, empty=True)]
Secret = Annotated[SecretStr | None, _reads(SecretStr, empty=True)]


class Settings(BaseSettings):
    """Every setting, checked. `load_settings` makes one with errors for people."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )
    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)

    database_url: Annotated[str, _reads(_sqlite)] = Field(
        default_factory=lambda: database_url(home() / "gridbeat.db"),
        description="The ledger: sqlite:///file (relative to this file) or sqlite:////folder/file.",
        json_schema_extra={"sample": "sqlite:///gridbeat.db"},
    )
    mqtt_url: Annotated[MqttAddress, NoDecode, _reads(MqttAddress.parse)] = Field(
        default=MqttAddress(host="127.0.0.1", port=1883),
        description="The broker: mqtts://user:password@host:port; on loopback mqtt:// will do, "
        "with or without a user.",
    )
    mqtt_insecure: bool = Field(
        default=False,
        description="true: a broker beyond loopback is spoken to without TLS, or without a user. "
        "Only in a network that is wholly yours.",
    )
    mqtt_ca_file: Annotated[Path | None, _reads(_path, empty=True)] = Field(
        default=None,
        description="The certificate authority that mqtts:// trusts; the system's where empty.",
    )
    mqtt_source: MqttSource = Field(
        default=MqttSource.WIRE,
        description="wire: our own connections, the fast ones. paho: paho-mqtt's, to fall back on.",
    )
    instance: Annotated[str, _reads(_instance)] = Field(
        default="gridbeat",
        description="The name of this service at the broker. Each one on a broker needs its own.",
    )
    when_taken: WhenTaken = Field(
        default=WhenTaken.STOP,
        description="Where another service serves the broker already. stop: say so and end. "
        "silent: wait, and step in when it is gone.",
    )
    broker_dir: Annotated[Path, _reads(_path)] = Field(
        default_factory=lambda: home() / "broker",
        description="Where `broker init` and `device enroll` keep the broker's password and "
        "access files.",
        json_schema_extra={"sample": "broker"},
    )
    ca_dir: Annotated[Path, _reads(_path)] = Field(
        default_factory=lambda: home() / "ca",
        description="Where `tls init` keeps the private authority's key; needed only to renew.",
        json_schema_extra={"sample": "ca"},
    )
    http_address: Annotated[HttpAddress | None, NoDecode, _reads(HttpAddress.parse, empty=True)] = (
        Field(
            default=HttpAddress(host="127.0.0.1", port=8420),
            description="Where /livez, /readyz and /metrics are served; empty: nowhere.",
        )
    )
    clock: ClockKind = Field(
        default=ClockKind.SYSTEM,
        description="system: the machine's clock. mqtt: the simulator's ticks, for replays.",
    )
    influx_url: Annotated[str | None, _reads(http_url, empty=True)] = Field(
        default=None,
        description="InfluxDB, as http://host:8086. Empty: the same questions are answered from "
        "the ledger.",
    )
    influx_api: InfluxApi = Field(
        default=InfluxApi.V1,
        description="v1: InfluxDB 1 (/write). v2: InfluxDB 2 and 3, VictoriaMetrics "
        "(/api/v2/write).",
    )
    influx_database: Annotated[str, _reads(str)] = Field(
        default="gridbeat", min_length=1, description="v1: the database, made where missing."
    )
    influx_username: Text = Field(default=None, description="v1: the user, where one is needed.")
    influx_password: Secret = Field(default=None, description="v1: the password of that user.")
    influx_org: Text = Field(default=None, description="v2: the organisation.")
    influx_bucket: Text = Field(default=None, description="v2: the bucket.")
    influx_token: Secret = Field(default=None, description="v2: a token that may write and read.")
    place_radius_m: int = Field(
        default=50,
        ge=1,
        le=1_000,
        description="Metres around a checkpoint's `pos` in which a position that somebody reports "
        "by hand is a visit.",
    )
    offline_after_s: int = Field(
        default=120,
        ge=0,
        description="Seconds a device must have been unreachable before device.offline is told: a "
        "shorter cut raises nothing.",
    )
    battery_low: int = Field(
        default=20, ge=0, le=100, description="Percent at or below which device.battery-low opens."
    )
    battery_right: int = Field(
        default=30,
        ge=0,
        le=100,
        description="Percent at or above which it ends; in between nothing changes.",
    )
    tag_url: Annotated[str, _reads(str)] = Field(
        default="https://gridbeat.invalid/t",
        description="What the URL on a tag that proves presence begins with; a phone that taps it "
        "opens it.",
    )
    tag_keys_file: Annotated[Path, _reads(_path)] = Field(
        default_factory=lambda: home() / "tag-keys.json",
        description="The master keys of such tags, encrypted: `gridbeat tag new-key` makes it.",
        json_schema_extra={"sample": "tag-keys.json"},
    )
    tag_passphrase_file: Annotated[Path | None, _reads(_path, empty=True)] = Field(
        default=None,
        description="A file that holds the passphrase of tag_keys_file, for its owner alone; "
        "or GRIDBEAT_TAG_PASSPHRASE, which may not stand here.",
    )
    tag_passphrase: Secret = Field(default=None, description="The passphrase of tag_keys_file.")
    tag_master_keys: Secret = Field(
        default=None, description="Master keys in place of tag_keys_file: 1=32 hex digits,2=…"
    )
    disk_floor_mb: int = Field(
        default=200,
        ge=0,
        description="MiB that stay free on the ledger's disk: below, nothing more is read or "
        "acknowledged.",
    )
    wal_limit_mb: int = Field(
        default=2_048,
        ge=1,
        description="MiB to which the ledger's log may grow while somebody keeps reading the "
        "ledger: above, nothing more is read or acknowledged until that ends.",
    )
    batch_size: int = Field(
        default=2_000, ge=1, le=10_000, description="Messages that one commit holds at most."
    )
    receive_maximum: int = Field(
        default=4_000,
        ge=1,
        le=65_535,
        description="Messages the broker may send ahead of our acknowledgements.",
    )
    log_level: LogLevel = Field(default=LogLevel.INFO, description="debug, info, warning or error.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """What no single setting can tell. Raises ValueError naming the settings."""
        v2 = self.influx_url is not None and self.influx_api is InfluxApi.V2
        wrong = {
            "influx_api is v2, which needs influx_bucket: set it, or choose v1": v2
            and not self.influx_bucket,
            "influx_password is set without influx_username: set both": bool(
                self.influx_password and not self.influx_username
            ),
            "battery_right must be above battery_low: raise it": (
                self.battery_right <= self.battery_low
            ),
            "mqtt_ca_file is set, but mqtt_url is not mqtts://: make it so": bool(
                self.mqtt_ca_file and not self.mqtt_url.tls
            ),
            f"mqtt_url {self.mqtt_url.exposed}; or say mqtt_insecure (--mqtt-insecure)": bool(
                self.mqtt_url.exposed and not self.mqtt_insecure
            ),
        }
        if found := [words for words, holds in wrong.items() if holds]:
            raise ValueError("\n".join(found))
        return self

    @property
    def limits(self) -> Limits:
        """When something of a device is told."""
        return Limits(
            offline=self.offline_after_s * 1_000,
            battery_low=self.battery_low,
            battery_right=self.battery_right,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then variables, then the file; no .env and no secrets folder."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, read_file())

    def describe(self) -> tuple["Described", ...]:
        """Every setting with its value, secrets masked, and where the value came from."""
        return tuple(
            Described(
                name=name,
                value=shown(getattr(self, name)),
                origin=self._origins.get(name, "default"),
                meaning=field.description or "",
            )
            for name, field in type(self).model_fields.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One line of `config show`."""

    name: str
    value: str
    origin: str
    meaning: str


ONLY_VARIABLES = ("tag_passphrase", "tag_master_keys")
"""Never in the settings file: there they would lie beside what they open."""


def load_settings(**flags: Any) -> Settings:
    """The settings in force. A flag that is None was not given.

    Raises SettingsError with everything that is wrong, not only the first thing.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    said = read_file()
    if stray := [name for name in ONLY_VARIABLES if name in said]:
        why = "it may not lie beside what it opens: set {}{} instead"
        raise SettingsError(
            tuple(f"{config_path()}: {n}: {why.format(PREFIX, n.upper())}" for n in stray)
        )
    origins = _origins(given, said)
    try:
        settings = Settings(**given)
    except ValidationError as cause:
        errors = cause.errors(include_url=False, include_input=False)
        lines = (_problem(error, origins) for error in errors)
        raise SettingsError(tuple(chain.from_iterable(map(str.splitlines, lines)))) from None
    settings._origins = origins
    return settings


def unknown_variables() -> tuple[str, ...]:
    """GRIDBEAT_… variables that set nothing, each with what was perhaps meant.

    They are told and not refused: other programs may keep theirs under the same prefix.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG, DEBUG}
    stray = (v for v in sorted(os.environ) if v.upper().startswith(PREFIX))
    stray = (v for v in stray if not v.upper().startswith(OTHERS))
    return tuple(
        f"{v} sets nothing{_meant(v.upper(), known)}" for v in stray if v.upper() not in known
    )


def _origins(flags: Mapping[str, Any], in_file: Mapping[str, Any]) -> dict[str, str]:
    variables = {name.upper(): name for name in os.environ}
    of_file = dict.fromkeys(in_file, str(config_path()))
    of_env = {
        name: variables[PREFIX + name.upper()]
        for name in Settings.model_fields
        if PREFIX + name.upper() in variables
    }
    return of_file | of_env | dict.fromkeys(flags, "flag")


def _problem(error: ErrorDetails, origins: Mapping[str, str]) -> str:
    """One line: where the value came from, which setting, what to do."""
    name = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        meant = _meant(name, Settings.model_fields)
        return f"{origins[name]}: {name} is no setting{meant or ': take it out'}"
    text = error["msg"].removeprefix("Value error, ")
    return f"{origins.get(name, 'default')}: {name}: {text}" if name else text


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def shown(value: Any) -> str:
    """A value as a line of text; a secret is masked."""
    if value is None:
        return ""
    return "***" if isinstance(value, SecretStr) else str(value)

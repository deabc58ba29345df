"""Settings: which source wins, what is refused and in which words, what is never shown."""

import os
from pathlib import Path

import pytest

from store.addresses import HttpAddress, MqttAddress, database_path
from store.settings import (
    ONLY_VARIABLES,
    ClockKind,
    Settings,
    load_settings,
    unknown_variables,
)
from store.settingsfile import SettingsError
from store.settingssample import sample_toml

EXAMPLE = Path(__file__).parents[2] / "examples" / "gridbeat.toml"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.upper().startswith("GRIDBEAT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def test_a_flag_goes_over_a_variable_over_the_file_over_the_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags win over variables, variables over gridbeat.toml, the file over defaults."""
    (folder / "gridbeat.toml").write_text('instance = "file"\nbatch_size = 7\nclock = "mqtt"\n')
    monkeypatch.setenv("GRIDBEAT_INSTANCE", "variable")
    monkeypatch.setenv("GRIDBEAT_BATCH_SIZE", "8")

    settings = load_settings(instance="flag", batch_size=None)

    assert (settings.instance, settings.batch_size) == ("flag", 8)
    assert settings.clock is ClockKind.MQTT
    assert settings.disk_floor_mb == 200
    origins = {line.name: line.origin for line in settings.describe()}
    assert origins["instance"] == "flag"
    assert origins["batch_size"] == "GRIDBEAT_BATCH_SIZE"
    assert origins["clock"] == str(folder / "gridbeat.toml")
    assert origins["disk_floor_mb"] == "default"


def test_data_lies_in_the_users_folder_or_beside_the_file(folder: Path, tmp_path: Path) -> None:
    """Without a settings file the ledger is in the user's data folder, with one beside it."""
    assert load_settings().database_url == f"sqlite:///{tmp_path}/data/gridbeat/gridbeat.db"
    (folder / "gridbeat.toml").touch()
    settings = load_settings()
    assert settings.database_url == f"sqlite:///{folder}/gridbeat.db"
    assert settings.broker_dir == folder / "broker"


def test_paths_in_the_file_are_relative_to_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the service is started from does not move what the settings file names."""
    file = tmp_path / "etc" / "box.toml"
    file.parent.mkdir()
    file.write_text('database_url = "sqlite:///led.db"\nbroker_dir = "b"\n')
    monkeypatch.setenv("GRIDBEAT_CONFIG", str(file))
    settings = load_settings()
    assert settings.database_url == f"sqlite:///{tmp_path}/etc/led.db"
    assert settings.broker_dir == tmp_path / "etc" / "b"


def test_everything_wrong_is_said_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One error lists every wrong setting, where it came from, and what to write instead."""
    (folder / "gridbeat.toml").write_text('mqtt_ulr = "x"\nclock = "sun"\nhttp_address = 8080\n')
    monkeypatch.setenv("GRIDBEAT_MQTT_URL", "tcp://host")
    with pytest.raises(SettingsError) as refused:
        load_settings(batch_size="many", database_url="postgresql://u:geheim@host/db")
    text = str(refused.value)
    assert len(refused.value.problems) == 6
    assert "mqtt_ulr is no setting; did you mean mqtt_url?" in text
    assert f"{folder / 'gridbeat.toml'}: clock: Input should be 'system' or 'mqtt'" in text
    assert "http_address: write it as text, in quotes" in text
    assert "GRIDBEAT_MQTT_URL: mqtt_url: write mqtt://host:1883" in text
    assert "flag: batch_size: Input should be a valid integer" in text
    assert "flag: database_url: PostgreSQL is not supported yet" in text
    assert "geheim" not in text


def test_settings_that_contradict_each_other_are_refused_together() -> None:
    """A setting that needs another one is refused, every such pair in one go."""
    with pytest.raises(SettingsError) as refused:
        load_settings(
            influx_url="http://h:8086", influx_api="v2", influx_password="p", mqtt_ca_file="ca.pem"
        )
    assert [line.split()[0] for line in refused.value.problems] == [
        "influx_api",
        "influx_password",
        "mqtt_ca_file",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not TOML"),
        ("a = ", "is not TOML"),
    ],
)
def test_a_broken_or_missing_file_is_named(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings file that GRIDBEAT_CONFIG names must be there and must be TOML."""
    file = tmp_path / "gone.toml"
    monkeypatch.setenv("GRIDBEAT_CONFIG", str(file))
    if text:
        file.write_text(text)
    with pytest.raises(SettingsError, match=words if text else "cannot be read"):
        load_settings()


def test_secrets_are_never_shown() -> None:
    """No printed form of the settings holds a password or a token."""
    settings = load_settings(
        mqtt_url="mqtts://gridbeat:g%40heim@box:8883",
        influx_url="http://h:8086",
        influx_username="u",
        influx_password="geheim",
        influx_token="geheim",
    )
    assert settings.mqtt_url.password == "g@heim"
    assert settings.influx_token is not None
    assert settings.influx_token.get_secret_value() == "geheim"
    shown = f"{settings!r} {settings!s} {settings.mqtt_url!r} {settings.describe()}"
    assert "heim" not in shown
    assert "mqtts://gridbeat:***@box:8883" in shown


def test_the_sample_file_is_what_the_settings_say() -> None:
    """examples/gridbeat.toml is generated; `store.settingssample.sample_toml()` makes it anew."""
    assert EXAMPLE.read_text(encoding="utf-8") == sample_toml()


def test_the_sample_file_changes_nothing(folder: Path) -> None:
    """Every line of the sample, taken out of its comment, is the default."""
    (folder / "gridbeat.toml").touch()
    before = load_settings()
    lines = sample_toml().splitlines()
    active = [line.removeprefix("# ") for line in lines if " = " in line]
    (folder / "gridbeat.toml").write_text("\n".join(active))
    assert len(active) == len(Settings.model_fields) - len(ONLY_VARIABLES)
    assert load_settings().model_dump() == before.model_dump()


@pytest.mark.parametrize("name", ONLY_VARIABLES)
def test_what_opens_the_tags_keys_may_not_lie_beside_them(folder: Path, name: str) -> None:
    """In the settings file, or a backup of it, it would undo the encryption; it is not repeated."""
    (folder / "gridbeat.toml").write_text(f'{name} = "c0ffee-secret"\n')
    with pytest.raises(SettingsError, match=f"set GRIDBEAT_{name.upper()} instead") as refused:
        load_settings()
    assert "c0ffee" not in str(refused.value)


def test_variables_that_set_nothing_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt GRIDBEAT_… variable is named, with what was perhaps meant."""
    monkeypatch.setenv("GRIDBEAT_MQTT_ULR", "mqtt://x")
    assert unknown_variables() == (
        "GRIDBEAT_MQTT_ULR sets nothing; did you mean GRIDBEAT_MQTT_URL?",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mqtt://localhost", MqttAddress(host="localhost", port=1883)),
        ("mqtt://[::1]:1884", MqttAddress(host="::1", port=1884)),
        (
            "mqtts://a:b%2Fc@broker.example/",
            MqttAddress(host="broker.example", port=8883, tls=True, username="a", password="b/c"),
        ),
    ],
)
def test_a_broker_address_is_read(text: str, expected: MqttAddress) -> None:
    """Scheme, user, password, host and port are read from one URL, with their defaults."""
    assert MqttAddress.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://host", "write mqtt://host:1883"),
        ("mqtt://", "names no host"),
        ("mqtt://:p@localhost", "password but no user"),
        ("mqtt://localhost:70000", "the port"),
        ("mqtt://localhost/topic", "ends after the port"),
    ],
)
def test_a_wrong_broker_address_is_refused_with_a_remedy(text: str, words: str) -> None:
    """What cannot be a broker is refused in words that say what can."""
    with pytest.raises(ValueError, match=words):
        MqttAddress.parse(text)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mqtt://10.0.0.7", "names no user"),
        ("mqtts://broker", "names no user"),
        ("mqtt://a:geheim@10.0.0.7", "in the clear"),
        ("mqtt://a:geheim@localhost.example", "in the clear"),
    ],
)
def test_beyond_loopback_a_broker_needs_tls_and_a_user(
    url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker beyond loopback without TLS or a user is refused, unless told so by name."""
    with pytest.raises(SettingsError, match=words) as refused:
        load_settings(mqtt_url=url)
    assert "geheim" not in str(refused.value)
    assert load_settings(mqtt_url=url, mqtt_insecure=True).mqtt_url == MqttAddress.parse(url)
    monkeypatch.setenv("GRIDBEAT_MQTT_INSECURE", "true")
    assert load_settings(mqtt_url=url).mqtt_insecure


@pytest.mark.parametrize(
    "url",
    ["mqtt://localhost", "mqtt://127.0.0.9", "mqtt://[::1]", "mqtts://a:b@broker.example"],
)
def test_loopback_and_tls_with_a_user_are_always_allowed(url: str) -> None:
    """What cannot be listened in to needs no word of permission."""
    assert load_settings(mqtt_url=url).mqtt_url == MqttAddress.parse(url)


def test_an_empty_http_address_serves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty value switches the probes off; IPv6 hosts stand in brackets."""
    monkeypatch.setenv("GRIDBEAT_HTTP_ADDRESS", "")
    assert load_settings().http_address is None
    assert load_settings(http_address="[::1]:0").http_address == HttpAddress(host="::1", port=0)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://h/d", "gridbeat.db", ""]
)
def test_the_ledger_is_a_file(url: str) -> None:
    """Only a SQLite file can be the ledger; everything else is refused in plain words."""
    with pytest.raises(ValueError, match=r"SQLite|file"):
        database_path(url, Path("/"))


def test_settings_cannot_be_changed() -> None:
    """Settings are read once and frozen."""
    with pytest.raises(ValueError, match="frozen"):
        load_settings().instance = "other"

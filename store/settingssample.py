"""The sample of the settings file, made from the settings themselves."""

import textwrap

from pydantic.fields import FieldInfo

from store.settings import ONLY_VARIABLES, Settings, shown


def sample_toml() -> str:
    """The sample file: every setting, commented out, with its default."""
    head = (
        "# Gridbeat's settings. Copy this file to gridbeat.toml in the folder you start it from,",
        "# or name it in GRIDBEAT_CONFIG. A variable GRIDBEAT_<NAME> goes over what stands here,",
        "# a flag over both. Every line shows its default.",
    )
    entries = (
        _sample(name, field)
        for name, field in Settings.model_fields.items()
        if name not in ONLY_VARIABLES
    )
    return "\n".join((*head, *entries)) + "\n"


def _sample(name: str, field: FieldInfo) -> str:
    extra = field.json_schema_extra
    default = extra["sample"] if isinstance(extra, dict) else field.default
    value = str(default).lower() if isinstance(default, int) else f'"{shown(default)}"'
    words = textwrap.wrap(field.description or "", width=96)
    return "\n".join(("", *(f"# {line}" for line in words), f"# {name} = {value}"))

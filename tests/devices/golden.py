"""The golden vectors of contract v1, read as `devices/contract/v1/README.md` describes them."""

import base64
import json
from importlib.resources import files
from typing import Any

import msgspec
import pytest

from devices.codec import Bad, Record

CONTRACT = files("devices") / "contract" / "v1"

Vector = dict[str, Any]


def vectors(name: str) -> list[Vector]:
    """All vectors of one file."""
    found = json.loads((CONTRACT / "vectors" / f"{name}.json").read_text("utf-8"))
    return list(found["vectors"])


def cases(*names: str) -> pytest.MarkDecorator:
    """One test for each vector of these files, named by it."""
    params = [
        pytest.param(name, vector, id=f"{name}-{vector['name']!a}")
        for name in names
        for vector in vectors(name)
    ]
    return pytest.mark.parametrize(("kind", "vector"), params)


def document(name: str) -> Any:
    """A schema or the topic grammar."""
    return json.loads((CONTRACT / name).read_text("utf-8"))


def payload(vector: Vector) -> bytes:
    """The exact bytes of a vector."""
    coded = vector.get("payload_base64")
    raw: bytes = vector["payload"].encode() if coded is None else base64.b64decode(coded)
    pad = vector.get("pad")
    return raw if pad is None else raw.ljust(pad["to"], bytes([pad["byte"]]))


def plain(message: msgspec.Struct) -> dict[str, Any]:
    """A message as vectors write it: without what was not sent, and without empty lists."""
    members: dict[str, Any] = msgspec.to_builtins(message)
    return {
        name: said for name, value in members.items() if (said := _said(value)) not in (None, [])
    }


def _said(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _said(inner) for name, inner in value.items() if inner is not None}
    return [_said(inner) for inner in value] if isinstance(value, list | tuple) else value


def told(found: Record | Bad) -> dict[str, Any]:
    """A decoded record as an entry of `expect`."""
    if isinstance(found, Bad):
        return {"bad": str(found.reason), "epoch": found.epoch, "seq": found.seq}
    return {"identity": str(found.identity), "message": plain(found.message)}

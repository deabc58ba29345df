"""The service's own modules, or a copy of all of them in which one thing is wrong."""

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

ROOMS = ("rules", "store", "ingest")
SHARED = ("store.tables",)
"""Tables stand in one set of metadata and cannot be made twice."""

RULES = (
    "rules.calendar",
    "rules.clocks",
    "rules.events",
    "rules.obligations",
    "rules.plans",
)
WANTED = (
    *RULES,
    "ingest.beginning",
    "ingest.clock",
    "ingest.doubts",
    "ingest.owing",
    "ingest.reader",
    "ingest.watch",
    "ingest.writer",
    "store.database",
    "store.picture",
    "store.registry",
    "store.settings",
)

Modules = Mapping[str, Any]


class _Wrong(SourceFileLoader):
    """Loads a module with one passage replaced."""

    def __init__(self, name: str, path: str, right: str, wrong: str) -> None:
        super().__init__(name, path)
        self._right = right
        self._wrong = wrong

    def get_code(self, fullname: str) -> Any:
        source = self.get_source(fullname) or ""
        if self._right not in source:
            raise LookupError(f"{fullname} does not read {self._right!r} any more")
        return self.source_to_code(source.replace(self._right, self._wrong, 1), self.path)


class _Finder(MetaPathFinder):
    def __init__(self, name: str, right: str, wrong: str) -> None:
        self._name = name
        self._change = (right, wrong)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Wrong(fullname, spec.origin, *self._change)
        return spec


def healthy(wanted: Sequence[str] = WANTED) -> Modules:
    """The modules as they are."""
    return {name: importlib.import_module(name) for name in wanted}


def broken(name: str, right: str, wrong: str, wanted: Sequence[str] = WANTED) -> Modules:
    """The modules imported anew, with one passage of the module `name` replaced.

    Raises LookupError where the passage is not there any more.
    """
    for shared in SHARED:
        importlib.import_module(shared)
    with _aside(), _finding(_Finder(name, right, wrong)):
        copies = healthy(wanted)
        if name not in sys.modules:
            raise LookupError(f"nothing that is tested here imports {name}")
        return copies


@contextmanager
def _aside() -> Iterator[None]:
    """Set the rooms' modules aside, and put them back."""
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ROOMS}
    shared = {name: kept[name] for name in SHARED}
    for name in kept:
        del sys.modules[name]
    sys.modules.update(shared)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] in ROOMS]:
            del sys.modules[name]
        sys.modules.update(kept)


@contextmanager
def _finding(finder: _Finder) -> Iterator[None]:
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)

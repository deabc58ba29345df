"""The members of one mapping, read by name. What is wrong is noted with a remedy; reading goes on.

A member that was never asked for is unknown, and `finish` says so.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from store.registry.document import Named
from store.registry.nodes import Group, Listing, Node, Problem, Scalar

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

FILE = "the file"
"""The label of the outermost group; what stands in it is not said to be of anything."""

EXAMPLES = {
    "id": "id: gate-east",
    "name": "name: 东门",
    "timezone": "timezone: Asia/Shanghai",
    "tree": "tree: sector",
    "level": "level: 1",
    "days": "days: [school-day]",
    "terms": "terms: [{from: 2026-09-01, to: 2027-01-22}]",
    "route": "route: [gate-east, lab]",
    "per": "per: month",
    "windows": 'windows: ["22:00-23:00"]',
    "from": "from: 2026-09-01",
    "to": "to: 2027-01-22",
    "lat": "lat: 39.7405",
    "lon": "lon: 118.7003",
}


def meant(text: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where something known is close to `text`, else nothing."""
    close = get_close_matches(text, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


class Fields:
    """Reads one group. `label` names it in problems: "checkpoint 'lab' of site 'school-01'"."""

    def __init__(
        self, node: Node, kind: str, problems: list[Problem], within: str | None = None
    ) -> None:
        self.line = node.line
        self._problems = problems
        self._group = node if isinstance(node, Group) else Group(node.line, {})
        self._asked: list[str] = []
        self.label = kind + self._called() + (f" of {within}" if within else "")
        self._readable = isinstance(node, Group)
        if not self._readable:
            self.wrong(
                node.line, "must be a mapping: write {id: …, …}, or its keys below each other"
            )

    def _called(self) -> str:
        member = self._group.members.get("id")
        node = member.node if member else None
        return f" '{node.text}'" if isinstance(node, Scalar) and node.text else ""

    def below(self, node: Node, kind: str) -> "Fields":
        """Reads a group that stands inside this one."""
        return Fields(node, kind, self._problems, within=None if self.label == FILE else self.label)

    def wrong(self, line: int, text: str) -> None:
        """Note a problem of this group."""
        self._problems.append(Problem(line, f"{self.label}: {text}"))

    def node(self, name: str) -> Node | None:
        """What stands under `name`; None where it is missing or null."""
        self._asked.append(name)
        member = self._group.members.get(name)
        if member is None or (isinstance(member.node, Scalar) and member.node.text is None):
            return None
        return member.node

    def scalar(self, name: str, parse: Callable[[str], T], *, fallback: T) -> T:
        """The value under `name`; `fallback` where it is missing or `parse` raises ValueError."""
        return self._parsed(name, self.node(name), parse, fallback)

    def needed(self, name: str, parse: Callable[[str], T], *, fallback: T) -> T:
        """Like `scalar`, but it is a problem where `name` is missing."""
        node = self.node(name)
        if node is None:
            self._missing(name)
        return self._parsed(name, node, parse, fallback)

    def named(self, name: str) -> Named | None:
        """The id of another thing, not looked up yet."""
        node = self.node(name)
        text = self._parsed(name, node, str, "")
        return Named(text, node.line) if node is not None and text else None

    def many(
        self, name: str, parse: Callable[[str], T], *, needed: bool = False
    ) -> tuple[tuple[T, int], ...]:
        """The values of the list under `name`, each with its line."""
        found: list[tuple[T, int]] = []
        for item in self.items(name, needed=needed):
            if not isinstance(item, Scalar) or item.text is None:
                self.wrong(item.line, f"{name}: each item must be one value")
                continue
            try:
                found.append((parse(item.text), item.line))
            except ValueError as cause:
                self.wrong(item.line, f"{name}: {cause}")
        return tuple(found)

    def items(self, name: str, *, needed: bool = False) -> Iterator[Node]:
        """The nodes of the list under `name`. With `needed`, an empty list is a problem."""
        node = self.node(name)
        if node is None:
            if needed:
                self._missing(name)
            return
        if not isinstance(node, Listing):
            self.wrong(node.line, f"{name}: must be a list: write [ ] around it, or - before each")
            return
        if needed and not node.items:
            self.wrong(node.line, f"{name}: is empty: write {EXAMPLES.get(name, 'at least one')}")
        yield from node.items

    def finish(self) -> None:
        """Say which members nobody asked for."""
        for name, member in self._group.members.items():
            if name not in self._asked:
                remedy = meant(name, self._asked) or f": known here are {', '.join(self._asked)}"
                self.wrong(member.line, f"'{name}' is not known{remedy}")

    def _parsed(self, name: str, node: Node | None, parse: Callable[[str], T], fallback: T) -> T:
        if node is None:
            return fallback
        if not isinstance(node, Scalar) or node.text is None:
            self.wrong(node.line, f"{name}: must be one value, not a list or mapping")
            return fallback
        try:
            return parse(node.text)
        except ValueError as cause:
            self.wrong(node.line, f"{name}: {cause}")
            return fallback

    def _missing(self, name: str) -> None:
        if not self._readable:
            return  # one problem is enough: this is no mapping at all
        example = EXAMPLES.get(name, f"{name}: …")
        self.wrong(self.line, f"'{name}' is missing: add it, as in {example}")


def choice(kind: type[E]) -> Callable[[str], E]:
    """Reads one of the words of an enum."""
    word = one_of([str(word) for word in kind])
    return lambda text: kind(word(text))


def one_of(known: Sequence[str]) -> Callable[[str], str]:
    """Reads one of some words."""

    def read(text: str) -> str:
        if text not in known:
            remedy = meant(text, known) or f": write one of {', '.join(known)}"
            raise ValueError(f"'{text}' is not known{remedy}")
        return text

    return read

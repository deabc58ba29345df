"""YAML as it was written: every value with its line, every scalar as the text in the file.

Nothing is guessed from how a scalar looks: an id of digits stays text, and a tag such as
04112233445566 keeps its leading zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

NULL = "tag:yaml.org,2002:null"
MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something that refuses the file: the line (from 1), what is wrong, and the remedy."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


class RegistryRefused(Exception):  # noqa: N818  (the operator's message, not a fault of the code)
    """Nothing was applied. The message lists everything that is wrong, by line, with remedies."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as text; None where the file says null, or nothing."""

    line: int
    text: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A sequence."""

    line: int
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A key of a group and what stands under it."""

    line: int
    node: "Node"


@dataclass(frozen=True, slots=True)
class Group:
    """A mapping, its keys in the order of the file."""

    line: int
    members: dict[str, Member]


Node = Scalar | Listing | Group


def parse(data: bytes) -> tuple[Node, list[Problem]]:
    """The tree of a file and what is wrong with it so far: keys that stand twice.

    Raises RegistryRefused for what is no YAML, or not UTF-8 (a byte order mark is allowed).
    """
    reader = _Reader()
    return reader.node(_compose(_decoded(data))), reader.problems


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = data.count(b"\n", 0, cause.start) + 1
        raise _refused(line, "the file is not UTF-8: save it as UTF-8, not as GBK") from None


def _compose(text: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as cause:
        mark = cause.problem_mark or cause.context_mark
        words = cause.problem or cause.context or "cannot be read"
        raise _refused(mark.line + 1 if mark else 1, f"this is not YAML: {words}") from None
    except YAMLError as cause:
        words = str(cause).splitlines()[0]
        raise _refused(getattr(cause, "line", 0) + 1, f"this is not YAML: {words}") from None
    except RecursionError:
        raise _refused(1, "the file nests too deeply: write it as examples/registry.yaml") from None


def _refused(line: int, text: str) -> RegistryRefused:
    return RegistryRefused((Problem(line, text),))


class _Reader:
    """Turns ruamel's nodes into ours. An alias becomes the same object as its anchor."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._made: dict[int, Node] = {}

    def node(self, raw: Any) -> Node:
        if id(raw) not in self._made:
            self._made[id(raw)] = Scalar(_line(raw), None)  # what an alias inside itself sees
            self._made[id(raw)] = self._make(raw)
        return self._made[id(raw)]

    def _make(self, raw: Any) -> Node:
        match raw:
            case ScalarNode():
                return Scalar(_line(raw), None if raw.tag == NULL else raw.value)
            case SequenceNode():
                return Listing(_line(raw), tuple(self.node(item) for item in raw.value))
            case MappingNode():
                return Group(_line(raw), self._members(raw))
        return Scalar(1, None)  # an empty file

    def _members(self, raw: Any) -> dict[str, Member]:
        members: dict[str, Member] = {}
        for key, value in raw.value:
            if key.tag == MERGE:
                continue
            name = str(key.value) if isinstance(key, ScalarNode) else "a key that is no text"
            if name in members:
                first = members[name].line
                text = f"'{name}' stands here and in line {first}: keep one"
                self.problems.append(Problem(_line(key), text))
                continue
            members[name] = Member(_line(key), self.node(value))
        for group in self._merged(raw):
            members = {**group.members, **members}
        return members

    def _merged(self, raw: Any) -> Iterator[Group]:
        """The groups that `<<: *anchor` brings in; what the mapping says itself goes over them."""
        for key, value in raw.value:
            if key.tag == MERGE:
                node = self.node(value)
                found = node.items if isinstance(node, Listing) else (node,)
                yield from (group for group in found if isinstance(group, Group))


def _line(raw: Any) -> int:
    return 1 if raw is None else int(raw.start_mark.line) + 1

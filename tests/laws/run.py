"""Running a night: what happens to the service in turn, the laws at its end, shorter nights."""

import random
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from enum import StrEnum
from time import monotonic
from typing import Any, NamedTuple

from tests.laws import checks
from tests.laws.systems import Outcome, System
from tests.laws.world import SECOND, Item, Planned, Said, Tick


class Do(StrEnum):
    """What can happen to a service: a batch, a commit that fails, a crash, another registry."""

    TAKE = "take"
    FAIL = "fail"
    RESTART = "restart"
    FOLLOW = "follow"


class Call(NamedTuple):
    """One step of a script, with the messages of its batch or the plans that are applied."""

    do: Do
    items: tuple[Any, ...] = ()


Script = list[Call]
FEW = 20
"""A script that is shorter is watched at every step."""
Make = Callable[[str], System]
"""A new system; two by different names may live beside each other."""


def live(make: Make, script: Script, laws: Collection[str] = checks.LAWS) -> None:
    """Run a night and ask the laws of these names. Raises AssertionError where one is broken."""
    log = [item for call in script if call.do in (Do.TAKE, Do.FOLLOW) for item in call.items]
    with closing(make("ours")) as system:
        found = _happen(system, script, watched=checks.NEVER_REWRITTEN in laws)
        for law, check in checks.after_the_run(log, system, found).items():
            if law in laws:
                check()
        if checks.SET in laws:
            with closing(make("again")) as again:
                replay(log, again, random.Random(len(log)))
                checks.set_of_messages(found, again.outcome())


def _happen(system: System, script: Script, *, watched: bool) -> Outcome:
    """Everything in its turn; what the system holds in the end.

    `watched`: now and then, and before and after each restart, what was written is read again.
    """
    seen = Outcome()
    for index, call in enumerate(script):
        batch = list(call.items)
        match call.do:
            case Do.TAKE:
                system.take(batch)
            case Do.FAIL:
                system.fail(batch)
            case Do.RESTART:
                system.restart()
            case Do.FOLLOW:
                for plans in batch:
                    system.follow(plans)
        around = [each.do for each in script[index : index + 2]]
        if watched and (index % 5 == 0 or len(script) < FEW or Do.RESTART in around):
            found = system.outcome()
            checks.never_rewritten(seen, found)
            seen = found
    found = system.outcome()
    checks.never_rewritten(seen, found)
    return found


# Shorter nights -----------------------------------------------------------------------------------


def shortened(make: Make, script: Script, seconds: float) -> Script:
    """A shorter script that breaks the same law, for people to read. Better than hypothesis shrinks
    it: a step fewer here is a message fewer, and not another night."""
    until = monotonic() + seconds
    law = _broken(make, script)
    shorter = True
    while shorter:
        shorter = False
        for fewer in _shorter(script):
            if monotonic() > until:
                return script
            if _broken(make, fewer) == law:
                script, shorter = fewer, True
                break
    return script


def _shorter(script: Script) -> Iterator[Script]:
    size = len(script) // 2
    while size:
        for start in range(0, len(script), size):
            yield script[:start] + script[start + size :]
        size //= 2
    for index, call in enumerate(script):
        for leave in range(len(call.items) if call.do in (Do.TAKE, Do.FAIL) else 0):
            items = call.items[:leave] + call.items[leave + 1 :]
            yield [*script[:index], Call(call.do, items), *script[index + 1 :]]


def _broken(make: Make, script: Script) -> str | None:
    """The number of the law that a night breaks."""
    ticks = [item.at for call in script for item in call.items if isinstance(item, Tick)]
    if not ticks or script[0].do is not Do.FOLLOW:
        return None
    try:
        live(make, [*script, Call(Do.TAKE, (Tick(max(ticks) + SECOND),))])
    except AssertionError as error:
        return str(error).partition(":")[0]
    return None


# The same messages once more ----------------------------------------------------------------------


def replay(log: list[Item], system: System, chance: random.Random) -> None:
    """The same messages between the same ticks: record by record, once, in another order, in other
    batches."""
    told: set[str] = set()
    last, span, batch = 0, [], []

    def close() -> None:
        nonlocal span
        batch.extend(shuffled(span, chance))
        span = []

    for item in log:
        match item:
            case Planned():
                close()
                if batch:
                    system.take(batch)
                    batch = []
                system.follow(item)
            case Tick(at) if at > last:
                close()
                last = at
                batch.append(item)
                if chance.random() < 0.5:
                    system.take(batch)
                    batch = []
            case Said(device, "checkin"):
                alone = [Said(device, "checkin", body) for body in bodies(item)]
                span += [said for said in alone if repr(said) not in told]
                told |= {repr(said) for said in alone}
            case Said(_, "status"):
                span.append(item)
    close()
    system.take(batch)


def shuffled(span: list[Said], chance: random.Random) -> list[Said]:
    """Another order of what arrived between two ticks, keeping that of statuses and of records
    whose identity is told twice: which of two contents was first is part of what was told."""
    moving = list(span)
    for _ in range(len(span)):
        index = chance.randrange(max(len(moving) - 1, 1))
        pair = moving[index : index + 2]
        if len(pair) == 2 and free(*pair):
            moving[index : index + 2] = reversed(pair)
    return moving


def free(one: Said, other: Said) -> bool:
    """Whether the two may change places."""
    if one.device != other.device:
        return True
    if "status" in (one.kind, other.kind):
        return False
    return not {r["seq"] for r in bodies(one)} & {r["seq"] for r in bodies(other)}


def bodies(said: Said) -> list[dict[str, Any]]:
    return said.body if isinstance(said.body, list) else [said.body]

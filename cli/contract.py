"""`gridbeat contract`: whether a device keeps the contract."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Json, Language, group, language, settings
from cli.plain import plain

if TYPE_CHECKING:
    from desk.conformance import Watched
    from devices.conformance.clauses import Judgement
    from store.settings import Settings

SHOWN = 3
"""Lines of evidence shown for a clause; `--json` has them all."""

app = group()


@app.callback()
def _group() -> None:
    """Whether a device keeps the contract."""


@app.command()
def check(
    context: typer.Context,
    device: Annotated[str, typer.Option("--device", help="The device's id.", metavar="ID")],
    minutes: Annotated[
        float, typer.Option("--minutes", help="How long to watch; Ctrl-C judges what was seen.")
    ] = 10.0,
    scale: Annotated[
        float,
        typer.Option("--scale", help="For a device in a test mode: its times, as a share of ours."),
    ] = 1.0,
    json: Json = False,
    lang: Language = None,
) -> None:
    """Watch a device on the broker, and pass or fail each clause of the contract it showed.

    Exit 0: nothing failed. 3: a clause failed, or nothing was heard. 4: no broker.
    """
    import asyncio

    from desk.conformance import check as sound
    from devices.conformance.clauses import conforms

    chosen, told = settings(context), language(lang)
    sound(device, minutes, scale)
    if not json:
        _begin(device, minutes, told)
    watched = asyncio.run(_watch(chosen, device, minutes * 60, scale, quiet=json))
    if json:
        _emit(watched)
    else:
        _print(watched, told)
    if not conforms(watched.judgements):
        raise typer.Exit(3)


async def _watch(
    chosen: "Settings", device: str, seconds: float, scale: float, *, quiet: bool
) -> "Watched":
    """Watch until the time is over, or Ctrl-C."""
    import asyncio
    import signal
    import sys

    from desk.conformance import watch
    from devices.conformance.trace import Heard

    enough, heard = asyncio.Event(), 0
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, enough.set)
    live = sys.stderr.isatty() and not quiet

    def tell(one: Heard) -> None:
        nonlocal heard
        heard += 1
        sys.stderr.write(f"\r{heard} messages, last: {plain(one.topic, lines=False)}\033[K")

    watched = await watch(
        chosen,
        device,
        seconds=seconds,
        scale=scale,
        enough=enough,
        on_heard=tell if live else lambda _: None,
    )
    if live:
        sys.stderr.write("\r\033[K")
    return watched


def _begin(device: str, minutes: float, lang: str) -> None:
    from cli.output import note

    note(
        f"正在观察 {device}，{minutes:g} 分钟；请让它做各条款所需的动作"
        "（见 devices/contract/v1/README.md）；Ctrl-C 提前结束并判定"
        if lang == "zh"
        else f"watching {device} for {minutes:g} min: have it do what the clauses need"
        " (devices/contract/v1/README.md); Ctrl-C ends it and judges what was seen"
    )


def _print(watched: "Watched", lang: str) -> None:
    from collections import Counter

    from cli.output import say

    zh = lang == "zh"
    for one in watched.judgements:
        for line in _lines(one, lang):
            say(line)
    counts = Counter(one.result.value for one in watched.judgements)
    passed, failed, unseen = (counts[name] for name in ("passed", "failed", "not-observed"))
    say(
        f"\n{watched.device}：{watched.seconds:.0f} 秒内 {watched.messages} 条消息、"
        f"{watched.receipts} 个回执；通过 {passed}，未通过 {failed}，未观察到 {unseen}"
        if zh
        else f"\n{watched.device}: {watched.messages} messages and {watched.receipts} receipts in"
        f" {watched.seconds:.0f} s; {passed} passed, {failed} failed, {unseen} not observed"
    )
    if not watched.messages:
        say(
            f"没有收到 {watched.device} 的任何消息：请核对编号、网络和账号"
            if zh
            else f"nothing was heard of {watched.device}: see its id, network and login"
        )


def _lines(one: "Judgement", lang: str) -> list[str]:
    """A clause with its result in one line, then what it rests on, or how to have it seen."""
    from cli.output import Marks, mark
    from devices.conformance.clauses import CLAUSES

    marks: Marks = {
        "passed": ("✓", "green", "passed", "通过"),
        "failed": ("✗", "bold red", "FAILED", "未通过"),
        "not-observed": ("-", "dim", "not observed", "未观察到"),
    }
    clause, zh = CLAUSES[one.clause], lang == "zh"
    asks, see = (clause.asks_zh, clause.see_zh) if zh else (clause.asks_en, clause.see_en)
    lines = [f"{mark(marks, one.result.value, lang).plain}  {one.clause}: {asks}"]
    if not one.evidence:
        lines.append(f"    {'要看到它：' if zh else 'to see it: '}{see}")
    lines += [f"    {line}" for line in one.evidence[:SHOWN]]
    if len(one.evidence) > SHOWN:
        more = len(one.evidence) - SHOWN
        lines.append(f"    {f'另有 {more} 处' if zh else f'and {more} more'}")
    return lines


def _emit(watched: "Watched") -> None:
    from cli.output import emit
    from devices.conformance.clauses import conforms

    emit(
        {
            "device": watched.device,
            "seconds": watched.seconds,
            "messages": watched.messages,
            "receipts": watched.receipts,
            "conforms": conforms(watched.judgements),
            "clauses": [
                {
                    "clause": one.clause,
                    "result": one.result.value,
                    "evidence": list(one.evidence),
                }
                for one in watched.judgements
            ],
        }
    )

"""`gridbeat checkin`: tags that were read."""

from typing import TYPE_CHECKING, Any

import typer

from cli import imports, maps
from cli.options import Json, Language, Since, Site, Until, asked, group, language

if TYPE_CHECKING:
    from cli.listing import Look
    from cli.output import Column

AHEAD_S = 1
"""Two clocks that are right may be so far apart."""
CLOCKS_SET_MS = 1_577_836_800_000
"""2020-01-01: a clock that tells less was never set."""

app = group()
app.command("import")(imports.import_)
app.add_typer(maps.maps, name="map", help="How exports of wands' software are read.")


@app.command("list")
def list_(
    context: typer.Context,
    site: Site = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
    lang: Language = None,
) -> None:
    """List check-ins by the time they were made, the oldest first."""
    from cli.listing import Shape, show
    from store.listings import checkins

    shape = Shape(query=checkins, columns=_columns, empty=("No check-ins.", "没有打卡。"))
    show(context, shape, asked(site, since, until), as_json=json, lang=language(lang))


def _columns(look: "Look") -> "list[Column]":
    from cli.output import Column

    def place(row: Any) -> str:
        unknown = "未知标签" if look.lang == "zh" else "unknown tag"
        return look.names.checkpoint(row.site, row.checkpoint) or f"({unknown})"

    def person(row: Any) -> str:
        name = look.names.person(row.person)
        tag = "人员卡" if look.lang == "zh" else "by tag"
        return f"{name} ({tag})" if row.person_by_tag else name

    return [
        Column(en="at", zh="时间", cell=lambda row: _when(look, row)),
        Column(en="site", zh="校区", cell=lambda row: look.names.site(row.site)),
        Column(en="checkpoint", zh="点位", cell=place),
        Column(en="person", zh="人员", cell=person),
        Column(en="device", zh="设备", cell=lambda row: row.device),
        Column(en="seq", zh="序号", cell=_number, right=True),
        Column(en="proof", zh="证明", cell=lambda row: _proof(look, row)),
        Column(en="received", zh="收到", cell=lambda row: _lag(look, row)),
    ]


def _proof(look: "Look", row: Any) -> str:
    """Whether it proves presence, where it says or should say so."""
    from devices.proofs import Proof
    from rules.words import PROOFS

    if row.proof is None:
        return ""
    if row.proof == "proven":
        return "✓"
    return f"✗ {PROOFS[Proof(row.proof)].zh if look.lang == 'zh' else row.proof}"


def _span(lag: int) -> str:
    """Seconds as `+12s` or `+25h00m`; as `-30s` where it came in before it was made."""
    if lag < -AHEAD_S:
        return "-" + _span(-lag)[1:]
    return f"+{lag // 3600}h{lag % 3600 // 60:02}m" if lag >= 3600 else f"+{max(lag, 0)}s"


def _number(row: Any) -> str:
    """The device's count; of a reader that does not count, nothing that a person could use."""
    from devices.adapters.heard import NUMBERED

    return "–" if row.seq >= NUMBERED else str(row.seq)


def _when(look: "Look", row: Any) -> str:
    """The time that counts: the corrected one where there is one."""
    return look.time(row, "at" if row.corrected_at is None else "corrected_at")


def _lag(look: "Look", row: Any) -> str:
    """How long after it was made a check-in came in, and whether its clock was put right."""
    zh = look.lang == "zh"
    at = row.at if row.corrected_at is None else row.corrected_at
    if at < CLOCKS_SET_MS:
        return "时钟未设置" if zh else "clock not set"
    lag = (row.received_at - at) // 1000
    words = _span(lag)
    if row.via == "import":
        return f"{words} ({'导入' if zh else 'imported'})"
    if row.corrected_at is not None:
        how = {
            "ahead": ("时钟偏快", "clock ahead"),
            "slow": ("时钟偏慢", "clock slow"),
            "uptime": ("按运行时长推算", "by uptime"),
        }.get(row.corrected_how, ("?", "?"))
        return f"{words} ({how[0 if zh else 1]})"
    if lag < -AHEAD_S:
        return f"{words} ({'时钟偏快？' if zh else 'clock ahead?'})"
    if row.time_source in ("receipt", "device-local"):
        told = {"receipt": ("按到达时间", "by arrival"), "device-local": ("本地时间", "local time")}
        return f"{words} ({told[row.time_source][0 if zh else 1]})"
    return words

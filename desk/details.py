"""Why something could not be taken, in Chinese: the ledger keeps each reason in English.

A table of sentences with their gaps, `{name}`. What is not in it, as the words of a parser, stays.
"""

import re
from collections.abc import Sequence
from string import Formatter

SENTENCES: Sequence[tuple[str, str]] = (
    # Wands: why a row cannot be read (desk/wandfiles.py, devices/wands.py, desk/wandimport.py)
    ("it says no wand: name it with --device ID", "没有写明是哪支巡更棒：用 --device ID 指定"),
    (
        "no wand has the machine number '{told}': write it into the registry file (protocol: wand,"
        ' address: "{address}"), or into the map\'s devices',
        '没有机号为“{told}”的巡更棒：写进登记文件（protocol: wand, address: "{address}"），'
        "或写进对照表的 devices",
    ),
    ("the registry has retired {device}", "{device} 已在登记文件中停用"),
    (
        "'{told}' may be {names}: say which in the map, as devices: {{…}}",
        "“{told}”可能是 {names}：在对照表的 devices: {{…}} 中写明是哪一支",
    ),
    ("it says no time", "没有写时间"),
    ("{device} did not belong to {site} at the time", "{device} 当时不属于 {site}"),
    (
        "{device} may report from several sites: say which with --site ID",
        "{device} 可在几处校区使用：用 --site ID 指定",
    ),
    (
        "'{text}' is before 2020: the wand's clock was not set",
        "“{text}”早于 2020 年：巡更棒的时钟未设置",
    ),
    (
        "'{text}' has not come yet: the wand's clock is ahead, or the zone wrong",
        "“{text}”还没有到：巡更棒的时钟偏快，或时区不对",
    ),
    ("it says neither place nor tag", "既没有写地点，也没有写标签"),
    (
        "no checkpoint of {site} is called '{told}', and no tag: write it among a checkpoint's"
        " tags, or into the map with --place '{place}=ID'",
        "{site} 没有叫“{told}”的点位或标签：写进点位的 tags，或用 --place '{place}=ID' 写进对照表",
    ),
    (
        "the map says '{name}' is {mapped}, and {site} has no such checkpoint",
        "对照表说“{name}”是 {mapped}，而 {site} 没有这个点位",
    ),
    ("{site} has several checkpoints called '{name}'", "{site} 有几个点位都叫“{name}”"),
    ("'{plain}' is not written as {shape}", "“{plain}”的写法不是 {shape}"),
    (
        "'{plain}' is a spreadsheet's number: give the column a date format, and save it again",
        "“{plain}”是电子表格的日期数值：把该列设为日期格式后另存",
    ),
    (
        "'{plain}' is no date and time that can be told apart: write 2026-11-20 22:15:30, or say"
        " its order with --time-format, as '%d/%m/%Y %H:%M'",
        "“{plain}”认不出日期和时间：写成 2026-11-20 22:15:30，或用 --time-format 说明顺序，"
        "如 '%d/%m/%Y %H:%M'",
    ),
    ("'{plain}' is no date and time there is", "“{plain}”不是存在的日期和时间"),
    ("'{text}' is no offset: write +08:00", "“{text}”不是时差：写成 +08:00"),
    ("'{day}' is no day of ours", "“{day}”不是可能的日期"),
    (
        "'{clock}' is twice in that night's change of clocks ({zone}): if the wand's own clock was"
        " not changed, say what it keeps with --offset, as +01:00",
        "“{clock}”在当夜调整时钟时（{zone}）出现两次：巡更棒自己的时钟若没有调整，"
        "用 --offset 说明，如 +01:00",
    ),
    (
        "'{clock}' does not exist in that night's change of clocks ({zone}): if the wand's own"
        " clock was not changed, say what it keeps with --offset, as +01:00",
        "“{clock}”在当夜调整时钟时（{zone}）不存在：巡更棒自己的时钟若没有调整，"
        "用 --offset 说明，如 +01:00",
    ),
    (
        "it is kept already, with another record: gridbeat checkin list shows it",
        "台账中已有，但记录不同：gridbeat checkin list 可查看",
    ),
    (
        "it is kept already, with another person: gridbeat checkin list shows it",
        "台账中已有，但人员不同：gridbeat checkin list 可查看",
    ),
    # What devices sent (devices/codec.py, devices/topics.py, ingest/reader.py, ingest/writer.py)
    ("no registry names it: apply one that does", "登记文件中没有它：登记后再应用"),
    ("the registry has retired it", "已在登记文件中停用"),
    ("it may not report from {site}", "它不能在 {site} 上报"),
    ("it did not belong to {site} at the time", "它当时不属于 {site}"),
    (
        "the ledger holds other content under this identity",
        "台账中同一编号的内容不同",
    ),
    ("{count} records, at most {most}", "{count} 条记录，最多 {most} 条"),
    ("{size} bytes, at most {most}", "{size} 字节，最多 {most} 字节"),
    ("more than {depth} brackets inside each other", "括号嵌套超过 {depth} 层"),
    ("expected an object, or an array of objects", "应为一个对象，或对象的数组"),
    ("`{action}` needs `ref`, the hazard it belongs to", "`{action}` 需有 `ref`，即所属的隐患"),
    ("a text with U+0000 in it", "文字中含有 U+0000"),
    (
        "a number or character outside what JSON readers keep",
        "有一个数或字符超出 JSON 能保存的范围",
    ),
    ("its SHA-256 is {found}, the topic says another", "其 SHA-256 为 {found}，与主题所写不同"),
    ("begins neither as JPEG nor as PNG nor as WebP", "开头不是 JPEG、PNG 或 WebP"),
    (
        "expected patrol/v1/{{site}}/{{device}}/up/{{kind}}",
        "应为 patrol/v1/{{site}}/{{device}}/up/{{kind}}",
    ),
    (
        "site and device must be slugs [a-z0-9][a-z0-9-]{{0,62}} and not reserved",
        "校区和设备须为 [a-z0-9][a-z0-9-]{{0,62}}，且不是保留字",
    ),
    (
        "a photo is named by its SHA-256: up/photo/{{64 lower-case hex digits}}",
        "照片以其 SHA-256 命名：up/photo/{{64 位小写十六进制}}",
    ),
    ("unknown kind: {kind}", "未知种类：{kind}"),
    ("no registry names this reader: add {entry}", "登记文件中没有这台读卡器：加上 {entry}"),
    # What readers that one can buy sent (devices/adapters, ingest/foreign.py)
    ("no site below its grid node has this", "它所属网格下没有校区有这个标签"),
    ("it belonged to no site then", "它当时不属于任何校区"),
    ("a location event without a location", "位置事件中没有位置"),
    ("no `_type` that OwnTracks knows: {kind}", "不是 OwnTracks 的 `_type`：{kind}"),
    ("a transition without `event` and `desc`", "transition 缺少 `event` 和 `desc`"),
    ("a location without `lat` and `lon`", "location 缺少 `lat` 和 `lon`"),
    (
        "a beacon without `desc` and without `uuid`, `major`, `minor`",
        "beacon 既无 `desc`，也无 `uuid`、`major`、`minor`",
    ),
    (
        "encrypted: clear the encryption key in the app, and use TLS instead",
        "内容已加密：在应用中清除加密密钥，改用 TLS",
    ),
    (
        "no tag: publish its id as text, or as JSON under `tag`",
        "没有标签：把编号作为文字发布，或作为 JSON 写在 `tag` 下",
    ),
    ("a status that is neither online nor offline", "状态既不是 online，也不是 offline"),
    ("{chip} without a UID that can be read", "{chip} 没有可读的 UID"),
    ("an LWT that is neither Online nor Offline", "LWT 既不是 Online，也不是 Offline"),
    (
        "an availability that is neither online nor offline",
        "availability 既不是 online，也不是 offline",
    ),
    # msgspec's, and those of Python's own JSON
    ("Object missing required field `{name}` - at `{where}`", "`{where}` 缺少必填成员 `{name}`"),
    ("Object missing required field `{name}`", "缺少必填成员 `{name}`"),
    ("Expected `{want}`, got `{got}` - at `{where}`", "`{where}` 应为 `{want}`，实为 `{got}`"),
    ("Expected `{want}`, got `{got}`", "应为 `{want}`，实为 `{got}`"),
    (
        "Expected `{want}` of length {bound} - at `{where}`",
        "`{where}` 应为 `{want}`，长度 {bound}",
    ),
    (
        "Expected `{want}` matching regex '{shape}' - at `{where}`",
        "`{where}` 应为 `{want}`，形如 {shape}",
    ),
    ("Expected `{want}` {bound} - at `{where}`", "`{where}` 应为 `{want}`，{bound}"),
    ("Invalid enum value {value} - at `{where}`", "`{where}` 不能是 {value}"),
    ("{what} is not JSON", "{what} 不是 JSON"),
    (
        "'utf-8' codec can't decode byte {byte} in position {place}: {why}",
        "不是 UTF-8：第 {place} 个字节 {byte}",
    ),
    (
        "{what}: line {line} column {column} (char {char})",
        "第 {line} 行第 {column} 列不是 JSON（{what}）",
    ),
    # The place of a row, before why (desk/wandimport.py)
    ("{file}, row {row}, {column}: {why}", "{file}，第 {row} 行，{column}：{why}"),
)
WHY = "why"
"""A gap in which another sentence stands."""


def _pattern(sentence: str) -> re.Pattern[str]:
    parts = (
        re.escape(words) + ("" if gap is None else f"(?P<{gap}>.+?)")
        for words, gap, _, _ in Formatter().parse(sentence)
    )
    return re.compile("".join(parts), re.DOTALL)


_TABLE = tuple((_pattern(english), chinese) for english, chinese in SENTENCES)


def said(detail: str, lang: str) -> str:
    """A reason in the language of whoever reads it; as it stands where nobody has put it over."""
    if lang != "zh":
        return detail
    for pattern, chinese in _TABLE:
        if found := pattern.fullmatch(detail):
            gaps = found.groupdict()
            if WHY in gaps:
                gaps[WHY] = said(gaps[WHY], lang)
            return chinese.format(**gaps)
    return detail

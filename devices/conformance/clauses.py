"""The clauses of contract v1 that an observer on the broker can judge a device by: one table.

What an observer cannot see stands in no clause: that the session persists, the keep-alive, how many
records the store holds, and what it drops first.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from devices.conformance import holding, saying, timing
from devices.conformance.finding import Clause, Result
from devices.conformance.trace import Trace

CLAUSES: Mapping[str, Clause] = {
    "topic": Clause(
        judge=saying.topics,
        asks_en="messages are on topics of the grammar, site and device as slugs",
        asks_zh="消息主题符合规定，校区与设备为合法标识",
        see_en="it publishes anything",
        see_zh="设备发布任意消息",
    ),
    "json": Clause(
        judge=saying.bytes_,
        asks_en="messages can be read, each member as the schemas have it",
        asks_zh="消息可读，各成员符合模式",
        see_en="it publishes anything",
        see_zh="设备发布任意消息",
    ),
    "size": Clause(
        judge=saying.sizes,
        asks_en="at most 256 KiB and 200 records a message, 1 MiB a photo",
        asks_zh="单条消息不超过 256 KiB、200 条记录，照片不超过 1 MiB",
        see_en="it publishes anything",
        see_zh="设备发布任意消息",
    ),
    "qos": Clause(
        judge=saying.qos,
        asks_en="everything is published at QoS 1",
        asks_zh="全部以 QoS 1 发布",
        see_en="it publishes anything",
        see_zh="设备发布任意消息",
    ),
    "retain": Clause(
        judge=saying.retain,
        asks_en="statuses are retained, nothing else is",
        asks_zh="仅状态消息保留，其余不保留",
        see_en="it publishes anything",
        see_zh="设备发布任意消息",
    ),
    "photo": Clause(
        judge=saying.photos,
        asks_en="a photo is named by its SHA-256 and is JPEG, PNG or WebP",
        asks_zh="照片以其 SHA-256 命名，且为 JPEG、PNG 或 WebP",
        see_en="report a hazard with a photo",
        see_zh="上报一条带照片的隐患",
    ),
    "identity.step": Clause(
        judge=saying.steps,
        asks_en="seq steps by exactly 1 over all kinds",
        asks_zh="所有种类共用一个序号，逐一递增",
        see_en="read tags",
        see_zh="读几个标签",
    ),
    "identity.epoch": Clause(
        judge=saying.epochs,
        asks_en="where seq starts again a new epoch is drawn; a restart goes on counting",
        asks_zh="序号重新开始时换新 epoch，重启则继续计数",
        see_en="read a tag, restart the device, read again; reset it to factory state, read",
        see_zh="读标签、重启、再读；再恢复出厂设置后读",
    ),
    "identity.content": Clause(
        judge=saying.contents,
        asks_en="a record sent again is the same, apart from sent and sent_up",
        asks_zh="重发的记录内容不变（sent、sent_up 除外）",
        see_en="stop `gridbeat ingest`, read a tag, wait a minute",
        see_zh="停止 gridbeat ingest，读标签，等一分钟",
    ),
    "sent": Clause(
        judge=timing.sent_anew,
        asks_en="sent is encoded anew at each publish",
        asks_zh="每次发布重新填写 sent",
        see_en="stop `gridbeat ingest`, read a tag, wait a minute",
        see_zh="停止 gridbeat ingest，读标签，等一分钟",
    ),
    "uptime": Clause(
        judge=timing.uptimes,
        asks_en="up and sent_up are of one boot, and sent_up is of this publish",
        asks_zh="up 与 sent_up 属于同一次启动，sent_up 为本次发布时",
        see_en="a device that sends up and sent_up reads a tag",
        see_zh="会发送 up、sent_up 的设备读标签",
    ),
    "connect.birth": Clause(
        judge=holding.birth_first,
        asks_en="back on the broker, the birth comes first",
        asks_zh="重新连上后先发上线状态",
        see_en="take its network away for two minutes, and give it back",
        see_zh="断网两分钟后恢复",
    ),
    "connect.wait": Clause(
        judge=holding.waits,
        asks_en="after the birth it waits for a receipt, or 2 s, before it sends what is stored",
        asks_zh="上线后等到回执或 2 秒，再发存储的记录",
        see_en="take its network away, read a tag, give it back",
        see_zh="断网、读标签、恢复网络",
    ),
    "connect.subscribed": Clause(
        judge=holding.subscribed,
        asks_en="it is subscribed before its birth, so that it hears the answer",
        asks_zh="先订阅再发上线状态，能收到回执",
        see_en="stop `gridbeat ingest`, read a tag, cut the network, start ingest, mend it",
        see_zh="停止 gridbeat ingest，读标签，断网，启动 ingest，恢复网络",
    ),
    "will.boot": Clause(
        judge=holding.will_boot,
        asks_en="the last will says of which boot",
        asks_zh="遗嘱注明启动号",
        see_en="pull its plug, and wait for two keep-alives",
        see_zh="拔掉电源，等待两个保活周期",
    ),
    "resend.again": Clause(
        judge=timing.comes_again,
        asks_en="a record without a receipt is published again",
        asks_zh="没有回执的记录会重发",
        see_en="stop `gridbeat ingest`, read a tag, wait a minute",
        see_zh="停止 gridbeat ingest，读标签，等一分钟",
    ),
    "resend.times": Clause(
        judge=timing.at_its_times,
        asks_en="again after 30 s, then 1, 2, 4, 8, then every 10 min, give or take half",
        asks_zh="30 秒后重发，其后 1、2、4、8 分钟，再每 10 分钟，可上下浮动一半",
        see_en="stop `gridbeat ingest`, read a tag, wait five minutes",
        see_zh="停止 gridbeat ingest，读标签，等五分钟",
    ),
    "resend.sos": Clause(
        judge=timing.sos_at_its_times,
        asks_en="an sos again after 2, 5, then every 10 s",
        asks_zh="求助 2、5 秒后重发，其后每 10 秒",
        see_en="stop `gridbeat ingest`, press sos, wait half a minute",
        see_zh="停止 gridbeat ingest，按求助键，等半分钟",
    ),
    "resend.flight": Clause(
        judge=timing.in_flight,
        asks_en="at most 20 records are under way without a receipt",
        asks_zh="未获回执的在途记录最多 20 条",
        see_en="take its network away, read 30 tags, give it back",
        see_zh="断网，读 30 次标签，恢复网络",
    ),
    "receipt.stops": Clause(
        judge=holding.stops,
        asks_en="what a receipt covers is not sent again",
        asks_zh="回执覆盖的记录不再发送",
        see_en="with `gridbeat ingest` running, read tags and wait a minute",
        see_zh="gridbeat ingest 运行时读标签，等一分钟",
    ),
    "receipt.ledger": Clause(
        judge=holding.other_ledger,
        asks_en="a receipt of another ledger covers nothing: all that is stored comes again",
        asks_zh="换了台账的回执不覆盖任何记录，存储的全部重发",
        see_en="restore a backup of the ledger while it is connected",
        see_zh="连接期间恢复一次台账备份",
    ),
    "store.kept": Clause(
        judge=holding.keeps,
        asks_en="what has no receipt survives a lost connection and a restart",
        asks_zh="没有回执的记录在断线、重启后仍在",
        see_en="stop `gridbeat ingest`, read a tag, restart the device",
        see_zh="停止 gridbeat ingest，读标签，重启设备",
    ),
    "store.queue": Clause(
        judge=holding.queue,
        asks_en="queue and oldest tell what has no receipt, and follow the receipts",
        asks_zh="queue 与 oldest 如实反映未获回执的记录",
        see_en="read tags; restart the device, or wait for a heartbeat",
        see_zh="读标签，重启设备或等一次心跳",
    ),
}
"""Clause id -> who judges it, what it asks, and how to have it seen."""


class Judgement(NamedTuple):
    """How one clause came out, and by what."""

    clause: str
    result: Result
    evidence: tuple[str, ...]


def judge(trace: Trace) -> tuple[Judgement, ...]:
    """Every clause in turn, in the order of the table."""
    return tuple(_judged(name, clause, trace) for name, clause in CLAUSES.items())


def _judged(name: str, clause: Clause, trace: Trace) -> Judgement:
    found = clause.judge(trace)
    lines = found.broken if found.broken else found.kept
    return Judgement(name, found.result, tuple(lines))


def conforms(judgements: Iterable[Judgement]) -> bool:
    """Whether nothing failed, and something was seen at all."""
    results = {one.result for one in judgements}
    return Result.FAILED not in results and Result.PASSED in results

"""What an obligation asks beyond one read of each checkpoint, in words."""

from collections.abc import Iterator

from rules.durations import format_duration
from rules.periods import Per
from rules.promises import APART_MS, Gap, Obligation, Quota, Round, Terms
from rules.words import Words

PERS = {
    Per.DAY: Words("每日", "a day"),
    Per.WEEK: Words("每周", "a week"),
    Per.MONTH: Words("每月", "a month"),
    Per.TWO_MONTHS: Words("每两个月", "in two months"),
    Per.QUARTER: Words("每季度", "a quarter"),
}


def head(terms: Round | Quota, count: int, per: Per | None, *, zh: bool) -> str:
    """How many checkpoints, and in which order or period."""
    if isinstance(terms, Quota):
        words = PERS[per] if per is not None else Words("本周期", "in the period")
        return (
            f"应到：{count} 个点位，{words.zh}"
            if zh
            else f"owed:      {count} checkpoints, {words.en}"
        )
    order = Words("按顺序", "in this order") if terms.ordered else Words("顺序不限", "in any order")
    return (
        f"应到：{count} 个点位，{order.zh}" if zh else f"owed:      {count} checkpoints, {order.en}"
    )


def times(terms: Terms, checkpoint: str, *, zh: bool) -> str:
    """How often one checkpoint is to be visited, where that is not once; or that it need not be."""
    if isinstance(terms, Gap):
        return ""
    asked = dict(terms.visits).get(checkpoint)
    if asked is not None:
        return f"  ×{asked}"
    if isinstance(terms, Round) and checkpoint in terms.optional:
        return "  （可不到）" if zh else "  (optional)"
    return ""


def proven(promise: Obligation, checkpoint: str, *, zh: bool) -> str:
    """That a read there must prove that somebody stood there, where that is asked."""
    if checkpoint not in promise.proof:
        return ""
    return "  （须证明到场）" if zh else "  (proof of presence)"


def options(terms: Round | Quota, *, zh: bool) -> Iterator[str]:
    """What else is asked, a line each."""
    if isinstance(terms, Round) and terms.people > 1:
        count = terms.people
        yield f"人数：至少 {count} 人" if zh else f"people:    at least {count}"
    if isinstance(terms, Round) and terms.max_gap:
        longest = format_duration(terms.max_gap)
        yield f"停留：途中不超过 {longest}" if zh else f"pause:     no longer than {longest}"
    if terms.visits and terms.apart != APART_MS:
        apart = format_duration(terms.apart)
        yield f"两次到访至少相隔 {apart}" if zh else f"visits:    at least {apart} apart"

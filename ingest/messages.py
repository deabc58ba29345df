"""Messages: a person's words leave for a device (`down/message`), and until the broker has them.

One may be told twice (a crash between the broker's word and ours); its id is the same.
"""

from collections.abc import Callable

from devices import codec, topics
from devices.ids import Instant
from devices.messages import Message, Severity
from ingest.ledger import Ledger
from ingest.source import Source, taken
from store import messages

PAGE = 50
TAKEN_WITHIN_S = 5.0


async def tell(source: Source, ledger: Ledger, now: Callable[[], Instant]) -> None:
    """Send what waits, at most a page."""
    if not source.can_publish:
        return
    pending = await ledger.read(lambda c: messages.waiting(c, PAGE))
    sendings = [
        (item.id, source.publish(topics.message(item.site, item.device), _encoded(item), qos=1))
        for item in pending
    ]
    went = await taken(sendings, TAKEN_WITHIN_S)
    if went:
        await ledger.write(lambda c: messages.told(c, went, now()))


def _encoded(item: messages.Waiting) -> bytes:
    message = Message(id=item.slug, text=item.text, severity=Severity(item.severity))
    return codec.encode_message(message)

"""A fleet on paper: the driver's connections, with a recording in place of broker and service.

Everything published is written down at the simulated time of the last tick and receipted at once;
a cut writes down the will that a broker would tell.
"""

import json
from collections.abc import Callable, Iterable

from firmware_sim.link import Login
from firmware_sim.recording import Recorder, Said
from firmware_sim.wire import CLOCK_TOPIC, Kind, Publication

LEDGER = "paper"


class Paper:
    """What the fleet says, and what is kept of it."""

    def __init__(self, recorder: Recorder, now: int) -> None:
        self._recorder = recorder
        self._kept: dict[tuple[str, int], set[int]] = {}
        self.now = now

    def dial(
        self, _login: Login, heard: Callable[[str, bytes], None], _fallen: Callable[[], None]
    ) -> "PaperLink":
        """A connection, as `link.Dial` wants it."""
        return PaperLink(self, heard)

    def write(self, said: Publication) -> None:
        """Write it down; a tick sets the time, its own included."""
        if said.topic == CLOCK_TOPIC:
            self.now = max(self.now, json.loads(said.payload)["now"])
        self._recorder.write(Said(self.now, said.topic, said.payload, said.retain))

    def receipt(self, device: str, epoch: int, seqs: tuple[int, ...]) -> bytes:
        """What is kept of a device, these included."""
        kept = self._kept.setdefault((device, epoch), set())
        kept.update(seqs)
        upto = max(kept, default=0)
        missing = [] if len(kept) == upto else [[n, n] for n in range(1, upto) if n not in kept]
        told = {"ledger": LEDGER, "epoch": epoch, "upto": upto, "missing": missing[:32]}
        return json.dumps(told | {"now": self.now}).encode()


class PaperLink:
    """One connection; see `link.Line`."""

    def __init__(self, paper: Paper, heard: Callable[[str, bytes], None]) -> None:
        self._paper = paper
        self._heard = heard
        self._will: Publication | None = None
        self._listening = False
        self.up = False

    async def open(self, will: Publication | None = None, listen: str | None = None) -> None:
        """Connect."""
        self._will, self._listening, self.up = will, listen is not None, True

    async def publish(self, said: Iterable[Publication]) -> None:
        """Write it down; what a service would receipt is receipted."""
        for publication in said:
            self._paper.write(publication)
            if self._listening:
                self._answer(publication)

    async def cut(self) -> None:
        """Lose the network: the will is told."""
        if self.up and self._will is not None:
            self._paper.write(self._will)
        await self.close()

    async def close(self) -> None:
        """Leave in good order."""
        self._will, self.up = None, False

    def _answer(self, said: Publication) -> None:
        _, _, site, device, _, kind = said.topic.split("/", 5)
        if said.seqs or kind == Kind.STATUS:  # garbage has neither, and nobody reads its answer
            body = json.loads(said.payload)
            first = body[0] if isinstance(body, list) else body
            receipt = self._paper.receipt(device, first.get("epoch", 0), said.seqs)
            self._heard(f"patrol/v1/{site}/{device}/down/receipt", receipt)

"""A tiny stand-in for the service: keeps identities in memory and receipts whatever comes."""

import asyncio
import json

import aiomqtt

from firmware_sim.wire import CLOCK_TOPIC


class Responder:
    """Receipts every record it hears; `deaf` makes it swallow what comes without an answer."""

    def __init__(self, port: int, ledger: str = "test-ledger"):
        self._port = port
        self.ledger = ledger
        self.deaf = False
        self.now = 0
        self.log: list[tuple[str, bytes]] = []
        self.kept: dict[tuple[str, int], dict[int, dict]] = {}
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with aiomqtt.Client("127.0.0.1", self._port, identifier="responder") as client:
            await client.subscribe("patrol/v1/#", qos=1)
            self.ready.set()
            async for message in client.messages:
                topic = str(message.topic)
                parts = topic.split("/")
                if "down" in parts or self.deaf:
                    continue
                self.log.append((topic, message.payload))
                if topic == CLOCK_TOPIC:
                    self.now = json.loads(message.payload)["now"]
                if len(parts) == 6 and parts[4] == "up":
                    await self._receipt(client, parts, message.payload)

    async def _receipt(self, client: aiomqtt.Client, parts: list[str], payload: bytes) -> None:
        site, device = parts[2], parts[3]
        try:
            body = json.loads(payload)
        except (ValueError, RecursionError):
            return
        records = body if isinstance(body, list) else [body]
        epoch = records[0].get("epoch", 0)
        for record in records:
            if parts[5] != "status" and 0 < record.get("seq", 0) < 2**53 and "epoch" in record:
                kept = self.kept.setdefault((device, record.get("epoch", 0)), {})
                kept.setdefault(record["seq"], record)
        seqs = set(self.kept.get((device, epoch), {}))
        upto = max(seqs, default=0)
        missing = [[seq, seq] for seq in range(1, upto) if seq not in seqs][:32]
        receipt = {"ledger": self.ledger, "epoch": epoch, "upto": upto, "missing": missing}
        receipt |= {"photos": [], "now": self.now}
        await client.publish(f"patrol/v1/{site}/{device}/down/receipt", json.dumps(receipt))

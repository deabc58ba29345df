"""Waiting in the event loop for what must come true."""

import asyncio
from collections.abc import Callable

WITHIN_S = 20.0


async def until(true: Callable[[], object]) -> None:
    """Return once it is true; raises TimeoutError when it never is."""
    async with asyncio.timeout(WITHIN_S):
        while not true():
            await asyncio.sleep(0.01)

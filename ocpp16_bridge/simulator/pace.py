"""Simulated time."""

import asyncio


class Pace:
    """Time that passes ``speed`` times as fast as that of the event loop."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed

    def now(self) -> float:
        """Simulated seconds since some moment of the past."""
        return asyncio.get_running_loop().time() * self._speed

    async def sleep(self, seconds: float) -> None:
        """Let simulated ``seconds`` pass."""
        await asyncio.sleep(seconds / self._speed)

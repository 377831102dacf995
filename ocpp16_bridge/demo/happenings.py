"""What happens in the demo, in the order in which it is seen, and who waits for it."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


class DemoError(Exception):
    """The demo can't go on; the text says why."""


@dataclass(frozen=True)
class OcppMessage:
    sender: Literal["charge point", "CSMS"]
    name: str  # the action; with .conf where it is its answer, .error where that is a CALLERROR
    payload: Any


@dataclass(frozen=True)
class Link:
    """The websocket between charge point and CSMS."""

    is_open: bool
    close_code: int | None = None


@dataclass(frozen=True)
class MqttMessage:
    topic: str  # below the base topic
    payload: Any  # read as JSON where it is some, else text
    is_retained: bool


@dataclass(frozen=True)
class DaemonStarted:
    process_id: int


@dataclass(frozen=True)
class DaemonEnded:
    status: int  # exit status; negative: the signal that killed it


Happening = OcppMessage | Link | MqttMessage | DaemonStarted | DaemonEnded


class Happenings:
    """Collects what happens since `begin`.

    Args:
        show: told of each happening as it comes.

    """

    def __init__(self, show: Callable[[Happening], None]) -> None:
        self._show = show
        self._recent: deque[Happening] = deque(maxlen=1000)  # bounded: the demo may run for days
        self._news = asyncio.Event()
        self.awaited = "nothing"  # what `until` waits for, or waited for last

    def begin(self) -> None:
        """Forget: what is waited for from now on must be yet to come."""
        self._recent.clear()

    def add(self, happening: Happening) -> None:
        self._recent.append(happening)
        self._show(happening)
        self._news.set()
        self._news = asyncio.Event()

    async def until(self, awaited: str, fits: Callable[[Happening], bool]) -> None:
        """Wait until something that ``fits`` has happened since `begin`; ``awaited`` says what that is."""
        self.awaited = awaited
        while not any(map(fits, self._recent)):
            await self._news.wait()

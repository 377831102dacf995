"""Conversations: the short tasks of what has to wait for an answer, a command for the CSMS, a CALL for the hardware."""

import asyncio
import logging
from collections.abc import Coroutine

logger = logging.getLogger(__name__)


class Conversations:
    """Owns the tasks of all conversations: each has a name, and all end with their owner."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()

    def future(self) -> "asyncio.Future[object]":
        """Something to wait for."""
        return self._loop.create_future()

    def start(self, conversation: Coroutine[object, object, None], name: str) -> None:
        """Let ``conversation`` run; what it raises is logged as our bug."""
        task = self._loop.create_task(conversation, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("conversation %s failed", task.get_name(), exc_info=error)

    async def end(self) -> None:
        """Cancel what still runs, and what that starts while it ends, and wait until all is gone."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

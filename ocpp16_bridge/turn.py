"""A turn: one input handled to its end, as one transaction (architecture, "A turn").

What a handler causes goes out only after the store has committed, and in this order: the answer to the input, the CALLs
it causes (TR-32), what is published, and last what ends something (a connection, the process). What an output causes,
directly or by a turn that it sets off, lines up in the same order behind what waits already.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

logger = logging.getLogger(__name__)

Output = Callable[[], None]


class Transaction(Protocol):
    """What a turn needs of the store."""

    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...


class Turns:
    """Runs turns, one at a time."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._open = False
        self._releasing = False
        self._caused: list[tuple[deque[Output], Output]] = []  # by the open turn, with the stage
        self._answers: deque[Output] = deque()
        self._calls: deque[Output] = deque()
        self._publications: deque[Output] = deque()
        self._endings: deque[Output] = deque()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One turn. An exception rolls everything back, drops the outputs and is passed on.

        A turn within a turn is part of the outer one: it ends with that one, and is rolled back with that one only.
        """
        if self._open:
            yield
            return
        self._open = True
        self._transaction.begin()
        try:
            yield
            self._transaction.commit()
        except BaseException:
            self._caused.clear()
            self._transaction.rollback()
            raise
        finally:
            self._open = False
        for stage, output in self._caused:
            stage.append(output)
        self._caused.clear()
        self._release()

    def answer(self, output: Output) -> None:
        self._put(self._answers, output)

    def call(self, output: Output) -> None:
        self._put(self._calls, output)

    def publish(self, output: Output) -> None:
        self._put(self._publications, output)

    def ending(self, output: Output) -> None:
        """What closes a connection or ends the process: after everything else is out."""
        self._put(self._endings, output)

    def _put(self, stage: deque[Output], output: Output) -> None:
        if self._open:
            self._caused.append((stage, output))
        else:  # a conversation between two turns, or another output: nothing can roll back
            stage.append(output)
            self._release()

    def _release(self) -> None:
        """Let out what waits, unless that is going on already."""
        if self._releasing:
            return
        self._releasing = True
        try:
            while stage := self._answers or self._calls or self._publications or self._endings:
                _run(stage.popleft())
        finally:
            self._releasing = False


def _run(output: Output) -> None:
    try:
        output()
    except Exception:  # the state is committed: one failed output must not keep back the others
        logger.exception("an output of a turn failed")

"""A turn: one input handled to its end, as one transaction (architecture, "A turn").

What a handler causes goes out only after the store has committed, and in this order: the answer to the input, the CALLs
it causes (TR-32), what is published, and last what ends something (a connection, the process).
"""

import logging
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
        self._answers: list[Output] = []
        self._calls: list[Output] = []
        self._publications: list[Output] = []
        self._endings: list[Output] = []

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One turn. An exception rolls everything back, drops the outputs and is passed on.

        A turn within a turn is part of the outer one.
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
            self._transaction.rollback()
            self._take_outputs()
            raise
        finally:
            self._open = False
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

    def _put(self, stage: list[Output], output: Output) -> None:
        if self._open:
            stage.append(output)
        else:  # a conversation between two turns: nothing can roll back
            output()

    def _take_outputs(self) -> list[Output]:
        outputs = [*self._answers, *self._calls, *self._publications, *self._endings]
        for stage in (self._answers, self._calls, self._publications, self._endings):
            stage.clear()
        return outputs

    def _release(self) -> None:
        for output in self._take_outputs():
            try:
                output()
            except Exception:  # the state is committed: one failed output must not keep back the others
                logger.exception("an output of a turn failed")

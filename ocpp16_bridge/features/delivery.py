"""Delivery of transaction-related messages: one queue, in order, nothing lost unseen (OCPP 1.6, 3.7)."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ocpp.v16.enums import Action

from ocpp16_bridge.configuration_keys import IntegerKey
from ocpp16_bridge.csms.call_queue import DurableCall, stored_beginning
from ocpp16_bridge.feature import Context, Feature

logger = logging.getLogger(__name__)

TRANSACTION_QUEUE = "transaction"
MAX_QUEUED = 100_000  # messages
MAX_GIVEN_UP = 1000  # kept for billing by hand


class Delivery(Feature):
    """The transaction queue. Who puts a message in says what it is `about`: the session id of its transaction."""

    transaction_message_attempts = IntegerKey("TransactionMessageAttempts", 3)  # 0 acts as 1 (TX-26)
    transaction_message_retry_interval = IntegerKey("TransactionMessageRetryInterval", 60)  # s

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        calls = context.csms.endpoint.calls
        self.queue = context.csms.add_durable(TRANSACTION_QUEUE, MAX_QUEUED, thins=Action.meter_values)
        self._given_up = context.store.queue("given_up", DurableCall)
        self.on_given_up: list[Callable[[str, list[Any]], None]] = []  # session id and frame
        calls.attempts = lambda: self.transaction_message_attempts
        calls.retry_interval = lambda: self.transaction_message_retry_interval
        self.queue.on_given_up = self._give_up
        self.queue.is_held = True

    def release(self) -> None:
        """Let the queue go: what must precede it is out."""
        self.queue.is_held = False
        self.context.turns.publish(self.context.csms.endpoint.calls.pump)

    @property
    def given_up(self) -> int:
        """How many messages the CSMS never took; their frames are on disk."""
        return len(self._given_up)

    def _give_up(self, durable: DurableCall, payload: dict[str, Any]) -> None:
        """What can't be delivered stays on disk with its full frame, so that it can be billed by hand (TX-25)."""
        frame: list[Any] = [2, durable.message_id, durable.action, payload]
        self._make_room()
        self._given_up.append(replace(durable, payload=payload))
        logger.error("given up, bill it by hand: %s", json.dumps(frame, default=str))
        self.context.errors["given_up"] += 1
        for listener in self.on_given_up:
            listener(durable.about, frame)

    def _make_room(self) -> None:
        """The oldest go, MeterValues before what is billed."""
        while len(self._given_up) >= MAX_GIVEN_UP and (oldest := self._given_up.head()) is not None:
            (sequence,) = self._given_up.sequences(stored_beginning(Action.meter_values), 1) or [oldest[0]]
            self._given_up.remove(sequence)

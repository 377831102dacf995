"""Transactions (OCPP 1.6, 3.7, 4.8 and 4.10; obligations 5)."""

from ocpp16_bridge.configuration_keys import BooleanKey, IntegerKey
from ocpp16_bridge.feature import Context, Feature

QUEUE = "transaction"
MAX_QUEUED = 100_000  # messages


class Transactions(Feature):
    connection_time_out = IntegerKey("ConnectionTimeOut", 120, maximum=3600)  # s; 0: none
    stop_transaction_on_ev_side_disconnect = BooleanKey("StopTransactionOnEVSideDisconnect", default=True)
    stop_transaction_on_invalid_id = BooleanKey("StopTransactionOnInvalidId", default=True)
    max_energy_on_invalid_id = IntegerKey("MaxEnergyOnInvalidId", 0)  # Wh
    transaction_message_attempts = IntegerKey("TransactionMessageAttempts", 3)  # 0 acts as 1 (TX-26)
    transaction_message_retry_interval = IntegerKey("TransactionMessageRetryInterval", 60)  # s

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.queue = context.csms.add_durable(QUEUE, MAX_QUEUED)
        calls = context.csms.endpoint.calls
        calls.attempts = lambda: self.transaction_message_attempts
        calls.retry_interval = lambda: self.transaction_message_retry_interval

"""The tool's side of a case: a CSMS that answers everything, and what the charge point sent it, in order.

Every frame is held to its JSON schema, and to the rules of the transport: one CALL in flight (TR-31), an answer before
the CALLs it causes (TR-32), and no message id twice (TR-22).
"""

import itertools
from collections import deque
from typing import Any, NamedTuple

from ocpp.messages import MessageType, get_validator

from tests.octt.charger import Charger

# May come at any time; a case that does not ask for them passes over them.
BACKGROUND = {"Heartbeat", "SecurityEventNotification"}
ACCEPTED = {"status": "Accepted"}


class Received(NamedTuple):
    """One CALL of the charge point, or what of one is expected: an absent field is None."""

    action: str
    payload: dict[str, Any]

    def fits(self, expected: "Received") -> bool:
        fields = {name: self.payload.get(name) for name in expected.payload}
        return (self.action, fields) == (expected.action, expected.payload)


def call(action: str, **fields: Any) -> Received:
    """For `expect_in_any_order`."""
    return Received(action, fields)


class CentralSystem:
    """The CSMS of one charger. Cases read: operate the charger, then `expect` what it sends."""

    def __init__(self, charger: Charger) -> None:
        self.charger = charger
        self.id_tags: dict[str, dict[str, Any]] = {}  # idTagInfo of a tag; of any other one: Accepted
        self.registrations: deque[tuple[str, int]] = deque()  # of the next boots: status, interval in s; then Accepted
        self._transaction_ids = itertools.count(1)
        self._received: deque[Received] = deque()  # and not expected yet
        self._answers: list[dict[str, Any]] = []  # to the CALL of `call`
        self._called: str | None = None  # the action of a CALL of ours that has no answer yet
        self._in_flight: list[Any] | None = None  # a CALL of the charge point
        self._message_ids: set[str] = set()
        self._serving = False
        charger.on_settled = self._serve

    # -- what a case does

    def call(self, action: str, **payload: Any) -> dict[str, Any]:
        """Send a CALL; the payload of its result."""
        self._called = action
        self.charger.csms_sends(action, **payload)
        assert self._called is None, f"{action} has no answer"
        return self._answers.pop()

    def configure(self, **keys: str | int) -> None:
        """Change configuration keys as the case's preconditions ask."""
        for key, value in keys.items():
            assert self.call("ChangeConfiguration", key=key, value=str(value)) == ACCEPTED, key

    def configuration(self, key: str) -> dict[str, Any]:
        """One key as GetConfiguration tells it."""
        (item,) = self.call("GetConfiguration", key=[key])["configurationKey"]
        return dict(item)

    # -- what a case looks at

    def expect(self, action: str, **fields: Any) -> dict[str, Any]:
        """The payload of the next CALL, which must be this one and have these fields."""
        self._pass_over(action)
        expected = Received(action, fields)
        assert self._received, f"nothing came, expected {expected}"
        received = self._received.popleft()
        assert received.fits(expected), f"{received} came, expected {expected}"
        return received.payload

    def expect_in_any_order(self, *expected: Received) -> None:
        """As many CALLs as are expected come next (ST-17)."""
        waiting = list(expected)
        for _ in expected:
            self._pass_over(*(one.action for one in waiting))
            assert self._received, f"nothing came, expected {waiting}"
            received = self._received.popleft()
            fitting = [one for one in waiting if received.fits(one)]
            assert fitting, f"{received} came, expected {waiting}"
            waiting.remove(fitting[0])

    def expect_statuses(self, *statuses: str) -> None:
        """Connectors 0, 1, … are reported in this order, as after a boot (BT-05)."""
        for connector, status in enumerate(statuses):
            self.expect("StatusNotification", connectorId=connector, status=status)

    def expect_nothing(self) -> None:
        self._pass_over()
        assert not self._received

    def _pass_over(self, *wanted: str) -> None:
        while self._received and self._received[0].action in BACKGROUND.difference(wanted):
            self._received.popleft()

    # -- states from which cases start

    def start_charging(self, id_tag: str = "TAG", connector: int = 1) -> int:
        """A session as in TC_003_CS, its StopTransaction to come; the transaction id."""
        self.charger.meter(connector, 1000)
        self.charger.plug(connector)
        self.expect("StatusNotification", connectorId=connector, status="Preparing")
        self.charger.present(id_tag, connector)
        self.expect("Authorize", idTag=id_tag)
        self.expect("StartTransaction", connectorId=connector, idTag=id_tag)
        self.charger.ready(connector)
        self.expect("StatusNotification", connectorId=connector, status="Charging")
        self.charger.advance(1)
        transaction_id: int = self.charger.shown(f"connector/{connector}/transaction")["transaction_id"]
        return transaction_id

    def expect_stop(self, connector: int = 1, info: str | None = None, **fields: Any) -> None:
        """The transaction has ended with the cable still in; the meter tells its last value meanwhile."""
        self.charger.meter(connector, 1500)
        reported = {"status": "Finishing"} if info is None else {"status": "Finishing", "info": info}
        self.expect_in_any_order(
            call("StatusNotification", connectorId=connector, **reported),
            call("StopTransaction", meterStop=1500, **fields),
        )

    def expect_unplugged(self, connector: int = 1) -> None:
        self.charger.unplug(connector)
        self.expect("StatusNotification", connectorId=connector, status="Available", errorCode="NoError", info=None)

    def know(self, id_tag: str) -> None:
        """Put a tag into the charge point's authorisation cache, by a session of it."""
        transaction_id = self.start_charging(id_tag)
        self.charger.present(id_tag)
        self.expect_stop(transactionId=transaction_id)
        self.expect_unplugged()

    # -- the wire

    def _serve(self) -> None:
        """Take what was sent and answer it, until nothing comes any more."""
        if self._serving:  # an answer moves the charge point, which comes back here
            return
        self._serving = True
        try:
            while frames := self.charger.sent():
                for frame in frames:
                    self._take(frame)
                self._answer_call()
        finally:
            self._serving = False

    def _take(self, frame: list[Any]) -> None:
        if frame[0] == MessageType.Call:
            self._take_call(frame)
        else:
            self._take_answer(frame)

    def _take_answer(self, frame: list[Any]) -> None:
        assert frame[0] == MessageType.CallResult, frame
        assert self._called is not None, f"{frame} answers nothing"
        get_validator(MessageType.CallResult, self._called, "1.6").validate(frame[2])
        self._called = None
        self._answers.append(frame[2])

    def _take_call(self, frame: list[Any]) -> None:
        _, message_id, action, payload = frame
        get_validator(MessageType.Call, action, "1.6").validate(payload)
        assert self._called is None, f"{frame} before the answer to {self._called} (TR-32)"
        assert self._in_flight is None, f"{frame} while {self._in_flight} has no answer (TR-31)"
        assert message_id not in self._message_ids, f"{frame} has a used message id (TR-22)"
        self._message_ids.add(message_id)
        self._received.append(Received(action, payload))
        self._in_flight = frame

    def _answer_call(self) -> None:
        frame, self._in_flight = self._in_flight, None
        if frame is not None:
            self.charger.csms_answers(frame, **self._answer_to(frame[2], frame[3]))

    def _answer_to(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        match action:
            case "BootNotification":
                status, interval = self.registrations.popleft() if self.registrations else ("Accepted", 300)
                return {"status": status, "currentTime": self.charger.now(), "interval": interval}
            case "Heartbeat":
                return {"currentTime": self.charger.now()}
            case "Authorize":
                return {"idTagInfo": self._id_tag_info(payload)}
            case "StartTransaction":
                return {"transactionId": next(self._transaction_ids), "idTagInfo": self._id_tag_info(payload)}
            case "DataTransfer" | "SignCertificate":
                return ACCEPTED
        return {}

    def _id_tag_info(self, payload: dict[str, Any]) -> dict[str, Any]:
        return self.id_tags.get(payload["idTag"], ACCEPTED)

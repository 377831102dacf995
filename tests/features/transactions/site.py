"""A charging site: a charge point with its hardware, and a CSMS that keeps books of what it receives."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.station import Station

REGISTER = "Energy.Active.Import.Register"
BILLED = ("StartTransaction", "StopTransaction")
OF_TRANSACTIONS = (*BILLED, "MeterValues")
ACCEPTED = {"status": "Accepted"}

CONFIG = """
[configuration_keys]
AllowOfflineTxForUnknownId = true
MeterValueSampleInterval = 60
StopTxnSampledData = ["Energy.Active.Import.Register"]
"""


class Books:
    """What the CSMS received, first receipts in order. A second receipt must be the same, and must have a reason."""

    def __init__(self) -> None:
        self.frames: list[list[Any]] = []
        self.receipts: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.answered: list[str] = []  # message ids, as their answers arrived
        self.ids: dict[str, int] = {}  # transaction ids by the message id of StartTransaction

    def enter(self, frame: list[Any]) -> None:
        self.receipts[frame[1]] += 1
        if self.receipts[frame[1]] == 1:
            self.frames.append(frame)
            if frame[2] == "StartTransaction":
                self.ids[frame[1]] = 100 + len(self.ids)
        else:
            (former,) = [one for one in self.frames if one[1] == frame[1]]
            assert frame == former, "a resend says the same (TX-29)"
        if frame[1] in self.answered:
            after = self.answered[self.answered.index(frame[1]) + 1 :]
            assert frame[2] == "MeterValues", "what was answered comes again"
            assert all(self._action(one) == "MeterValues" for one in after), "it comes after what followed it"
            assert len(after) < 64

    def _action(self, message_id: str) -> Any:
        return next(frame[2] for frame in self.frames if frame[1] == message_id)

    def of(self, action: str) -> list[Any]:
        """The payloads of one action."""
        return [frame[3] for frame in self.frames if frame[2] == action]

    def transactions(self) -> list[tuple[int, list[list[Any]]]]:
        """Each transaction id the CSMS gave, and the frames that bear it, StartTransaction first."""
        return [
            (
                number,
                [one for one in self.frames if one[1] == start or one[3].get("transactionId") == number],
            )
            for start, number in self.ids.items()
        ]


class Site:
    """A station, its hardware facts and its CSMS.

    After each step `at_step` is called, which may kill the process.
    """

    def __init__(self, directory: Path, config: str = CONFIG) -> None:
        self.station = Station(directory, config)
        self.books = Books()
        self.calls: list[list[Any]] = []  # all that came in, in order
        self.states: dict[int, dict[str, Any]] = {}
        self.registers: dict[int, float] = {}
        self.at_step: Callable[[], None] = lambda: None
        self.answers: Callable[[list[Any]], bool] = self.accept  # False: this one gets no answer now
        self.station.connect_broker()

    def close(self) -> None:
        self.station.close()

    # -- the hardware

    def plug(self, connector: int = 1, *, plugged: bool = True, **facts: Any) -> None:
        self.states[connector] = {"plugged": plugged, "ev_ready": plugged, "evse_ready": plugged, **facts}
        self._say(connector)
        self.at_step()

    def unplug(self, connector: int = 1) -> None:
        self.plug(connector, plugged=False)

    def _say(self, connector: int) -> None:
        self.station.publish(f"hardware/connector/{connector}/state", self.states[connector])

    def meter(self, wh: float, connector: int = 1) -> None:
        self.registers[connector] = wh
        self._read(connector)
        self.at_step()

    def _read(self, connector: int) -> None:
        self.station.publish(f"hardware/connector/{connector}/meter", {REGISTER: self.registers[connector]})

    def tag(self, id_tag: str = "TAG", **arguments: Any) -> None:
        self.station.publish("request/present_id_tag", {"id_tag": id_tag, **arguments})
        self.at_step()

    def transaction(self, connector: int = 1) -> Any:
        """What the topic shows."""
        return self.station.shown(f"connector/{connector}/transaction")

    def kill(self, *, reboot: bool = False, config: str | None = None) -> None:
        """SIGKILL; the next process hears of the retained facts."""
        if reboot:
            self.station.boot_id += "'"
        self.look()
        self.station.kill(config)
        self.station.connect_broker()
        for connector in self.states:
            self._say(connector)
        for connector in self.registers:
            self._read(connector)

    # -- the CSMS

    def look(self) -> list[list[Any]]:
        """CALLs that came in since the last look; those of transactions are entered into the books."""
        calls = [frame for frame in self.station.sent() if frame[0] == 2]
        self.calls += calls
        for frame in calls:
            if frame[2] in OF_TRANSACTIONS:
                self.books.enter(frame)
        return calls

    def connect(self) -> None:
        """Connect, register where the charge point wants to, and serve it."""
        if not self.station.charge_point.endpoint.connected:
            self.station.connect()
        self.serve()

    def disconnect(self) -> None:
        """The link breaks; what was sent on it has arrived, and has no answer."""
        self.look()
        self.station.disconnect()

    def serve(self) -> None:
        """Answer until there is nothing left to answer."""
        while calls := self.look():
            for frame in calls:
                process = self.station.charge_point
                self.at_step()
                if process is self.station.charge_point and self.answers(frame):
                    self.at_step()

    def accept(self, frame: list[Any]) -> bool:
        """Everything is welcome."""
        station = self.station
        match frame[2]:
            case "BootNotification":
                station.csms_answers(frame, currentTime=station.now(), interval=86400, status="Accepted")
            case "Authorize":
                station.csms_answers(frame, idTagInfo=ACCEPTED)
            case "StartTransaction":
                self._note(frame)
                station.csms_answers(frame, transactionId=self.books.ids[frame[1]], idTagInfo=ACCEPTED)
            case "StopTransaction" | "MeterValues":
                self._note(frame)
                station.csms_answers(frame)
            case _:
                station.csms_answers(frame)
        return True

    def _note(self, frame: list[Any]) -> None:
        if frame[1] not in self.books.answered:
            self.books.answered.append(frame[1])

    def refuse(self, frame: list[Any], code: str = "InternalError") -> bool:
        self.books.refusals[frame[1]] += 1
        self.station.csms_refuses(frame, code)
        return True

    def call(self, action: str, **payload: Any) -> Any:
        """A CALL of the CSMS; the payload of its answer. What it causes is left to `serve`."""
        message_id = self.station.csms_sends(action, **payload)
        (answer,) = [frame[2] for frame in self.station.line.frames if frame[:2] == [3, message_id]]
        return answer

    def change(self, key: str, value: str) -> None:
        """ChangeConfiguration."""
        assert self.call("ChangeConfiguration", key=key, value=value) == {"status": "Accepted"}

    def advance(self, seconds: float) -> None:
        self.station.advance(seconds)
        self.at_step()

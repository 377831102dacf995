"""A charge point with chargers of 32 A and three phases, and a CSMS that accepts everything."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.station import BASE, Station

ACCEPTED = {"status": "Accepted"}
REJECTED = {"status": "Rejected"}
UNKNOWN = {"status": "Unknown"}
Frame = list[Any]


def schedule(*periods: tuple[Any, ...], unit: str = "A", **fields: Any) -> dict[str, Any]:
    """A chargingSchedule of periods: startPeriod, limit, and maybe numberPhases."""
    names = ("startPeriod", "limit", "numberPhases")
    items = [dict(zip(names, period, strict=False)) for period in periods]
    return {"chargingRateUnit": unit, "chargingSchedulePeriod": items, **fields}


def profile(purpose: str, *periods: tuple[Any, ...], number: int = 1, level: int = 0, **fields: Any) -> dict[str, Any]:
    """A csChargingProfiles; without other fields it is Absolute and has no startSchedule."""
    return {
        "chargingProfileId": number,
        "stackLevel": level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": schedule(*periods),
        **fields,
    }


class Site(Station):
    def __init__(self, directory: Path, config: str = "", connectors: int = 2) -> None:
        self._plugged: set[int] = set()
        self._transaction_ids = itertools.count(101)
        self.is_online = False
        self.unanswered = ""  # an action that gets no answer now
        self._waiting: list[Frame] = []
        super().__init__(directory, "[[connectors]]\n" * connectors + config)

    def go_online(self) -> None:
        """Reach broker, hardware and CSMS, as after the start of the daemon."""
        if not self.broker.connected:
            self.connect_broker()
        for connector in self.connectors:
            self._tell(connector)
        self.connect()
        self.is_online = True
        self.serve()

    def configure_offline(self) -> None:
        """From now on tags that are not known may charge while there is no CSMS."""
        answer = self.ask_csms("ChangeConfiguration", key="AllowOfflineTxForUnknownId", value="true")
        assert answer[2] == ACCEPTED

    def go_offline(self) -> None:
        self.is_online = False
        self.disconnect()

    @property
    def connectors(self) -> range:
        return range(1, len(self.settings.connectors) + 1)

    def serve(self) -> None:
        """Answer what is open, until nothing is."""
        while frames := [frame for frame in self.sent() if frame[0] == 2]:
            for frame in frames:
                if frame[2] == self.unanswered:
                    self._waiting.append(frame)
                else:
                    self.csms_answers(frame, **self._answer(frame))

    def answer_late(self) -> None:
        """What had no answer gets it now."""
        self.unanswered = ""
        for frame in self._waiting:
            self.csms_answers(frame, **self._answer(frame))
        self._waiting.clear()

    def _answer(self, frame: Frame) -> dict[str, Any]:
        match frame[2]:
            case "BootNotification":
                return {"status": "Accepted", "currentTime": self.now(), "interval": 86_400}
            case "Heartbeat":
                return {"currentTime": self.now()}
            case "Authorize":
                return {"idTagInfo": ACCEPTED}
            case "StartTransaction":
                return {"transactionId": next(self._transaction_ids), "idTagInfo": ACCEPTED}
        return {}

    # -- sessions

    def plug(self, connector: int = 1, *, plugged: bool = True) -> None:
        (self._plugged.add if plugged else self._plugged.discard)(connector)
        self._tell(connector)
        if self.is_online:
            self.serve()

    def _tell(self, connector: int) -> None:
        plugged = connector in self._plugged
        self.publish(
            f"hardware/connector/{connector}/state", {"plugged": plugged, "ev_ready": plugged, "evse_ready": plugged}
        )

    def present(self, connector: int = 1) -> None:
        """Hold the card of this connector before the reader."""
        self.publish("request/present_id_tag", {"id_tag": f"TAG{connector}", "connector_ids": [connector]})
        if self.is_online:
            self.serve()

    def begin(self, connector: int = 1) -> Any:
        """Plug in and start a transaction; what its topic shows."""
        self.plug(connector)
        self.present(connector)
        return self.shown(f"connector/{connector}/transaction")

    def end(self, connector: int = 1) -> None:
        """Stop by card, wait for the last reading in vain, unplug."""
        self.present(connector)
        self.advance(self.settings.transactions.stop_meter_wait)
        self.plug(connector, plugged=False)

    def restart(self, config: str | None = None) -> None:
        """SIGKILL, and a new process that finds everything as it was."""
        self.is_online = False
        self.kill(config)
        self.go_online()

    # -- smart charging

    def ask_csms(self, action: str, **payload: Any) -> Frame:
        """The whole answer to a CALL of the CSMS."""
        self.serve()
        message_id = self.csms_sends(action, **payload)
        (answer,) = [frame for frame in self.line.frames if frame[1] == message_id]
        self.serve()
        return answer

    def set_profile(self, connector: int, purpose: str, *periods: tuple[Any, ...], **fields: Any) -> Any:
        """The payload of the answer to SetChargingProfile."""
        return self.ask_csms(
            "SetChargingProfile", connectorId=connector, csChargingProfiles=profile(purpose, *periods, **fields)
        )[2]

    def composite(self, connector: int = 1, duration: int = 300, **fields: Any) -> list[tuple[int, float]]:
        """Start and limit of the periods of GetCompositeSchedule."""
        answer = self.ask_csms("GetCompositeSchedule", connectorId=connector, duration=duration, **fields)[2]
        assert answer["status"] == "Accepted"
        periods = answer["chargingSchedule"]["chargingSchedulePeriod"]
        return [(period["startPeriod"], period["limit"]) for period in periods]

    def limits(self) -> list[float]:
        """What the topics `limit` say, connector by connector."""
        return [self.shown(f"connector/{connector}/limit")["limit"] for connector in self.connectors]

    def permitted(self) -> list[bool]:
        return [self.shown(f"connector/{connector}/charging_permitted") for connector in self.connectors]

    def status(self, connector: int = 1) -> Any:
        return self.shown(f"connector/{connector}/status")["status"]

    def highest_sum(self) -> float:
        """The largest sum of the limits of those that were permitted to charge, message by message since the start."""
        limits: dict[str, float] = {}
        permitted: set[str] = set()
        highest = 0.0
        for topic, payload, *_ in self.broker.messages:
            match topic.removeprefix(f"{BASE}/connector/").split("/"):
                case [connector, "limit"]:
                    limits[connector] = payload["limit"]
                case [connector, "charging_permitted"]:
                    (permitted.add if payload else permitted.discard)(connector)
            highest = max(highest, sum(limits.get(connector, 1000.0) for connector in permitted))
        return highest


@contextmanager
def running_site(directory: Path, config: str = "", connectors: int = 2) -> Iterator[Site]:
    site = Site(directory, config, connectors)
    try:
        site.go_online()
        yield site
    finally:
        site.close()

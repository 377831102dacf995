"""A charge point on its site: what people and the hardware do to it, and a CSMS that agrees with everything."""

from typing import Any

from tests.station import Station

PLUGGED = {"plugged": True}
READY = {"plugged": True, "ev_ready": True, "evse_ready": True}
EV_PAUSES = {"plugged": True, "evse_ready": True}
EVSE_PAUSES = {"plugged": True, "ev_ready": True}
EV_GONE = {"plugged": False, "cable": True}
FAULT = {"error_code": "GroundFailure", "faulted": True}
WARNING = {"error_code": "HighTemperature", "faulted": False}


class Site:
    """``station`` registered, all its connectors free, everything answered that it sends."""

    def __init__(self, station: Station, connectors: int = 1) -> None:
        self.station = station
        self.reports: list[dict[str, Any]] = []  # all StatusNotifications
        self._transactions = 0
        self._ids = 0
        self._seen = 0
        for number in range(1, connectors + 1):
            self.state({}, number)
        station.connect()
        self.answer()

    def answer(self) -> None:
        """Answer what is open, and what follows, until nothing is."""
        while frames := self.station.sent():
            self._answer(frames)

    def _answer(self, frames: list[list[Any]]) -> None:
        for frame in frames:
            if frame[0] != 2:
                continue
            if frame[2] == "StatusNotification":
                self.reports.append(frame[3])
            self.station.csms_answers(frame, **self._answer_to(frame[2]))

    def _answer_to(self, action: str) -> dict[str, Any]:
        match action:
            case "BootNotification":
                return {"status": "Accepted", "currentTime": self.station.now(), "interval": 86400}
            case "Heartbeat":
                return {"currentTime": self.station.now()}
            case "Authorize":
                return {"idTagInfo": {"status": "Accepted"}}
            case "StartTransaction":
                self._transactions += 1
                return {"transactionId": self._transactions, "idTagInfo": {"status": "Accepted"}}
        return {}

    def fresh(self, connector_id: int = 1) -> list[dict[str, Any]]:
        """The StatusNotifications of one connector since the last look; those of others are forgotten."""
        self.answer()
        reports = [report for report in self.reports[self._seen :] if report["connectorId"] == connector_id]
        self._seen = len(self.reports)
        return reports

    def statuses(self, connector_id: int = 1) -> list[str]:
        return [report["status"] for report in self.fresh(connector_id)]

    def told(self, connector_id: int = 1) -> list[tuple[str, str]]:
        """Status and error of each one."""
        return [(report["status"], report["errorCode"]) for report in self.fresh(connector_id)]

    def shown(self, connector_id: int = 1) -> str:
        status: str = self.station.shown(f"connector/{connector_id}/status")["status"]
        return status

    # -- what is done to it

    def state(self, state: dict[str, Any], connector_id: int = 1) -> None:
        self.station.publish(f"hardware/connector/{connector_id}/state", state)

    def errors(self, *errors: dict[str, Any], connector_id: int = 1, source: str = "") -> None:
        topic = f"hardware/connector/{connector_id}/errors" + (f"/{source}" if source else "")
        self.station.publish(topic, list(errors))

    def tag(self, id_tag: str = "TAG") -> None:
        self.station.publish("request/present_id_tag", {"id_tag": id_tag})
        self.answer()

    def calls(self, action: str, **payload: Any) -> str:
        """A CALL of the CSMS; the status of its answer."""
        self.answer()
        message_id = self.station.csms_sends(action, **payload)
        answer, *others = self.station.sent()
        assert answer[:2] == [3, message_id], answer
        self._answer(others)
        status: str = answer[2]["status"]
        return status

    def availability(self, kind: str, connector_id: int = 1) -> str:
        return self.calls("ChangeAvailability", connectorId=connector_id, type=kind)

    def reserve(self, connector_id: int = 1, id_tag: str = "TAG") -> str:
        self._ids += 1
        expiry = "2026-11-22T18:00:00Z"
        return self.calls(
            "ReserveNow", connectorId=connector_id, idTag=id_tag, expiryDate=expiry, reservationId=self._ids
        )

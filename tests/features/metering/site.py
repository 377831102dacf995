"""What the tests of meter values share: transactions without a card, and a CSMS that answers everything."""

import json
from typing import Any

from tests.station import Station

REGISTER = "Energy.Active.Import.Register"
CHARGING = {"plugged": True, "ev_ready": True, "evse_ready": True}


def config(connectors: int = 1, transactions: str = "", **keys: Any) -> str:
    """Plugging in begins a transaction; ``keys`` are first values of configuration keys."""
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in keys.items())
    tables = "[[connectors]]\n" * connectors
    return f'{tables}[transactions]\nfree_vend_id_tag = "FREE"\n{transactions}\n[configuration_keys]\n{lines}\n'


def meter(station: Station, register: float, connector: int = 1, **others: Any) -> None:
    station.publish(f"hardware/connector/{connector}/meter", {REGISTER: register, **others})


def plug(station: Station, connector: int = 1) -> None:
    """A transaction begins."""
    station.publish(f"hardware/connector/{connector}/state", CHARGING)


def unplug(station: Station, connector: int = 1) -> None:
    """Its end; StopTransaction follows with the last reading, which has 2 s."""
    station.publish(f"hardware/connector/{connector}/state", {})
    station.advance(2)


def collected(station: Station, transaction_id: int = 7) -> list[list[Any]]:
    """All CALLs until nothing is left to send, each answered; transactions are numbered from ``transaction_id`` on."""
    online(station)
    found = []
    while frames := [frame for frame in station.sent() if frame[0] == 2]:
        for frame in frames:
            if frame[2] == "StartTransaction":
                station.csms_answers(frame, transactionId=transaction_id, idTagInfo={"status": "Accepted"})
                transaction_id += 1
            else:
                station.csms_answers(frame)
        found += frames
    return found


def sent_values(station: Station) -> list[dict[str, Any]]:
    """The payloads of the MeterValues sent since the last look."""
    return [frame[3] for frame in collected(station) if frame[2] == "MeterValues"]


def moments(payloads: list[dict[str, Any]]) -> list[str]:
    """The time of day of each MeterValue."""
    return [value["timestamp"][11:-1] for payload in payloads for value in payload["meterValue"]]


def sampled(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All sampled values, in order."""
    return [one for payload in payloads for value in payload["meterValue"] for one in value["sampledValue"]]


def stopped(station: Station) -> dict[str, Any]:
    """The payload of the one StopTransaction since the last look."""
    (frame,) = [frame for frame in collected(station) if frame[2] == "StopTransaction"]
    payload: dict[str, Any] = frame[3]
    return payload


def ready(station: Station, *, connectors: int = 1) -> None:
    """Registered, with nothing plugged."""
    for connector in range(1, connectors + 1):
        station.publish(f"hardware/connector/{connector}/state", {})
    station.register()


def online(station: Station) -> None:
    """Long times pass offline, where nothing waits for an answer; this ends it."""
    if not station.charge_point.endpoint.connected:
        station.connect()


def change(station: Station, key: str, value: object) -> None:
    online(station)
    collected(station)
    assert station.csms_calls("ChangeConfiguration", key=key, value=str(value)) == {"status": "Accepted"}


class Commits:
    """Counts the commits of a station's store from now on."""

    def __init__(self, station: Station) -> None:
        self.count = 0
        station.store._database.set_trace_callback(self._see)

    def _see(self, statement: str) -> None:
        self.count += statement == "COMMIT"

"""TriggerMessage (OCPP 1.6, 5.17; obligations 6.6)."""

from typing import Any

import pytest

from tests.conftest import MakeStation
from tests.features.connectors.site import READY, Site
from tests.station import Station

TWO = "[[connectors]]\n[[connectors]]\n"


def meter(station: Station, connector_id: int, wh: float = 1000) -> None:
    station.publish(f"hardware/connector/{connector_id}/meter", {"Energy.Active.Import.Register": wh})


@pytest.fixture
def site(make_station: MakeStation) -> Site:
    """Two connectors with a meter each, and none for both together."""
    station = make_station(TWO)
    meter(station, 1)
    meter(station, 2)
    return Site(station, 2)


def triggered(station: Station, message: str, **fields: Any) -> tuple[str, list[list[Any]]]:
    """The status of the answer, which comes first, and the CALLs that follow it, each answered with {}."""
    station.sent()
    message_id = station.csms_sends("TriggerMessage", requestedMessage=message, **fields)
    answer, *following = station.sent()
    assert answer[:2] == [3, message_id], answer
    calls: list[list[Any]] = []
    while following:
        calls += following
        for frame in following:
            station.csms_answers(frame, **({"currentTime": station.now()} if frame[2] == "Heartbeat" else {}))
        following = station.sent()
    return answer[2]["status"], [frame[2:] for frame in calls]


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        ("Heartbeat", {}),
        ("DiagnosticsStatusNotification", {"status": "Idle"}),
        ("FirmwareStatusNotification", {"status": "Idle"}),
    ],
)
@pytest.mark.parametrize("fields", [{}, {"connectorId": 0}, {"connectorId": 99}], ids=["none", "0", "99"])
def test_message_of_no_connector_ignores_it(
    site: Site, message: str, payload: dict[str, Any], fields: dict[str, int]
) -> None:
    """TC_054_CS."""
    assert triggered(site.station, message, **fields) == ("Accepted", [[message, payload]])


@pytest.mark.parametrize(
    ("fields", "connectors"),
    [({}, [0, 1, 2]), ({"connectorId": 0}, [0]), ({"connectorId": 2}, [2])],
    ids=["all", "0", "2"],
)
def test_status_of_one_or_all(site: Site, fields: dict[str, int], connectors: list[int]) -> None:
    """TC_054_CS: where no connector is named there is one message for each id, 0 among them."""
    status, calls = triggered(site.station, "StatusNotification", **fields)

    assert status == "Accepted"
    assert [(action, payload["connectorId"], payload["status"]) for action, payload in calls] == [
        ("StatusNotification", number, "Available") for number in connectors
    ]


@pytest.mark.parametrize(
    ("fields", "connectors"), [({}, [1, 2]), ({"connectorId": 2}, [2])], ids=["all that have a meter", "2"]
)
def test_meter_values_of_one_or_all(site: Site, fields: dict[str, int], connectors: list[int]) -> None:
    """TC_054_CS, MV-12."""
    status, calls = triggered(site.station, "MeterValues", **fields)

    assert status == "Accepted"
    assert [(action, payload["connectorId"]) for action, payload in calls] == [
        ("MeterValues", number) for number in connectors
    ]
    for _, payload in calls:
        assert "transactionId" not in payload
        (value,) = payload["meterValue"][0]["sampledValue"]
        assert (value["context"], value["measurand"]) == ("Trigger", "Energy.Active.Import.Register")


def test_main_meter_is_connector_0(site: Site) -> None:
    meter(site.station, 0)

    _, calls = triggered(site.station, "MeterValues")

    assert [payload["connectorId"] for _, payload in calls] == [0, 1, 2]


@pytest.mark.parametrize("message", ["StatusNotification", "MeterValues"])
@pytest.mark.parametrize("connector_id", [3, -1, 1000])
def test_unknown_connector_is_rejected(site: Site, message: str, connector_id: int) -> None:
    """TC_055_CS."""
    assert triggered(site.station, message, connectorId=connector_id) == ("Rejected", [])


def test_meter_values_of_no_meter_are_rejected(site: Site) -> None:
    """There is nothing to send."""
    assert triggered(site.station, "MeterValues", connectorId=0) == ("Rejected", [])


@pytest.mark.parametrize("message", ["StartTransaction", "StopTransaction", "Authorize", "Nonsense", ""])
def test_other_messages_are_not_implemented(site: Site, message: str) -> None:
    """5.17: not a CALLERROR."""
    assert triggered(site.station, message) == ("NotImplemented", [])


def test_boot_notification_is_rejected_once_accepted(site: Site) -> None:
    """BT-10."""
    assert triggered(site.station, "BootNotification") == ("Rejected", [])


@pytest.mark.parametrize(
    ("message", "connectors"),
    [
        ("Heartbeat", None),
        ("StatusNotification", [0, 1, 2]),
        ("MeterValues", [1]),
        ("DiagnosticsStatusNotification", None),
        ("FirmwareStatusNotification", None),
    ],
)
def test_what_is_asked_for_goes_out_while_pending(
    make_station: MakeStation, message: str, connectors: list[int] | None
) -> None:
    """BT-08."""
    station = make_station(TWO)
    meter(station, 1)
    station.register("Pending")

    status, calls = triggered(station, message)

    assert status == "Accepted"
    assert [action for action, _ in calls] == [message] * (1 if connectors is None else len(connectors))
    if connectors is not None:
        assert [payload["connectorId"] for _, payload in calls] == connectors


def test_boot_notification_goes_out_before_its_time_while_pending(station: Station) -> None:
    """BT-06, BT-10."""
    station.register("Pending", 300)
    station.advance(10)

    status, calls = triggered(station, "BootNotification")

    assert status == "Accepted"
    assert [action for action, _ in calls] == ["BootNotification"]


@pytest.mark.parametrize("message", ["Heartbeat", "StatusNotification", "MeterValues"])
def test_before_the_answer_to_boot_notification_nothing_is_sent(station: Station, message: str) -> None:
    """BT-02: what can't be sent is not promised."""
    meter(station, 1)
    station.connect()

    assert triggered(station, message) == ("Rejected", [])


def test_triggered_message_overtakes_the_transaction_queue(site: Site) -> None:
    """6.6: StartTransaction is waiting for its next attempt."""
    site.station.publish("hardware/connector/1/state", READY)
    site.station.publish("request/present_id_tag", {"id_tag": "TAG", "connector_ids": [1]})
    while (frame := site.station.sent()[-1])[2] != "StartTransaction":
        site.station.csms_answers(frame, **site._answer_to(frame[2]))
    site.station.csms_refuses(frame, "InternalError")
    site.answer()

    status, calls = triggered(site.station, "StatusNotification", connectorId=1)

    assert status == "Accepted"
    assert [action for action, _ in calls] == ["StatusNotification"]


def test_triggered_status_does_not_wait_for_minimum_status_duration(site: Site) -> None:
    """6.6, ST-07."""
    site.station.csms_calls("ChangeConfiguration", key="MinimumStatusDuration", value="60")
    site.fresh()
    site.state({"plugged": True})
    assert site.fresh() == []

    _, calls = triggered(site.station, "StatusNotification", connectorId=1)

    assert [payload["status"] for _, payload in calls] == ["Preparing"]
    site.station.advance(60)
    assert site.fresh() == []  # told already


def test_meter_values_of_a_transaction_bear_its_id(site: Site) -> None:
    """MV-12."""
    site.state(READY)
    site.tag()

    _, calls = triggered(site.station, "MeterValues")

    assert [payload.get("transactionId") for _, payload in calls] == [1, None]

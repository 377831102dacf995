"""What ends a transaction from outside: obligations 5.2, 6.1 and 6.3."""

from typing import Any

import pytest

from tests.conftest import MakeStation
from tests.station import Station

ACCEPTED = {"status": "Accepted"}
LOCK = '[[connectors]]\nlock = true\n[hardware]\nanswers = ["unlock_connector"]\n'
PLUGGED = {"plugged": True, "locked": True}


@pytest.fixture
def charging(station: Station) -> Station:
    """A transaction of TAG on the only connector, number 7 at the CSMS; it has a fixed cable."""
    return begin(register(station))


@pytest.fixture
def locked(make_station: MakeStation) -> Station:
    """A connector with a lock, without a transaction; registered."""
    return register(make_station(LOCK))


def register(station: Station) -> Station:
    station.advance(20)
    station.register()
    return station


def begin(station: Station, id_tag: str = "TAG", transaction_id: int = 7) -> Station:
    station.publish("hardware/connector/1/state", PLUGGED)
    station.publish("request/present_id_tag", {"id_tag": id_tag})
    answer(station, transaction_id)
    assert station.shown("connector/1/transaction")["transaction_id"] == transaction_id
    station.published()
    return station


def answer(station: Station, transaction_id: int = 7) -> list[tuple[str, dict[str, Any]]]:
    """Answer all that is open; actions and payloads, with "answer" for answers of the charge point."""
    found = []
    while frames := station.sent():
        for frame in frames:
            if frame[0] != 2:
                found.append(("answer", frame[2]))
                continue
            found.append((frame[2], frame[3]))
            result: dict[str, Any] = {"idTagInfo": ACCEPTED} if frame[2] in ("Authorize", "StartTransaction") else {}
            if frame[2] == "StartTransaction":
                result |= {"transactionId": transaction_id}
            station.csms_answers(frame, **result)
    return found


def stop_sent(station: Station) -> dict[str, Any]:
    """The StopTransaction that follows once the meter has had its time."""
    frames = answer(station)
    station.advance(2)
    (stop,) = [payload for action, payload in frames + answer(station) if action == "StopTransaction"]
    return stop


def status(station: Station) -> Any:
    return station.shown("connector/1/status")["status"]


# -- stop_transaction (contract 3)


def test_command_stops_for_a_local_reason_without_tag(charging: Station) -> None:
    """5.2: a stop button."""
    assert charging.ask("stop_transaction", connector_id=1) is True

    assert charging.shown("connector/1/charging_permitted") is False
    assert status(charging) == "Finishing"
    stop = stop_sent(charging)
    assert (stop["transactionId"], stop["reason"]) == (7, "Local")
    assert "idTag" not in stop


@pytest.mark.parametrize(
    "reason",
    [
        "DeAuthorized",
        "EmergencyStop",
        "EVDisconnected",
        "HardReset",
        "Local",
        "Other",
        "PowerLoss",
        "Reboot",
        "Remote",
        "SoftReset",
        "UnlockCommand",
    ],
)
def test_command_gives_reason_and_tag(charging: Station, reason: str) -> None:
    """Contract 3."""
    charging.ask("stop_transaction", connector_id=1, reason=reason, id_tag="CARD")

    stop = stop_sent(charging)

    assert (stop["reason"], stop["idTag"]) == (reason, "CARD")


def test_there_is_nothing_to_stop(charging: Station) -> None:
    charging.ask("stop_transaction", connector_id=1)

    assert charging.ask("stop_transaction", connector_id=1) is False

    assert stop_sent(charging)["reason"] == "Local"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"connector_id": 0},
        {"connector_id": 2},
        {"connector_id": "1"},
        {"connector_id": 1, "reason": "Boredom"},
        {"connector_id": 1, "reason": "local"},
        {"connector_id": 1, "id_tag": ""},
        {"connector_id": 1, "id_tag": "x" * 21},
        {"connector_id": 1, "tag": "TAG"},
    ],
    ids=str,
)
def test_impossible_arguments_are_refused(charging: Station, arguments: dict[str, Any]) -> None:
    """Contract 3."""
    reply = charging.request("stop_transaction", **arguments)

    assert reply["error"]["code"] == "bad_request"
    assert charging.shown("connector/1/transaction") is not None


def test_stopped_is_an_error(charging: Station) -> None:
    """Contract 3."""
    charging.publish("request/stop", {})
    charging.advance(5)

    assert charging.request("stop_transaction", connector_id=1)["error"]["code"] == "stopped"


# -- RemoteStopTransaction (6.1)


def test_remote_stop(charging: Station) -> None:
    """5.2, TX-16, TR-32; TC_012_CS; trap 16."""
    charging.csms_sends("RemoteStopTransaction", transactionId=7)

    frames = answer(charging)

    assert frames[0] == ("answer", {"status": "Accepted"})
    assert [payload["status"] for action, payload in frames[1:] if action == "StatusNotification"] == ["Finishing"]
    charging.advance(2)
    ((_, stop),) = answer(charging)
    assert (stop["transactionId"], stop["reason"]) == (7, "Remote")
    assert "idTag" not in stop


@pytest.mark.parametrize("transaction_id", [0, 8, -1])
def test_remote_stop_of_an_unknown_transaction_is_rejected(charging: Station, transaction_id: int) -> None:
    """TC_028_CS."""
    assert charging.csms_calls("RemoteStopTransaction", transactionId=transaction_id) == {"status": "Rejected"}

    assert charging.shown("connector/1/charging_permitted") is True


def test_second_remote_stop_is_rejected(charging: Station) -> None:
    """6.1."""
    charging.csms_sends("RemoteStopTransaction", transactionId=7)
    answer(charging)

    assert charging.csms_calls("RemoteStopTransaction", transactionId=7) == {"status": "Rejected"}


@pytest.mark.parametrize("transaction_id", [0, -1, -5])
def test_any_number_is_a_transaction_id(station: Station, transaction_id: int) -> None:
    """4.5, E§6.46."""
    begin(register(station), transaction_id=transaction_id)

    assert station.csms_calls("RemoteStopTransaction", transactionId=transaction_id) == {"status": "Accepted"}


def test_transaction_without_id_cannot_be_stopped_remotely(station: Station) -> None:
    """TX-16."""
    register(station)
    station.disconnect()
    station.ask("set_configuration_key", key="AllowOfflineTxForUnknownId", value="true")
    station.publish("hardware/connector/1/state", PLUGGED)
    station.ask("present_id_tag", id_tag="TAG")
    station.connect()
    station.sent()

    assert station.csms_calls("RemoteStopTransaction", transactionId=7) == {"status": "Rejected"}


def test_remote_stop_while_pending_is_rejected(charging: Station) -> None:
    """BT-08."""
    charging.kill()
    charging.connect_broker()
    charging.publish("hardware/connector/1/state", PLUGGED)
    charging.register("Pending")

    assert charging.csms_calls("RemoteStopTransaction", transactionId=7) == {"status": "Rejected"}

    assert charging.shown("connector/1/charging_permitted") is True


def test_remote_stop_works_while_the_broker_is_away(charging: Station) -> None:
    """Contract 1: only starts, UnlockConnector and Hard Reset are refused."""
    charging.disconnect_broker()

    assert charging.csms_calls("RemoteStopTransaction", transactionId=7) == {"status": "Accepted"}


# -- UnlockConnector (6.3)


def unlock(station: Station, connector_id: int = 1) -> str:
    """The CALL is in work now, its message id."""
    return station.csms_sends("UnlockConnector", connectorId=connector_id)


def hardware_says(station: Station, **reply: Any) -> None:
    """Answer the one question that the hardware was asked."""
    (question,) = station.published("hardware/request/unlock_connector")
    assert question["connector_id"] == 1
    station.publish("hardware/response/unlock_connector", {"id": question["id"], **reply})


def answers(station: Station) -> list[Any]:
    return [payload["status"] for action, payload in answer(station) if action == "answer"]


@pytest.mark.parametrize("connector_id", [0, 2])
def test_unknown_connector_is_not_supported(locked: Station, connector_id: int) -> None:
    """E§7.46; TC_031_CS."""
    unlock(locked, connector_id)

    assert answers(locked) == ["NotSupported"]
    assert locked.published("hardware/request/unlock_connector") == []


@pytest.mark.parametrize("answers_listed", [True, False], ids=["listed", "not listed"])
@pytest.mark.parametrize("lock", [True, False], ids=["lock", "fixed cable"])
def test_who_is_asked(make_station: MakeStation, lock: bool, answers_listed: bool) -> None:
    """Contract 4: NotSupported unasked; TC_017_2_CS."""
    hardware = '[hardware]\nanswers = ["unlock_connector"]\n' if answers_listed else ""
    station = register(make_station(f"[[connectors]]\nlock = {str(lock).lower()}\n{hardware}"))
    station.published()

    unlock(station)

    asked = len(station.published("hardware/request/unlock_connector"))
    assert (asked, answers(station)) == ((1, []) if lock and answers_listed else (0, ["NotSupported"]))


def test_transaction_with_a_fixed_cable_goes_on(charging: Station) -> None:
    """TC_018_2_CS."""
    unlock(charging)

    assert answers(charging) == ["NotSupported"]
    assert charging.shown("connector/1/charging_permitted") is True


@pytest.mark.parametrize("said", ["Unlocked", "UnlockFailed", "NotSupported"])
def test_what_the_hardware_says_is_the_answer(locked: Station, said: str) -> None:
    """Also without a cable; TC_017_1_CS, TC_030_CS."""
    unlock(locked)
    assert locked.sent() == []

    hardware_says(locked, status="ok", data=said)

    assert answers(locked) == [said]


@pytest.mark.parametrize(
    "reply",
    [
        {"status": "error", "error": {"code": "stuck", "message": "the pin is stuck"}},
        {"status": "ok", "data": "Open"},
        {"status": "ok", "data": None},
        {"status": "ok", "data": ["Unlocked"]},
        {"status": "ok"},
    ],
    ids=str,
)
def test_other_answer_of_the_hardware_is_a_failure(locked: Station, reply: dict[str, Any]) -> None:
    """TC_030_CS."""
    unlock(locked)

    hardware_says(locked, **reply)

    assert answers(locked) == ["UnlockFailed"]


def test_hardware_that_does_not_answer_in_time_is_a_failure(locked: Station) -> None:
    """Contract 4: hardware.answer_timeout."""
    unlock(locked)
    locked.advance(9.9)
    assert answers(locked) == []

    locked.advance(0.1)

    assert answers(locked) == ["UnlockFailed"]


def test_unlock_while_the_broker_is_away_fails_at_once(locked: Station) -> None:
    """Contract 1."""
    locked.disconnect_broker()

    unlock(locked)

    assert answers(locked) == ["UnlockFailed"]


def test_transaction_ends_once_the_connector_is_unlocked(locked: Station) -> None:
    """5.2, TR-32; TC_018_1_CS: the answer comes first."""
    begin(locked)
    unlock(locked)
    assert locked.shown("connector/1/charging_permitted") is True

    hardware_says(locked, status="ok", data="Unlocked")

    frames = answer(locked)
    assert frames[0] == ("answer", {"status": "Unlocked"})
    assert [payload["status"] for action, payload in frames[1:] if action == "StatusNotification"] == ["Finishing"]
    assert locked.shown("connector/1/lock") is False
    locked.advance(2)
    ((_, stop),) = answer(locked)
    assert stop["reason"] == "UnlockCommand"
    assert "idTag" not in stop


@pytest.mark.parametrize("said", ["UnlockFailed", "NotSupported"])
def test_transaction_goes_on_while_the_connector_is_locked(locked: Station, said: str) -> None:
    """TC_030_CS."""
    begin(locked)
    unlock(locked)

    hardware_says(locked, status="ok", data=said)

    assert locked.shown("connector/1/charging_permitted") is True
    assert locked.shown("connector/1/lock") is True


def test_transaction_that_ended_meanwhile_ends_once(locked: Station) -> None:
    begin(locked)
    unlock(locked)
    (question,) = locked.published("hardware/request/unlock_connector")
    locked.ask("stop_transaction", connector_id=1)

    locked.publish("hardware/response/unlock_connector", {"id": question["id"], "status": "ok", "data": "Unlocked"})

    assert stop_sent(locked)["reason"] == "Local"


def test_cable_that_was_kept_is_free_once_unlocked(locked: Station) -> None:
    """TX-12; TC_005_2_CS."""
    locked.ask("set_configuration_key", key="UnlockConnectorOnEVSideDisconnect", value="false")
    begin(locked)
    locked.publish("hardware/connector/1/state", {"plugged": False, "cable": True, "locked": True})
    assert stop_sent(locked)["reason"] == "EVDisconnected"
    assert locked.shown("connector/1/lock") is True
    locked.published()
    unlock(locked)

    hardware_says(locked, status="ok", data="Unlocked")

    assert locked.shown("connector/1/lock") is False

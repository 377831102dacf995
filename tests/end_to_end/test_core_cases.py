"""OCTT's core cases, played by the real process (obligations 10): each test plays the one that it names."""

from datetime import UTC, datetime

import pytest

from tests.end_to_end import charge_point
from tests.end_to_end.charge_point import ID_TAG, OFFLINE, ChargePoint, MakeChargePoint, at
from tests.end_to_end.charger import FIRST_REGISTER
from tests.end_to_end.conftest import Prepare
from tests.end_to_end.daemon import PATIENCE
from tests.end_to_end.machine import Machine
from tests.scripted_csms import Call, ScriptedCsms

make_charge_point = charge_point.make_charge_point
machine = charge_point.machine

BOOT_INTERVAL = 1  # s


@pytest.fixture
def one(make_charge_point: MakeChargePoint) -> ChargePoint:
    return make_charge_point()


def test_cold_boot_rejected_and_accepted(csms: ScriptedCsms, prepare: Prepare) -> None:
    """TC_001_CS: the wait is as long as the CSMS says, and so is the pace of the heartbeats."""
    statuses = iter(["Rejected", "Accepted"])
    csms.answers["BootNotification"] = lambda _boot: {
        "status": next(statuses),
        "currentTime": datetime.now(UTC).isoformat(),
        "interval": BOOT_INTERVAL,
    }
    prepare(hardware={"start_timeout": 0}).start()

    rejected, accepted = (csms.wait_for_call("BootNotification", timeout=PATIENCE) for _ in range(2))
    first, second = csms.wait_for_call("Heartbeat"), csms.wait_for_call("Heartbeat")

    assert BOOT_INTERVAL <= accepted.received_at - rejected.received_at < BOOT_INTERVAL + 0.5
    assert BOOT_INTERVAL - 0.1 < second.received_at - first.received_at < BOOT_INTERVAL + 0.5
    actions = [call.action for call in csms.calls if call.action != "SecurityEventNotification"]
    assert actions[:4] == ["BootNotification", "BootNotification", "StatusNotification", "StatusNotification"]
    told = [call.payload for call in csms.calls if call.action == "StatusNotification"]
    assert [(status["connectorId"], status["status"]) for status in told] == [(0, "Available"), (1, "Available")]


def test_regular_session_plug_first(one: ChargePoint) -> None:
    """TC_003_CS."""
    one.charger.plug()
    preparing = one.await_status("Preparing")
    reply = one.present()

    authorize = one.await_call("Authorize", idTag=ID_TAG)
    start = one.await_call("StartTransaction", connectorId=1, idTag=ID_TAG, meterStart=FIRST_REGISTER)
    one.await_status("Charging")

    assert reply == {"status": "Accepted", "action": "start", "connector_id": 1}
    assert one.in_order(preparing, authorize, start)


def test_regular_session_identification_first(one: ChargePoint) -> None:
    """TC_004_1_CS."""
    reply = one.present()
    authorize = one.await_call("Authorize", idTag=ID_TAG)
    preparing = one.await_status("Preparing")

    one.charger.plug()

    start = one.await_call("StartTransaction", connectorId=1, idTag=ID_TAG)
    one.await_status("Charging")
    assert reply["action"] == "wait"
    assert one.in_order(authorize, preparing, start)


@pytest.mark.parametrize("asks", [True, False], ids=["AuthorizeRemoteTxRequests", "not AuthorizeRemoteTxRequests"])
def test_remote_start_of_a_plugged_cable(make_charge_point: MakeChargePoint, *, asks: bool) -> None:
    """TC_010_CS."""
    one = make_charge_point(configuration_keys={"AuthorizeRemoteTxRequests": asks})
    one.charger.plug()
    one.await_status("Preparing")

    answer = one.csms.call("RemoteStartTransaction", {"idTag": ID_TAG, "connectorId": 1})

    one.await_call("StartTransaction", connectorId=1, idTag=ID_TAG)
    one.await_status("Charging")
    assert answer == {"status": "Accepted"}
    assert one.actions("Authorize", "StartTransaction") == ["Authorize"] * asks + ["StartTransaction"]


def test_remote_stop(one: ChargePoint) -> None:
    """TC_012_CS."""
    transaction_id = one.begin()
    one.charger.charge(500)

    answer = one.csms.call("RemoteStopTransaction", {"transactionId": transaction_id})

    assert answer == {"status": "Accepted"}
    one.await_call("StopTransaction", transactionId=transaction_id, reason="Remote", meterStop=FIRST_REGISTER + 500)
    one.await_status("Finishing")
    one.charger.unplug()
    one.await_status("Available")
    assert not one.charger.is_permitted()


@pytest.mark.parametrize("kind", [pytest.param("Hard", id="TC_013_CS"), pytest.param("Soft", id="TC_014_CS")])
def test_reset_without_transaction(make_charge_point: MakeChargePoint, kind: str) -> None:
    two = make_charge_point(count=2)
    assert two.csms.call("ChangeAvailability", {"connectorId": 1, "type": "Inoperative"}) == {"status": "Accepted"}
    two.await_status("Unavailable", 1)

    answer = two.csms.call("Reset", {"type": kind})
    status = two.daemon.wait()
    two.daemon.start()  # as the service manager does

    assert (answer, status) == ({"status": "Accepted"}, 0)
    assert two.program.wait_for("ocpp16/event/reset").json == {"type": kind}
    boot = two.await_registration()
    for connector, shown in enumerate(["Available", "Unavailable", "Available"]):
        assert two.in_order(boot, two.await_status(shown, connector))
    assert two.csms.call("ChangeAvailability", {"connectorId": 1, "type": "Operative"}) == {"status": "Accepted"}
    two.await_status("Available", 1)


def test_unlock_with_a_session(make_charge_point: MakeChargePoint) -> None:
    """TC_018_1_CS."""
    one = make_charge_point(lock=True, hardware={"answers": ["unlock_connector"]})
    transaction_id = one.begin()
    assert one.charger.is_locked()

    answer = one.csms.call("UnlockConnector", {"connectorId": 1})

    assert answer == {"status": "Unlocked"}
    one.await_call("StopTransaction", transactionId=transaction_id, reason="UnlockCommand")
    one.await_status("Finishing")
    one.charger.unplug()
    one.await_status("Available")
    assert not one.charger.is_locked()


def test_a_lock_that_fails(make_charge_point: MakeChargePoint) -> None:
    """TC_024_CS."""
    one = make_charge_point(lock=True)
    one.charger.jam_lock()
    one.charger.plug()
    one.await_status("Preparing")

    one.present()

    one.await_status("Faulted", errorCode="ConnectorLockFailure")
    one.charger.unplug()
    one.charger.set_errors()
    one.await_status("Available", errorCode="NoError")
    assert one.actions("StartTransaction") == []


def test_remote_start_of_a_busy_connector_is_rejected(one: ChargePoint) -> None:
    """TC_026_CS."""
    one.begin()

    answer = one.csms.call("RemoteStartTransaction", {"idTag": "ANOTHER", "connectorId": 1})

    assert answer == {"status": "Rejected"}
    assert one.actions("StartTransaction") == ["StartTransaction"]


def test_power_failure_stops(make_charge_point: MakeChargePoint, machine: Machine) -> None:
    """TC_032_2_CS, second design: the transaction is stopped after the boot, with what was known before."""
    one = make_charge_point(wrapper=machine.wrapper, transactions={"on_power_loss": "stop"})
    transaction_id = one.begin()
    one.charger.charge(300)
    lost_at = datetime.now(UTC)

    boot = after_power_cut(one, machine)

    status = one.await_call("StatusNotification", connectorId=1)
    stop = one.await_call("StopTransaction", transactionId=transaction_id, reason="PowerLoss")
    assert one.in_order(boot, status, stop)  # TX-40
    assert status.payload["status"] in ("Finishing", "Preparing")  # ST-15
    assert at(stop) < lost_at  # TX-42
    assert not one.charger.is_permitted()


def test_power_failure_and_resumption(make_charge_point: MakeChargePoint, machine: Machine) -> None:
    """TC_032_2_CS, third design: the transaction goes on after the boot, and its user stops it."""
    one = make_charge_point(wrapper=machine.wrapper, transactions={"on_power_loss": "resume"})
    transaction_id = one.begin()
    one.charger.charge(300)

    boot = after_power_cut(one, machine)

    assert one.in_order(boot, one.await_status("Charging"))
    one.charger.charge(200)
    assert one.present()["action"] == "stop"
    one.await_call("StopTransaction", transactionId=transaction_id, reason="Local", meterStop=FIRST_REGISTER + 500)
    one.await_status("Finishing")
    assert one.actions("StartTransaction") == ["StartTransaction"]


def after_power_cut(one: ChargePoint, machine: Machine) -> Call:
    """Its BootNotification."""
    one.daemon.kill()
    machine.reboot()
    one.daemon.start()
    return one.await_registration()


def test_offline_start(make_charge_point: MakeChargePoint) -> None:
    """TC_037_1_CS."""
    one = make_charge_point(configuration_keys=OFFLINE)
    one.go_offline()
    one.charger.plug()
    assert one.present()["action"] == "start"
    one.await_shown_status("Charging")
    assert one.charger.is_permitted()

    back = datetime.now(UTC)
    one.go_online()

    start = one.await_call("StartTransaction", connectorId=1, idTag=ID_TAG, meterStart=FIRST_REGISTER)
    one.await_status("Charging")
    assert at(start) < back


def test_offline_session(make_charge_point: MakeChargePoint) -> None:
    """TC_039_CS."""
    one = make_charge_point(configuration_keys=OFFLINE)
    one.csms.answers["StartTransaction"] = {"transactionId": 4711, "idTagInfo": {"status": "Accepted"}}
    one.go_offline()
    one.charger.plug()
    assert one.present()["action"] == "start"
    one.await_shown_status("Charging")
    one.charger.charge(700)
    assert one.present()["action"] == "stop"
    one.await_shown_status("Finishing")

    back = datetime.now(UTC)
    one.go_online()

    start = one.await_call("StartTransaction", idTag=ID_TAG, meterStart=FIRST_REGISTER)
    stop = one.await_call("StopTransaction", transactionId=4711, idTag=ID_TAG, meterStop=FIRST_REGISTER + 700)
    assert one.in_order(start, stop)
    assert at(start) < at(stop) < back

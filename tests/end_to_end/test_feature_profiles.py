"""OCTT's cases of the optional feature profiles, played by the real process (obligations 10)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.end_to_end import charge_point
from tests.end_to_end.charge_point import ID_TAG, ChargePoint, MakeChargePoint
from tests.scripted_csms import CsmsCallError

make_charge_point = charge_point.make_charge_point

RESERVATION_ID = 42


def reserve(one: ChargePoint, connector: int = 1, seconds: float = 3600) -> dict[str, Any]:
    expiry = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    reservation = {"connectorId": connector, "expiryDate": expiry, "idTag": ID_TAG, "reservationId": RESERVATION_ID}
    return one.csms.call("ReserveNow", reservation)


def test_send_local_authorization_list(make_charge_point: MakeChargePoint) -> None:
    """TC_043_CS, TC_008_1_CS: and it outlives the process."""
    one = make_charge_point(configuration_keys={"LocalPreAuthorize": True})
    listed = {"idTag": ID_TAG, "idTagInfo": {"status": "Accepted"}}
    many = [{"idTag": f"{number:020}", "idTagInfo": {"status": "Accepted"}} for number in range(1000)]
    for version, (kind, entries) in enumerate([("Full", [listed]), ("Differential", many)], 1):
        update = {"listVersion": version, "updateType": kind, "localAuthorizationList": entries}
        assert one.csms.call("SendLocalList", update) == {"status": "Accepted"}

    one.kill_and_start()
    one.await_registration()

    assert one.csms.call("GetLocalListVersion", {}) == {"listVersion": 2}
    one.begin()
    assert one.actions("Authorize") == []


@pytest.mark.parametrize("connector", [1, 0], ids=["TC_046_1_CS", "TC_049_CS"])
def test_reservation_is_used(make_charge_point: MakeChargePoint, connector: int) -> None:
    one = make_charge_point()
    assert reserve(one, connector) == {"status": "Accepted"}
    one.await_status("Reserved")
    assert one.present("STRANGER")["action"] == "none"
    assert one.actions("Authorize") == []

    one.charger.plug()
    assert one.present()["action"] == "start"

    one.await_call("StartTransaction", idTag=ID_TAG, reservationId=RESERVATION_ID)
    one.await_status("Charging")
    one.await_topic(f"connector/{connector}/reservation", None)


def test_reservation_outlives_the_process_and_expires(make_charge_point: MakeChargePoint) -> None:
    """TC_047_CS."""
    one = make_charge_point()
    assert reserve(one, seconds=6) == {"status": "Accepted"}
    one.await_status("Reserved")

    one.kill_and_start()

    one.await_registration()
    one.await_status("Reserved")
    one.await_status("Available")
    one.await_topic("connector/1/reservation", None)
    one.begin(id_tag="STRANGER")


def test_trigger_message(make_charge_point: MakeChargePoint) -> None:
    """TC_054_CS: the answer precedes the message."""
    one = make_charge_point()
    one.charger.read_meter()

    for message in (
        "MeterValues",
        "Heartbeat",
        "StatusNotification",
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
    ):
        begin = len(one.csms.frames)
        fields = {"connectorId": 1} if message in ("MeterValues", "StatusNotification") else {}

        answer = one.csms.call("TriggerMessage", {"requestedMessage": message, **fields})

        one.await_call(message, **fields)
        assert answer == {"status": "Accepted"}
        frames = one.csms.frames[begin:]
        kinds = [frame[2] if frame[0] == 2 else frame[0] for frame in frames]
        assert kinds.index(3) < kinds.index(message)


def test_profile_that_is_switched_off(make_charge_point: MakeChargePoint) -> None:
    """TC_043_1_CS."""
    one = make_charge_point(configuration_keys={"SupportedFeatureProfiles": "Core,RemoteTrigger"})

    with pytest.raises(CsmsCallError, match="NotSupported"):
        one.csms.call("SendLocalList", {"listVersion": 1, "updateType": "Full"})
    with pytest.raises(CsmsCallError, match="NotSupported"):
        reserve(one)

    unknown = one.csms.call("GetConfiguration", {"key": ["LocalAuthListEnabled"]})
    assert unknown == {"unknownKey": ["LocalAuthListEnabled"]}
    assert one.works()

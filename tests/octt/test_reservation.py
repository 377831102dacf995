"""OCTT: ReserveNow and CancelReservation. What a case does not use is made Unavailable first."""

from datetime import timedelta

import pytest

from ocpp16_bridge.timestamps import format_time
from tests.octt.central_system import ACCEPTED, CentralSystem
from tests.octt.charger import Charger
from tests.station import START

REJECTED = {"status": "Rejected"}
RESERVATION_ID = 42
PARENT = {"status": "Accepted", "parentIdTag": "GROUP"}


@pytest.fixture(autouse=True)
def only_connector_1(cs: CentralSystem) -> None:
    assert cs.call("ChangeAvailability", connectorId=2, type="Inoperative") == ACCEPTED
    cs.expect("StatusNotification", connectorId=2, status="Unavailable")


def reserve(cs: CentralSystem, connector: int = 1, minutes: float = 60, **fields: str) -> str:
    """The status of the answer."""
    expiry = format_time(START + timedelta(seconds=cs.charger.time, minutes=minutes))
    answer = cs.call(
        "ReserveNow", connectorId=connector, expiryDate=expiry, idTag="TAG", reservationId=RESERVATION_ID, **fields
    )
    return str(answer["status"])


def expect_reserved(cs: CentralSystem, connector: int = 1, minutes: float = 60, **fields: str) -> None:
    """The only usable connector reports it, also for connector 0."""
    assert reserve(cs, connector, minutes, **fields) == "Accepted"
    cs.expect("StatusNotification", connectorId=1, status="Reserved")


def expect_charging(charger: Charger, cs: CentralSystem, id_tag: str = "TAG", **fields: int | None) -> None:
    """The tag is accepted, then the cable is plugged."""
    cs.expect("Authorize", idTag=id_tag)
    cs.expect("StatusNotification", connectorId=1, status="Preparing")
    charger.plug(1)
    cs.expect("StartTransaction", connectorId=1, idTag=id_tag, **fields)
    charger.ready(1)
    cs.expect("StatusNotification", connectorId=1, status="Charging")


def test_tc_046_1_cs_reservation_of_a_connector_local_start(charger: Charger, cs: CentralSystem) -> None:
    """Reservation of a Connector - Local start."""
    expect_reserved(cs)

    charger.present("OTHER")
    cs.expect_nothing()
    charger.present("TAG")

    expect_charging(charger, cs, reservationId=RESERVATION_ID)


def test_tc_046_2_cs_reservation_of_a_connector_remote_start(charger: Charger, cs: CentralSystem) -> None:
    """Reservation of a Connector - Remote start."""
    cs.configure(AuthorizeRemoteTxRequests="true")
    expect_reserved(cs)

    assert cs.call("RemoteStartTransaction", idTag="TAG", connectorId=1) == ACCEPTED

    expect_charging(charger, cs, reservationId=RESERVATION_ID)


def test_tc_047_cs_reservation_of_a_connector_expire(charger: Charger, cs: CentralSystem) -> None:
    """Reservation of a Connector - Expire."""
    expect_reserved(cs, minutes=1)

    charger.advance(60)

    cs.expect("StatusNotification", connectorId=1, status="Available")
    charger.present("OTHER")
    expect_charging(charger, cs, "OTHER", reservationId=None)


def make_faulted(charger: Charger, cs: CentralSystem) -> None:
    charger.fault("GroundFailure")
    cs.expect("StatusNotification", connectorId=1, status="Faulted", errorCode="GroundFailure")


def make_occupied(charger: Charger, cs: CentralSystem) -> None:
    charger.plug(1)
    cs.expect("StatusNotification", connectorId=1, status="Preparing")


def make_unavailable(_charger: Charger, cs: CentralSystem) -> None:
    assert cs.call("ChangeAvailability", connectorId=1, type="Inoperative") == ACCEPTED
    cs.expect("StatusNotification", connectorId=1, status="Unavailable")


def test_tc_048_1_cs_reservation_of_a_connector_faulted(charger: Charger, cs: CentralSystem) -> None:
    """Reservation of a Connector - Faulted."""
    make_faulted(charger, cs)

    assert reserve(cs) == "Faulted"


def test_tc_048_2_cs_reservation_of_a_connector_occupied(charger: Charger, cs: CentralSystem) -> None:
    """Reservation of a Connector - Occupied."""
    make_occupied(charger, cs)

    assert reserve(cs) == "Occupied"


def test_tc_048_3_cs_reservation_of_a_connector_unavailable(charger: Charger, cs: CentralSystem) -> None:
    """Reservation of a Connector - Unavailable."""
    make_unavailable(charger, cs)

    assert reserve(cs) == "Unavailable"


def test_tc_048_4_cs_reservation_of_a_connector_rejected(charger: Charger, cs: CentralSystem) -> None:
    """Reservation of a Connector - Rejected: where reservations are switched off it is a CALLERROR."""
    charger.power_cut(config='[configuration_keys]\nSupportedFeatureProfiles = "Core"\n')
    cs.expect("BootNotification")
    cs.expect_statuses("Available", "Available", "Unavailable")

    charger.on_settled = lambda: None  # the answer is no result, which the CSMS of the other cases does not expect
    expiry = "2026-11-22T18:00:00Z"
    charger.csms_sends("ReserveNow", connectorId=1, expiryDate=expiry, idTag="TAG", reservationId=RESERVATION_ID)

    (answer,) = charger.sent()
    assert (answer[0], answer[2]) == (4, "NotSupported")


def test_tc_049_cs_reservation_of_a_charge_point_transaction(charger: Charger, cs: CentralSystem) -> None:
    """Reservation of a Charge Point - Transaction."""
    expect_reserved(cs, connector=0)

    charger.present("TAG")

    expect_charging(charger, cs, reservationId=RESERVATION_ID)


def test_tc_050_1_cs_reservation_of_a_charge_point_faulted(charger: Charger, cs: CentralSystem) -> None:
    """Reservation of a Charge Point - Faulted."""
    make_faulted(charger, cs)

    assert reserve(cs, connector=0) == "Faulted"


def test_tc_050_2_cs_reservation_of_a_charge_point_occupied(charger: Charger, cs: CentralSystem) -> None:
    """Reservation of a Charge Point - Occupied."""
    make_occupied(charger, cs)

    assert reserve(cs, connector=0) == "Occupied"


def test_tc_050_3_cs_reservation_of_a_charge_point_unavailable(charger: Charger, cs: CentralSystem) -> None:
    """Reservation of a Charge Point - Unavailable."""
    make_unavailable(charger, cs)

    assert reserve(cs, connector=0) == "Unavailable"


def test_tc_050_4_cs_reservation_of_a_charge_point_rejected(charger: Charger, cs: CentralSystem) -> None:
    """Reservation of a Charge Point - Rejected."""
    charger.power_cut(config="[configuration_keys]\nReserveConnectorZeroSupported = false\n")
    cs.expect("BootNotification")
    cs.expect_statuses("Available", "Available", "Unavailable")

    assert reserve(cs, connector=0) == "Rejected"


def test_tc_051_cs_cancel_reservation(charger: Charger, cs: CentralSystem) -> None:
    """Cancel Reservation."""
    expect_reserved(cs)

    assert cs.call("CancelReservation", reservationId=RESERVATION_ID) == ACCEPTED

    cs.expect("StatusNotification", connectorId=1, status="Available")
    charger.present("OTHER")
    expect_charging(charger, cs, "OTHER", reservationId=None)


def test_tc_052_cs_cancel_reservation_rejected(cs: CentralSystem) -> None:
    """Cancel Reservation - Rejected."""
    expect_reserved(cs)

    assert cs.call("CancelReservation", reservationId=RESERVATION_ID + 1) == REJECTED


def test_tc_053_1_cs_use_a_reserved_connector_with_parent_id_tag_local(charger: Charger, cs: CentralSystem) -> None:
    """Use a reserved Connector with parentIdTag - Local."""
    cs.id_tags["MEMBER"] = PARENT
    expect_reserved(cs, parentIdTag="GROUP")

    charger.present("MEMBER")

    expect_charging(charger, cs, "MEMBER", reservationId=RESERVATION_ID)


def test_tc_053_2_cs_use_a_reserved_connector_with_parent_id_tag_remote(charger: Charger, cs: CentralSystem) -> None:
    """Use a reserved Connector with parentIdTag - Remote."""
    cs.configure(AuthorizeRemoteTxRequests="true")
    cs.id_tags["MEMBER"] = PARENT
    expect_reserved(cs, parentIdTag="GROUP")

    assert cs.call("RemoteStartTransaction", idTag="MEMBER", connectorId=1) == ACCEPTED

    expect_charging(charger, cs, "MEMBER", reservationId=RESERVATION_ID)

"""Errors: which ones are present, and which of them the CSMS hears of (contract 4; ST-10 … ST-13)."""

from typing import Any

import pytest
from ocpp.v16.enums import ChargePointErrorCode

from ocpp16_bridge.features.connectors.facts import HardwareError, PresentErrors
from tests.features.connectors.site import EV_PAUSES, FAULT, READY, WARNING, Site
from tests.station import Station

EV_COMMUNICATION = {"error_code": "EVCommunicationError", "faulted": False}
CODES = [code for code in ChargePointErrorCode if code != ChargePointErrorCode.no_error]


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_is_told(station: Station, code: str) -> None:
    site = Site(station)
    site.fresh()

    site.errors({"error_code": code, "faulted": True})

    assert site.told() == [("Faulted", code)]


def test_warning_leaves_the_status(station: Station) -> None:
    """ST-10: charging goes on."""
    site = Site(station)
    site.state(READY)
    site.tag()
    site.fresh()

    site.errors(WARNING)
    assert site.told() == [("Charging", "HighTemperature")]
    assert station.shown("connector/1/charging_permitted") is True

    site.errors()
    assert site.told() == [("Charging", "NoError")]


def test_fault_takes_the_permission_to_charge(station: Station) -> None:
    """Contract 4."""
    site = Site(station)
    site.state(READY)
    site.tag()

    site.errors(FAULT)
    assert station.shown("connector/1/charging_permitted") is False

    site.errors()
    assert station.shown("connector/1/charging_permitted") is True


def test_details_go_along_and_are_cut(station: Station) -> None:
    """ST-13: truncate, never fail; the topic shows all of it."""
    site = Site(station)
    site.fresh()
    details = {"info": "i" * 60, "vendor_id": "v" * 300, "vendor_error_code": "c" * 60}

    site.errors({"error_code": "OtherError", "faulted": False, **details})

    (report,) = site.fresh()
    assert report == {
        "connectorId": 1,
        "errorCode": "OtherError",
        "status": "Available",
        "timestamp": station.now(),
        "info": "i" * 50,
        "vendorId": "v" * 255,
        "vendorErrorCode": "c" * 50,
    }
    assert station.shown("connector/1/status") == {
        "status": "Available",
        "error_code": "OtherError",
        "timestamp": station.now(),
        **details,
    }


def test_errors_that_come_together_are_each_told_and_the_fault_is_shown(station: Station) -> None:
    """Contract 4: all errors present now. The topic shows one, once."""
    site = Site(station)
    site.fresh()
    station.published()

    site.errors(WARNING, FAULT, {"error_code": "WeakSignal", "faulted": False})

    assert site.told() == [("Faulted", "HighTemperature"), ("Faulted", "WeakSignal"), ("Faulted", "GroundFailure")]
    assert [one["error_code"] for one in station.published("connector/1/status")] == ["GroundFailure"]


def test_new_warning_during_a_fault_is_told_and_the_fault_stays_the_last_word(station: Station) -> None:
    site = Site(station)
    site.errors(FAULT)
    site.fresh()
    station.published()

    site.errors(FAULT, WARNING)

    assert site.told() == [("Faulted", "HighTemperature"), ("Faulted", "GroundFailure")]
    assert station.published("connector/1/status") == []


def test_newest_warning_is_the_one_shown(station: Station) -> None:
    site = Site(station)
    site.errors({"error_code": "WeakSignal", "faulted": False})
    site.fresh()

    site.errors(WARNING, {"error_code": "WeakSignal", "faulted": False})

    assert site.told() == [("Available", "HighTemperature")]


def test_clearing_one_of_two_leaves_the_other(station: Station) -> None:
    site = Site(station)
    site.errors(WARNING, FAULT)
    site.fresh()

    site.errors(WARNING)
    assert site.told() == [("Available", "HighTemperature")]

    site.errors()
    assert site.told() == [("Available", "NoError")]


def test_clearing_the_one_that_is_not_shown_is_no_news(station: Station) -> None:
    site = Site(station)
    site.errors(WARNING, FAULT)
    site.fresh()

    site.errors(FAULT)

    assert site.fresh() == []


def test_vendor_error_code_makes_it_another_error(station: Station) -> None:
    """Contract 4: an error is known by `error_code` and `vendor_error_code`."""
    site = Site(station)
    site.errors({"error_code": "OtherError", "faulted": False, "vendor_error_code": "E1"})
    site.fresh()

    site.errors(
        {"error_code": "OtherError", "faulted": False, "vendor_error_code": "E1"},
        {"error_code": "OtherError", "faulted": False, "vendor_error_code": "E2"},
    )

    assert [report["vendorErrorCode"] for report in site.fresh()] == ["E2"]


def test_another_text_of_the_same_error_is_shown_but_not_told(station: Station) -> None:
    """Contract 4: it is the same error, and began when it began."""
    site = Site(station)
    site.errors({**WARNING, "info": "81 °C"})
    site.fresh()
    since = station.now()
    station.advance(60)

    site.errors({**WARNING, "info": "82 °C"})

    assert site.fresh() == []
    shown = station.shown("connector/1/status")
    assert (shown["info"], shown["timestamp"]) == ("82 °C", since)


def test_sources_add_up(station: Station) -> None:
    """Contract 4: the union counts."""
    site = Site(station)
    site.errors(WARNING, source="sensor")
    site.errors(FAULT, source="rcd")
    site.errors({"error_code": "WeakSignal", "faulted": False})
    site.fresh()

    site.errors(source="rcd")
    assert site.told() == [("Available", "WeakSignal")]

    station.publish("hardware/connector/1/errors", b"")
    assert site.told() == [("Available", "HighTemperature")]

    site.errors(source="sensor")
    assert site.told() == [("Available", "NoError")]


def test_sources_that_repeat_themselves_are_no_news(station: Station) -> None:
    """Contract 4: level-triggered. Whoever spoke last has no newer error for it."""
    site = Site(station)
    site.errors(WARNING, source="sensor")
    site.errors({"error_code": "WeakSignal", "faulted": False}, source="modem")
    site.fresh()
    station.published()

    for source, error in [("sensor", WARNING), ("modem", {"error_code": "WeakSignal", "faulted": False})] * 3:
        site.errors(error, source=source)

    assert site.fresh() == []
    assert station.published() == []


def test_error_that_two_sources_see_ends_when_neither_does(station: Station) -> None:
    site = Site(station)
    site.errors(FAULT, source="rcd")
    site.fresh()

    site.errors(FAULT, source="controller")
    assert site.fresh() == []

    site.errors(source="rcd")
    assert site.fresh() == []
    assert site.shown() == "Faulted"

    site.errors(source="controller")
    assert site.told() == [("Available", "NoError")]


@pytest.mark.parametrize("first", ["rcd", "controller"])
def test_same_error_faults_where_one_source_says_so(station: Station, first: str) -> None:
    site = Site(station)
    said = {"rcd": FAULT, "controller": {**FAULT, "faulted": False}}
    second = next(source for source in said if source != first)
    for source in (first, second):
        site.errors(said[source], source=source)
    assert site.shown() == "Faulted"

    site.errors(source="rcd")

    assert site.told()[-1] == ("Available", "GroundFailure")


def test_ev_communication_error_is_told_only_where_an_ev_is_spoken_to(station: Station) -> None:
    """ST-11."""
    site = Site(station)
    site.fresh()

    site.errors(EV_COMMUNICATION)
    assert site.fresh() == []
    site.state(READY)
    assert site.told() == [("Preparing", "EVCommunicationError")]
    site.tag()
    assert site.told() == [("Charging", "NoError")]
    site.state(EV_PAUSES)
    assert site.told() == [("SuspendedEV", "EVCommunicationError")]
    site.tag()
    assert site.told() == [("Finishing", "EVCommunicationError")]
    site.state({})
    assert site.told() == [("Available", "NoError")]


def test_ev_communication_error_while_charging_is_not_told_beside_another(station: Station) -> None:
    """ST-11."""
    site = Site(station)
    site.state(READY)
    site.tag()
    site.fresh()

    site.errors(EV_COMMUNICATION, WARNING)

    assert site.told() == [("Charging", "HighTemperature")]


def test_ev_communication_error_that_faults_is_told_everywhere(station: Station) -> None:
    """ST-11 speaks of warnings."""
    site = Site(station)
    site.fresh()

    site.errors({**EV_COMMUNICATION, "faulted": True})

    assert site.told() == [("Faulted", "EVCommunicationError")]


def test_errors_of_the_charge_point_are_of_connector_0(station: Station) -> None:
    """ST-02; nothing starts at a faulted charge point."""
    site = Site(station)
    site.fresh()

    site.errors(FAULT, connector_id=0)
    assert site.told(0) == [("Faulted", "GroundFailure")]
    assert site.shown(1) == "Available"
    assert station.ask("present_id_tag", id_tag="TAG")["action"] == "none"

    site.errors(WARNING, connector_id=0)
    assert site.told(0) == [("Available", "HighTemperature")]


def test_hundred_errors_are_told_in_their_order(station: Station) -> None:
    site = Site(station)
    site.fresh()
    errors: list[dict[str, Any]] = [
        {"error_code": "OtherError", "faulted": False, "vendor_error_code": f"E{number}"} for number in range(100)
    ]

    site.errors(*errors)
    assert [report["vendorErrorCode"] for report in site.fresh()] == [f"E{number}" for number in range(100)]

    site.errors(*errors, FAULT)  # more than we keep: refused
    assert site.fresh() == []
    assert site.shown() == "Available"


def test_union_keeps_the_order_in_which_errors_came() -> None:
    def error(code: str, *, faulted: bool = False) -> HardwareError:
        return HardwareError(error_code=ChargePointErrorCode(code), faulted=faulted)

    errors = PresentErrors()
    errors.set("a", [error("WeakSignal"), error("HighTemperature")])
    errors.set("b", [error("OverVoltage"), error("WeakSignal", faulted=True)])
    errors.set("a", [error("ReaderFailure"), error("HighTemperature")])

    assert [(one.error_code, one.faulted) for one in errors] == [
        ("WeakSignal", True),
        ("HighTemperature", False),
        ("OverVoltage", False),
        ("ReaderFailure", False),
    ]
    assert errors.are_faulted

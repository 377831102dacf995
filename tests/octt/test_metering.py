"""OCTT: meter values."""

from typing import Any

import pytest

from tests.octt.central_system import CentralSystem
from tests.octt.charger import Charger

REGISTER = "Energy.Active.Import.Register"


def only_meter_value(payload: dict[str, Any]) -> dict[str, Any]:
    (value,) = payload["meterValue"]
    return dict(value)


def contexts(meter_value: dict[str, Any]) -> set[str]:
    return {sampled["context"] for sampled in meter_value["sampledValue"]}


def location_of_each(meter_value: dict[str, Any]) -> dict[str, str]:
    """The location of each measurand, of which there is one value."""
    sampled_values = meter_value["sampledValue"]
    places = {sampled["measurand"]: sampled["location"] for sampled in sampled_values}
    assert len(places) == len(sampled_values)
    return places


@pytest.mark.parametrize(
    ("measurands", "expected"),
    [
        ("", {REGISTER: "Outlet"}),  # MV-15
        (f"{REGISTER},Power.Active.Import,SoC", {REGISTER: "Outlet", "Power.Active.Import": "Outlet", "SoC": "EV"}),
    ],
    ids=["assumed", "configured"],
)
def test_tc_070_cs_sampled_meter_values(
    charger: Charger, cs: CentralSystem, measurands: str, expected: dict[str, str]
) -> None:
    """Sampled Meter Values."""
    cs.configure(MeterValueSampleInterval=10, ClockAlignedDataInterval=0, MeterValuesSampledData=measurands)
    transaction_id = cs.start_charging()

    for second in (10, 20, 30):
        charger.meter(1, 1000 + second, Power_Active_Import=7200, SoC=55)
        charger.advance(10)
        value = only_meter_value(cs.expect("MeterValues", connectorId=1, transactionId=transaction_id))
        assert value["timestamp"] == f"2026-11-22T10:00:{second}Z"
        assert contexts(value) == {"Sample.Periodic"}
        assert location_of_each(value) == expected


def test_tc_071_cs_clock_aligned_meter_values(charger: Charger, cs: CentralSystem) -> None:
    """Clock-aligned Meter Values."""
    cs.configure(MeterValueSampleInterval=0, ClockAlignedDataInterval=60, MeterValuesAlignedData=REGISTER)
    charger.advance(7)
    transaction_id = cs.start_charging()
    charger.advance(46)
    cs.expect_nothing()

    for minute in (1, 2):
        charger.meter(1, 1000 + minute)
        charger.advance(60)
        value = only_meter_value(cs.expect("MeterValues", connectorId=1, transactionId=transaction_id))
        assert value["timestamp"] == f"2026-11-22T10:0{minute}:00Z"
        assert contexts(value) == {"Sample.Clock"}
        assert location_of_each(value) == {REGISTER: "Outlet"}

"""Readings, and the sampled values made of them: obligations 5.5 and its table of measurands."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from ocpp.v16.enums import Measurand, ReadingContext

from ocpp16_bridge.csms import schemas
from ocpp16_bridge.features.metering.readings import (
    MEASURANDS,
    REGISTER,
    MeterReading,
    Reading,
    Readings,
    divided,
    meter_value,
    plain,
)

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def readings(values: dict[str, Any], connector_id: int = 1) -> Readings:
    read = MeterReading.read(dict(values))
    return Readings(connector_id, {key: Reading(phases, NOW, "") for key, phases in read.values.items()})


def sample(values: dict[str, Any], *items: str, counts_from: int = 0, connector_id: int = 1) -> list[dict[str, Any]]:
    return readings(values, connector_id).sample(items, ReadingContext.sample_periodic, counts_from=counts_from)


# -- values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (12345, "12345"),
        (100000, "100000"),
        (0.1, "0.1"),
        (16.1, "16.1"),
        (0.1 + 0.2, "0.3"),
        (1.001 * 1000, "1001"),
        (-7200.5, "-7200.5"),
        (0.000001, "0.000001"),
        (1e-7, "0"),
        (-1e-9, "0"),
        (1e15, "1000000000000000"),
        (1e22, "10000000000000000000000"),
        (123456789012.3, "123456789012.3"),
    ],
    ids=str,
)
def test_value_is_a_plain_decimal(value: float, text: str) -> None:
    """MV-13."""
    assert plain(float(value)) == text


@pytest.mark.parametrize("tenths", range(0, 1000, 7))
def test_tenths_stay_tenths(tenths: int) -> None:
    """MV-13."""
    assert plain(tenths / 10) == f"{tenths // 10}.{tenths % 10}".removesuffix(".0")


# -- measurands


UNITS = {
    "Energy.Active.Import.Register": "Wh",
    "Energy.Active.Export.Register": "Wh",
    "Energy.Reactive.Import.Register": "varh",
    "Energy.Reactive.Export.Register": "varh",
    "Energy.Active.Import.Interval": "Wh",
    "Energy.Active.Export.Interval": "Wh",
    "Energy.Reactive.Import.Interval": "varh",
    "Energy.Reactive.Export.Interval": "varh",
    "Power.Active.Import": "W",
    "Power.Active.Export": "W",
    "Power.Reactive.Import": "var",
    "Power.Reactive.Export": "var",
    "Power.Offered": "W",
    "Power.Factor": None,
    "Current.Import": "A",
    "Current.Export": "A",
    "Current.Offered": "A",
    "Voltage": "V",
    "Frequency": None,
    "Temperature": "Celcius",
    "SoC": "Percent",
    "RPM": None,
}


def test_every_measurand_is_known() -> None:
    assert set(UNITS) == set(MEASURANDS) == set(Measurand)


@pytest.mark.parametrize("measurand", UNITS)
def test_measurand_is_sent_with_all_that_is_known_of_it(measurand: str) -> None:
    """MV-02, MV-14, MV-16, MV-17, MV-18; GD-05, GD-06."""
    (value,) = sample({measurand: 1.5}, measurand)

    unit = UNITS[measurand]
    assert value == {
        "value": "1.5",
        "context": "Sample.Periodic",
        "format": "Raw",
        "measurand": measurand,
        "location": {"SoC": "EV", "Temperature": "Body"}.get(measurand, "Outlet"),
        **({} if unit is None else {"unit": unit}),
    }
    schemas.validate_own_call("MeterValues", {"connectorId": 1, "meterValue": [meter_value(NOW, [value])]})


@pytest.mark.parametrize("measurand", ["Energy.Active.Import.Register", "SoC", "Temperature"])
def test_main_meter_is_at_the_inlet(measurand: str) -> None:
    """MV-07."""
    (value,) = sample({measurand: 1}, measurand, connector_id=0)

    assert value["location"] == "Inlet"


def phases_of(values: list[dict[str, Any]]) -> list[tuple[str | None, str]]:
    return [(value.get("phase"), value["value"]) for value in values]


VOLTAGE = {"Voltage": {"L1-N": 230.1, "L2-N": 230.2, "L1-L2": 400}}


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["Voltage"], [("L1-N", "230.1"), ("L2-N", "230.2"), ("L1-L2", "400")]),
        (["Voltage.L2-N"], [("L2-N", "230.2")]),
        (["Voltage.L2-N", "Voltage.L1-N"], [("L2-N", "230.2"), ("L1-N", "230.1")]),
        (["Voltage", "Voltage.L1-N"], [("L1-N", "230.1"), ("L2-N", "230.2"), ("L1-L2", "400")]),
        (["Voltage.L1-N", "Voltage"], [("L1-N", "230.1"), ("L2-N", "230.2"), ("L1-L2", "400")]),
        (["Voltage.L3-N"], []),
        (["Frequency"], []),
        ([], []),
    ],
    ids=str,
)
def test_all_phases_or_the_one_that_is_asked_for(items: list[str], expected: list[tuple[str, str]]) -> None:
    """MV-07; OCPP 1.6, 9.1.17."""
    assert phases_of(sample(VOLTAGE, *items)) == expected


def test_total_is_sent_without_phase() -> None:
    """Contract 4."""
    values = sample({"Current.Import": {"L1": 16.0, "total": 48.3}}, "Current.Import")

    assert phases_of(values) == [("L1", "16"), (None, "48.3")]


def test_values_keep_the_order_of_the_list() -> None:
    values = sample({"SoC": 5, "Voltage": 230, REGISTER: 1}, REGISTER, "Voltage", "SoC")

    assert [value["measurand"] for value in values] == [REGISTER, "Voltage", "SoC"]


def test_interval_bears_its_start_and_the_rest_the_moment() -> None:
    """MV-05, MV-08."""
    began = datetime(2026, 11, 22, 9, 45, tzinfo=UTC)
    interval, register = "Energy.Active.Import.Interval", REGISTER

    values = divided(NOW, began, sample({register: 100, interval: 7}, register, interval))

    assert [(one["timestamp"], one["sampledValue"][0]["measurand"]) for one in values] == [
        ("2026-11-22T09:45:00Z", interval),
        ("2026-11-22T10:00:00Z", register),
    ]


# -- the register


@pytest.mark.parametrize(
    ("content", "wh"),
    [
        (1000.7, 1000),
        (1001 - 1e-10, 1001),
        ({"total": 1000.7, "L1": 1}, 1000),
        ({"L1": 333.3, "L2": 333.3, "L3": 333.4}, 1000),
        ({"L1": 0.1, "L2": 0.2, "L3": 999.6}, 999),
        (-0.5, -1),
    ],
    ids=str,
)
def test_register_is_whole_watt_hours_rounded_down(content: Any, wh: int) -> None:
    """TX-03; without a total the sum of the phases."""
    assert readings({REGISTER: content}).register() == (wh, NOW)


def test_register_is_unknown_before_a_reading() -> None:
    assert readings({"SoC": 5}).register() is None


@pytest.mark.parametrize("content", [1000.7, {"L1": 300, "L2": 300, "L3": 400.7}], ids=["total", "phases"])
def test_register_that_counts_from_a_reading_is_sent_as_its_total(content: Any) -> None:
    """What share of it each phase has nobody knows; contract 4."""
    assert phases_of(sample({REGISTER: content}, REGISTER, counts_from=1000)) == [(None, "0.7")]
    assert sample({REGISTER: content}, REGISTER + ".L1", counts_from=1000) == []


def test_other_registers_are_sent_as_they_are() -> None:
    export = "Energy.Active.Export.Register"

    assert phases_of(sample({export: 1200}, export, counts_from=1000)) == [(None, "1200")]


# -- a meter's message


def test_message_is_read() -> None:
    """Contract 4."""
    read = MeterReading.read(
        {
            "timestamp": "2026-11-22T11:00:00.25+01:00",
            REGISTER: 12345,
            "Current.Import": {"L1": 16.0, "total": 16},
            "signed": {"value": "OCMF|…", "context": "Transaction.Begin", "encoding": "more"},
        }
    )

    assert read.moment == datetime(2026, 11, 22, 10, 0, 0, 250000, tzinfo=UTC)
    assert read.values == {REGISTER: {None: 12345.0}, "Current.Import": {"L1": 16.0, None: 16.0}}
    assert read.signed is not None
    assert (read.signed.value, read.signed.context) == ("OCMF|…", ReadingContext.transaction_begin)


@pytest.mark.parametrize(
    "message",
    [
        None,
        5,
        "Voltage",
        [],
        [{"SoC": 5}],
        {},
        {"timestamp": "2026-11-22T10:00:00Z"},
        {"Voltag": 230},
        {"": 230},
        {"Voltage.L1-N": 230},
        {"x" * 100_000: 230},
        {"Voltage": None},
        {"Voltage": "230"},
        {"Voltage": True},
        {"Voltage": [230]},
        {"Voltage": {}},
        {"Voltage": {"L4": 230}},
        {"Voltage": {"": 230}},
        {"Voltage": {"L1": "230"}},
        {"Voltage": {"L1": False}},
        {"Voltage": {"L1": {"L1": 230}}},
        {"Voltage": float("nan")},
        {"Voltage": float("inf")},
        {"Voltage": -float("inf")},
        {"Voltage": 10**400},
        {"Voltage": 1.1e15},
        {"Voltage": 230, "Volts": 1},
        {"timestamp": 5, "SoC": 5},
        {"timestamp": "yesterday", "SoC": 5},
        {"timestamp": "", "SoC": 5},
        {"timestamp": {}, "SoC": 5},
        {"signed": "OCMF"},
        {"signed": {}},
        {"signed": {"value": ""}},
        {"signed": {"value": 5}},
        {"signed": {"value": "x", "context": "Begin"}},
        {"signed": {"value": "x", "context": []}},
        {"signed": []},
    ],
    ids=lambda message: json.dumps(message)[:40],
)
def test_nonsense_is_refused_as_a_whole(message: Any) -> None:
    """Contract 4."""
    with pytest.raises(ValueError, match=r"^.{5,120}$"):
        MeterReading.read(message)

"""Sampled meter values: MV-01 … MV-21; OCTT TC_070."""

import logging
import sqlite3
from typing import Any

import pytest

from tests.conftest import MakeStation
from tests.features.metering.site import (
    CHARGING,
    REGISTER,
    Commits,
    change,
    collected,
    config,
    meter,
    moments,
    plug,
    ready,
    sampled,
    sent_values,
    unplug,
)
from tests.station import Station

THREE = {"L1": 16.0, "L2": 16.1, "L3": 15.9}


def charging(station: Station, **others: Any) -> None:
    """The meter is at 1000 Wh."""
    ready(station)
    meter(station, 1000, **others)
    plug(station)
    collected(station)
    station.disconnect()


def values(station: Station, seconds: float) -> list[tuple[str, str | None, str]]:
    """Measurand, phase and value of what is sent within so many s."""
    station.advance(seconds)
    return [(one["measurand"], one.get("phase"), one["value"]) for one in sampled(sent_values(station))]


# -- when


def test_values_are_sampled_at_each_interval_from_the_start(make_station: MakeStation) -> None:
    """MV-01, MV-02, MV-06; TC_070_CS."""
    station = make_station(config(MeterValueSampleInterval=30))
    station.advance(7)
    charging(station)

    station.advance(95)

    payloads = sent_values(station)
    assert moments(payloads) == ["10:00:37", "10:01:07", "10:01:37"]
    assert payloads[0] == {
        "connectorId": 1,
        "transactionId": 7,
        "meterValue": [
            {
                "timestamp": "2026-11-22T10:00:37Z",
                "sampledValue": [
                    {
                        "value": "1000",
                        "context": "Sample.Periodic",
                        "format": "Raw",
                        "measurand": REGISTER,
                        "location": "Outlet",
                        "unit": "Wh",
                    }
                ],
            }
        ],
    }


def test_lateness_does_not_add_up(make_station: MakeStation) -> None:
    """MV-02."""
    station = make_station(config(MeterValueSampleInterval=30))
    charging(station)

    station.time += 37  # the machine slept
    station.charge_point.timers.run_due()
    station.settle()
    station.advance(60)

    assert moments(sent_values(station)) == ["10:00:37", "10:01:00", "10:01:30"]


def test_missed_samples_are_left_out(make_station: MakeStation) -> None:
    station = make_station(config(MeterValueSampleInterval=30))
    charging(station)

    station.time += 100
    station.charge_point.timers.run_due()
    station.settle()
    station.advance(25)

    assert moments(sent_values(station)) == ["10:01:40", "10:02:00"]


@pytest.mark.parametrize("step", [3600, 1, -1, -3600, -45])
def test_clock_step_neither_skips_nor_doubles(make_station: MakeStation, step: float) -> None:
    """MV-02: by the machine's own count of seconds."""
    station = make_station(config(MeterValueSampleInterval=30))
    charging(station)
    station.advance(40)

    station.clock_error = step
    station.advance(50)

    assert len(sent_values(station)) == 3


def test_new_interval_takes_effect_at_once(make_station: MakeStation) -> None:
    """MV-21; TC_021_CS."""
    station = make_station(config(MeterValueSampleInterval=60))
    charging(station)
    station.advance(50)

    change(station, "MeterValueSampleInterval", 20)
    station.disconnect()
    station.advance(45)

    assert moments(sent_values(station)) == ["10:01:10", "10:01:30"]


def test_same_interval_again_delays_nothing(make_station: MakeStation) -> None:
    station = make_station(config(MeterValueSampleInterval=60))
    charging(station)
    station.advance(50)

    change(station, "MeterValueSampleInterval", 60)
    station.advance(15)

    assert moments(sent_values(station)) == ["10:01:00"]


def test_interval_0_is_off_and_can_be_switched_on(make_station: MakeStation) -> None:
    """MV-02."""
    station = make_station(config(MeterValueSampleInterval=0))
    charging(station)
    assert values(station, 1000) == []

    change(station, "MeterValueSampleInterval", 10)

    assert len(values(station, 10)) == 1
    change(station, "MeterValueSampleInterval", 0)
    assert values(station, 1000) == []


@pytest.mark.parametrize("state", [{"plugged": True}, {"plugged": True, "evse_ready": True}, CHARGING])
def test_suspended_transaction_is_sampled(make_station: MakeStation, state: dict[str, bool]) -> None:
    """MV-02."""
    station = make_station(config())
    charging(station)

    station.publish("hardware/connector/1/state", state)

    assert len(values(station, 60)) == 1


def test_nothing_is_sampled_without_a_transaction(make_station: MakeStation) -> None:
    station = make_station(config())
    ready(station)
    meter(station, 1000)

    assert values(station, 1000) == []


def test_nothing_follows_stop_transaction(make_station: MakeStation) -> None:
    """MV-20."""
    station = make_station(config())
    charging(station)
    station.advance(59)

    unplug(station)
    station.advance(600)

    actions = [frame[2] for frame in collected(station)]
    assert [action for action in actions if action in ("MeterValues", "StopTransaction")][-1] == "StopTransaction"


def test_samples_of_all_connectors_are_one_commit(make_station: MakeStation) -> None:
    """Their own distance stays the interval."""
    station = make_station(config(3, MeterValueSampleInterval=10))
    ready(station, connectors=3)
    for connector in (1, 2, 3):
        meter(station, 1000, connector)
        plug(station, connector)
        station.advance(0.3)
    collected(station)
    station.disconnect()
    station.advance(8)
    commits = Commits(station)

    station.advance(10)

    assert commits.count == 1
    assert moments(sent_values(station)) == ["10:00:10"] * 3


def test_failing_disk_does_not_end_the_sampling(make_station: MakeStation) -> None:
    station = make_station(config(ClockAlignedDataInterval=60))
    charging(station)
    database: sqlite3.Connection = station.store._database
    database.execute("PRAGMA query_only = ON")
    station.advance(130)
    database.execute("PRAGMA query_only = OFF")

    station.advance(60)

    assert moments(sent_values(station)) == ["10:03:00", "10:03:00"]


# -- what


def test_list_with_phases(make_station: MakeStation) -> None:
    """MV-07; one MeterValues for each connector."""
    items = ["Voltage.L1-N", "Current.Import", "SoC"]
    station = make_station(config(MeterValuesSampledData=items))
    charging(station, Voltage={"L1-N": 230.1, "L2-N": 230.2}, SoC=55, Frequency=50, **{"Current.Import": THREE})

    station.advance(60)

    (payload,) = sent_values(station)
    assert [(one["measurand"], one.get("phase"), one["value"]) for one in sampled([payload])] == [
        ("Voltage", "L1-N", "230.1"),
        ("Current.Import", "L1", "16"),
        ("Current.Import", "L2", "16.1"),
        ("Current.Import", "L3", "15.9"),
        ("SoC", None, "55"),
    ]


def test_empty_list_means_the_import_register(make_station: MakeStation) -> None:
    """MV-15; TC_070_CS."""
    station = make_station(config(MeterValuesSampledData=["SoC"]))
    charging(station, SoC=55)

    change(station, "MeterValuesSampledData", "")

    assert values(station, 60) == [(REGISTER, None, "1000")]


def test_new_list_takes_effect_with_the_next_sample(make_station: MakeStation) -> None:
    """MV-21."""
    station = make_station(config())
    charging(station, SoC=55)

    change(station, "MeterValuesSampledData", f"SoC,{REGISTER}")

    assert values(station, 60) == [("SoC", None, "55"), (REGISTER, None, "1000")]


@pytest.mark.parametrize("value", ["Energy", "Voltage.L9", "SoC,", "SoC,SoC", "kWh", "Voltage.L1-N.L1-N"])
def test_list_with_an_unknown_item_is_refused(make_station: MakeStation, value: str) -> None:
    """OCPP 1.6, 3.16.4."""
    station = make_station(config())
    ready(station)

    for key in ("MeterValuesSampledData", "MeterValuesAlignedData", "StopTxnSampledData", "StopTxnAlignedData"):
        answer = station.csms_calls("ChangeConfiguration", key=key, value=value)
        assert answer == {"status": "Rejected"}


def test_nothing_measured_is_no_message(make_station: MakeStation) -> None:
    """GD-06: an empty meterValue is none."""
    station = make_station(config(MeterValuesSampledData=["SoC"]))
    charging(station)

    assert values(station, 120) == []


def test_two_programs_each_say_what_they_know(make_station: MakeStation) -> None:
    """Contract 4: each measurand keeps its last value."""
    station = make_station(config(MeterValuesSampledData=[REGISTER, "SoC"]))
    charging(station)
    station.publish("hardware/connector/1/meter", {"SoC": 40})
    station.publish("hardware/connector/1/meter/iso15118", {"SoC": 41})
    meter(station, 1200)

    assert values(station, 60) == [(REGISTER, None, "1200"), ("SoC", None, "41")]


def test_phases_that_are_gone_are_not_repeated(make_station: MakeStation) -> None:
    """An EV that goes on with one phase: a measurand's last message is all of it."""
    station = make_station(config(MeterValuesSampledData=["Current.Import"]))
    charging(station, **{"Current.Import": THREE})

    station.publish("hardware/connector/1/meter", {"Current.Import": {"L1": 8}})

    assert values(station, 60) == [("Current.Import", "L1", "8")]


def test_readings_of_a_program_that_is_gone_are_dropped(make_station: MakeStation) -> None:
    """Contract 4."""
    station = make_station(config(MeterValuesSampledData=[REGISTER, "SoC"]))
    charging(station)
    station.publish("hardware/connector/1/meter/iso15118", {"SoC": 41, "signed": {"value": "OCMF"}})

    station.publish("hardware/state/iso15118", "offline")

    assert values(station, 60) == [(REGISTER, None, "1000")]


def test_interval_measurand_bears_the_start_of_its_interval(make_station: MakeStation) -> None:
    """MV-05: a message has both."""
    interval = "Energy.Active.Import.Interval"
    station = make_station(config(MeterValuesSampledData=[REGISTER, interval]))
    charging(station, **{interval: 12})

    station.advance(120)

    payloads = sent_values(station)
    assert moments(payloads) == ["10:00:00", "10:01:00", "10:01:00", "10:02:00"]
    assert [one["measurand"] for one in sampled(payloads)] == [interval, REGISTER] * 2


# -- which transaction


def test_values_taken_before_the_start_is_answered_bear_the_id(make_station: MakeStation) -> None:
    """MV-06, TX-28; each after its StartTransaction, none mixed."""
    station = make_station(config(2))
    ready(station, connectors=2)
    station.disconnect()
    for connector in (1, 2):
        meter(station, connector * 1000, connector)
        plug(station, connector)
    station.advance(60)
    unplug(station)
    meter(station, 1500)
    plug(station)
    station.advance(60)

    station.connect()

    frames = [frame for frame in collected(station) if frame[2] in ("StartTransaction", "MeterValues")]
    assert [(frame[2], frame[3]["connectorId"], frame[3].get("transactionId")) for frame in frames] == [
        ("StartTransaction", 1, None),
        ("StartTransaction", 2, None),
        ("MeterValues", 1, 7),
        ("MeterValues", 2, 8),
        ("StartTransaction", 1, None),
        ("MeterValues", 2, 8),
        ("MeterValues", 1, 9),
    ]


def test_queued_values_come_in_order_before_new_ones(make_station: MakeStation) -> None:
    """TX-32; TC_036_CS."""
    station = make_station(config())
    charging(station)
    station.advance(180)
    station.connect()

    assert moments(sent_values(station)) == ["10:01:00", "10:02:00", "10:03:00"]
    station.advance(60)
    assert moments(sent_values(station)) == ["10:04:00"]


def test_sampling_goes_on_after_a_restart(make_station: MakeStation) -> None:
    """TX-43."""
    station = make_station(config())
    charging(station)
    station.advance(40)
    station.kill()
    station.connect_broker()
    meter(station, 1100)

    plug(station)
    station.register()
    station.advance(60)

    (payload,) = sent_values(station)
    assert (payload["transactionId"], sampled([payload])[0]["value"]) == (7, "1100")


# -- registers never fall


def test_register_that_falls_is_ignored_with_one_warning(
    make_station: MakeStation, caplog: pytest.LogCaptureFixture
) -> None:
    """TX-04; contract 4: the rest of the message holds."""
    station = make_station(config(MeterValuesSampledData=[REGISTER, "SoC"]))
    charging(station)
    with caplog.at_level(logging.WARNING):
        for register in (5, 6, 7):
            meter(station, register, SoC=50)

    assert caplog.text.count("fell during a transaction") == 1
    assert values(station, 60) == [(REGISTER, None, "1000"), ("SoC", None, "50")]
    meter(station, 1000.5)
    assert values(station, 60) == [(REGISTER, None, "1000.5"), ("SoC", None, "50")]


def test_register_that_falls_is_ignored_though_its_program_was_away(make_station: MakeStation) -> None:
    """TX-04."""
    station = make_station(config())
    ready(station)
    station.publish("hardware/connector/1/meter/m", {REGISTER: 1000})
    plug(station)
    collected(station)
    station.publish("hardware/connector/1/meter/m", {REGISTER: 1500})
    station.publish("hardware/state/m", "offline")
    station.publish("hardware/state/m", "online")

    station.publish("hardware/connector/1/meter/m", {REGISTER: 3})

    assert values(station, 60) == []
    unplug(station)
    (stop,) = [frame[3] for frame in collected(station) if frame[2] == "StopTransaction"]
    assert stop["meterStop"] == 1500


def test_register_may_fall_between_transactions(make_station: MakeStation) -> None:
    """A new meter."""
    station = make_station(config())
    ready(station)
    meter(station, 1000)
    meter(station, 5)
    plug(station)
    collected(station)

    assert values(station, 60) == [(REGISTER, None, "5")]


def test_power_may_fall(make_station: MakeStation) -> None:
    station = make_station(config(MeterValuesSampledData=["Power.Active.Import"]))
    charging(station, **{"Power.Active.Import": 7200})
    meter(station, 1000, **{"Power.Active.Import": 0})

    assert values(station, 60) == [("Power.Active.Import", None, "0")]


# -- signed values


def signed_values(payloads: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["value"], one["context"]) for one in sampled(payloads) if one["format"] == "SignedData"]


def test_signed_value_is_passed_through(make_station: MakeStation) -> None:
    """MV-19: without a context of its own the latest goes with each sample."""
    station = make_station(config())
    charging(station)
    meter(station, 1000, signed={"value": "OCMF|1"})
    meter(station, 1001, signed={"value": "OCMF|2"})
    station.advance(120)

    payloads = sent_values(station)

    assert signed_values(payloads) == [("OCMF|2", "Sample.Periodic")] * 2
    assert sampled(payloads)[1] == {
        "value": "OCMF|2",
        "context": "Sample.Periodic",
        "format": "SignedData",
        "measurand": REGISTER,
    }


def test_signed_value_with_a_context_is_said_once(make_station: MakeStation) -> None:
    """Others that follow don't push it out."""
    station = make_station(config())
    charging(station)
    meter(station, 1000, signed={"value": "BEGIN", "context": "Transaction.Begin"})
    meter(station, 1001, signed={"value": "LATER"})
    station.advance(120)

    assert signed_values(sent_values(station)) == [
        ("BEGIN", "Transaction.Begin"),
        ("LATER", "Sample.Periodic"),
        ("LATER", "Sample.Periodic"),
    ]


def test_signed_value_belongs_to_the_register(make_station: MakeStation) -> None:
    station = make_station(config(MeterValuesSampledData=["SoC"]))
    charging(station, SoC=5, signed={"value": "OCMF"})
    station.advance(60)

    assert signed_values(sent_values(station)) == []


def test_signed_end_of_a_former_transaction_is_not_in_the_next(make_station: MakeStation) -> None:
    station = make_station(config())
    charging(station)
    unplug(station)
    meter(station, 1001, signed={"value": "END", "context": "Transaction.End"})
    plug(station)
    station.advance(60)

    assert signed_values(sent_values(station)) == []


# -- asked for


def test_latest_values_have_the_context_trigger(make_station: MakeStation) -> None:
    """MV-12."""
    station = make_station(config(MeterValuesSampledData=[REGISTER, "SoC"]))
    metering = station.charge_point.features[
        [type(f).__name__ for f in station.charge_point.features].index("Metering")
    ]
    connector = metering._connectors[1]  # type: ignore[attr-defined] # only TriggerMessage will ask
    assert metering.meter_values(connector) is None  # type: ignore[attr-defined] # see above
    meter(station, 1000, SoC=5)

    asked = metering.meter_values(connector)  # type: ignore[attr-defined] # see above

    assert [(one["measurand"], one["context"]) for one in asked.meter_value[0]["sampledValue"]] == [
        (REGISTER, "Trigger"),
        ("SoC", "Trigger"),
    ]

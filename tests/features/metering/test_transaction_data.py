"""StopTransaction.transactionData: MV-09, MV-10, MV-11, MV-19."""

from typing import Any

import pytest

from tests.conftest import MakeStation
from tests.features.metering.site import (
    REGISTER,
    change,
    collected,
    config,
    meter,
    plug,
    ready,
    stopped,
    unplug,
)
from tests.station import Station

BOTH: dict[str, Any] = {
    "StopTxnSampledData": [REGISTER],
    "StopTxnAlignedData": [REGISTER],
    "ClockAlignedDataInterval": 900,
}


def charging(station: Station, **others: Any) -> None:
    ready(station)
    meter(station, 1000, **others)
    plug(station)
    collected(station)
    station.disconnect()


def kept(payload: dict[str, Any]) -> list[tuple[str, str]]:
    """Time of day and context of each MeterValue."""
    return [
        (value["timestamp"][11:-1], value["sampledValue"][0]["context"]) for value in payload.get("transactionData", [])
    ]


def test_nothing_configured_is_no_data(make_station: MakeStation) -> None:
    """MV-09, GD-06."""
    station = make_station(config())
    charging(station)
    station.advance(300)
    unplug(station)

    assert "transactionData" not in stopped(station)


def test_samples_lie_between_begin_and_end(make_station: MakeStation) -> None:
    """MV-09, MV-10."""
    station = make_station(config(StopTxnSampledData=[REGISTER, "SoC"]))
    charging(station, SoC=40)
    station.advance(130)
    meter(station, 1500, SoC=45)
    unplug(station)

    payload = stopped(station)

    assert kept(payload) == [
        ("10:00:00", "Transaction.Begin"),
        ("10:01:00", "Sample.Periodic"),
        ("10:02:00", "Sample.Periodic"),
        ("10:02:10", "Transaction.End"),
    ]
    assert payload["transactionData"][-1]["sampledValue"] == [
        {
            "value": "1500",
            "context": "Transaction.End",
            "format": "Raw",
            "measurand": REGISTER,
            "location": "Outlet",
            "unit": "Wh",
        },
        {
            "value": "45",
            "context": "Transaction.End",
            "format": "Raw",
            "measurand": "SoC",
            "location": "EV",
            "unit": "Percent",
        },
    ]


@pytest.mark.parametrize("key", ["StopTxnSampledData", "StopTxnAlignedData"])
def test_begin_and_end_are_there_without_any_interval(make_station: MakeStation, key: str) -> None:
    """MV-10."""
    keys: dict[str, Any] = {"MeterValueSampleInterval": 0, key: [REGISTER]}
    station = make_station(config(**keys))
    charging(station)
    station.advance(1000)
    unplug(station)

    assert [context for _, context in kept(stopped(station))] == ["Transaction.Begin", "Transaction.End"]


def test_aligned_values_are_kept_too(make_station: MakeStation) -> None:
    """MV-09."""
    station = make_station(config(MeterValueSampleInterval=0, **BOTH))
    charging(station)
    station.advance(1000)
    unplug(station)

    assert kept(stopped(station)) == [
        ("10:00:00", "Transaction.Begin"),
        ("10:15:00", "Sample.Clock"),
        ("10:16:42", "Transaction.End"),
    ]


def test_data_outlives_the_process(make_station: MakeStation) -> None:
    """Persisted; begin first, end last."""
    station = make_station(config(StopTxnSampledData=[REGISTER]))
    charging(station)
    station.advance(60)
    station.kill()
    station.connect_broker()
    meter(station, 1100)
    plug(station)
    station.register()
    station.advance(65)
    unplug(station)

    contexts = [context for _, context in kept(stopped(station))]

    assert contexts == ["Transaction.Begin", "Sample.Periodic", "Sample.Periodic", "Transaction.End"]


def test_data_of_a_lost_transaction_is_not_lost(make_station: MakeStation) -> None:
    """TX-42."""
    station = make_station(config(StopTxnSampledData=[REGISTER]))
    charging(station)
    station.advance(60)
    station.boot_id = "boot-2"
    station.kill()
    station.connect_broker()
    station.publish("hardware/connector/1/state", {})
    station.connect()
    (boot,) = station.sent("BootNotification")
    station.csms_answers(boot, currentTime=station.now(), interval=300, status="Accepted")

    payload = stopped(station)

    assert payload["reason"] == "PowerLoss"
    assert [context for _, context in kept(payload)][:2] == ["Transaction.Begin", "Sample.Periodic"]


def test_data_of_one_transaction_is_not_in_the_next(make_station: MakeStation) -> None:
    """MV-06."""
    station = make_station(config(StopTxnSampledData=[REGISTER]))
    charging(station)
    station.advance(70)
    unplug(station)
    stopped(station)
    plug(station)
    unplug(station)

    assert [context for _, context in kept(stopped(station))] == ["Transaction.Begin", "Transaction.End"]
    assert station.store.read("SELECT * FROM queued WHERE queue LIKE 'transaction_data%'", ()) == []


# -- too many


@pytest.mark.parametrize("maximum", [2, 3, 4, 5, 10, 20])
@pytest.mark.parametrize("samples", [1, 9, 10, 100])
def test_data_is_bounded_and_keeps_begin_and_end(make_station: MakeStation, maximum: int, samples: int) -> None:
    """MV-10, MV-11."""
    station = make_station(config(StopTxnSampledData=[REGISTER], StopTransactionMaxMeterValues=maximum))
    charging(station)
    station.advance(60 * samples + 1)
    unplug(station)

    contexts = [context for _, context in kept(stopped(station))]

    assert min(samples + 2, maximum // 2) <= len(contexts) <= maximum
    assert (contexts[0], contexts[-1]) == ("Transaction.Begin", "Transaction.End")
    assert set(contexts[1:-1]) <= {"Sample.Periodic"}


def test_middle_is_thinned_evenly(make_station: MakeStation) -> None:
    """MV-11: neither the newest nor the oldest run is missing."""
    station = make_station(config(StopTxnSampledData=[REGISTER], StopTransactionMaxMeterValues=10))
    charging(station)
    station.advance(60 * 30 + 1)
    unplug(station)

    times = [time for time, context in kept(stopped(station)) if context == "Sample.Periodic"]

    assert times == ["10:04:00", "10:08:00", "10:12:00", "10:16:00", "10:20:00", "10:24:00", "10:28:00"]


def test_each_kind_is_thinned_by_itself(make_station: MakeStation) -> None:
    """MV-11: of two that alternate none is dropped altogether."""
    keys: dict[str, Any] = {**BOTH, "ClockAlignedDataInterval": 60, "StopTransactionMaxMeterValues": 20}
    station = make_station(config(**keys))
    station.advance(30)
    charging(station)
    station.advance(60 * 50)
    unplug(station)

    payload = stopped(station)

    contexts = [context for _, context in kept(payload)]
    assert len(contexts) <= 20
    assert abs(contexts.count("Sample.Periodic") - contexts.count("Sample.Clock")) <= 1


def test_values_of_the_interval_count(make_station: MakeStation) -> None:
    """MV-05, MV-11: a sample of both is two MeterValues."""
    interval = "Energy.Active.Import.Interval"
    station = make_station(config(StopTxnSampledData=[REGISTER, interval], StopTransactionMaxMeterValues=10))
    charging(station, **{interval: 5})
    station.advance(60 * 30 + 1)
    unplug(station)

    payload = stopped(station)

    assert 6 <= len(payload["transactionData"]) <= 10
    measurands = [value["sampledValue"][0]["measurand"] for value in payload["transactionData"]]
    assert measurands.count(interval) == measurands.count(REGISTER)


# -- signed


def test_signed_begin_and_end_are_never_dropped(make_station: MakeStation) -> None:
    """MV-10, MV-19."""
    station = make_station(config(StopTxnSampledData=[REGISTER], StopTransactionMaxMeterValues=5))
    charging(station)
    meter(station, 1000, signed={"value": "BEGIN", "context": "Transaction.Begin"})
    station.advance(60 * 30)
    station.publish("hardware/connector/1/state", {})
    meter(station, 1500, signed={"value": "END", "context": "Transaction.End"})

    data = stopped(station)["transactionData"]

    signed = [one for value in data for one in value["sampledValue"] if one["format"] == "SignedData"]
    assert [(one["value"], one["context"]) for one in signed] == [
        ("BEGIN", "Transaction.Begin"),
        ("END", "Transaction.End"),
    ]
    assert len(data) <= 5


# -- without a reading at the start


def test_begin_is_taken_with_the_first_reading(make_station: MakeStation) -> None:
    """Contract 4: the registers of this transaction count from it."""
    station = make_station(config(StopTxnSampledData=[REGISTER]))
    ready(station)
    station.publish("hardware/connector/1/meter", {"SoC": 40})
    plug(station)
    collected(station)
    station.advance(5)
    meter(station, 1000.7)
    station.advance(60)
    meter(station, 1300.7)
    unplug(station)

    payload = stopped(station)

    assert payload["meterStop"] == 300
    values = [value["sampledValue"][0] for value in payload["transactionData"]]
    assert [(one["context"], one["value"]) for one in values] == [
        ("Transaction.Begin", "0.7"),
        ("Sample.Periodic", "0.7"),
        ("Transaction.End", "300.7"),
    ]


def test_list_that_is_set_during_a_transaction_has_no_false_begin(make_station: MakeStation) -> None:
    station = make_station(config())
    charging(station)
    change(station, "StopTxnSampledData", REGISTER)
    meter(station, 1200)
    station.advance(60)
    unplug(station)

    assert [context for _, context in kept(stopped(station))] == ["Sample.Periodic", "Transaction.End"]

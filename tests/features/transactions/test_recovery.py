"""A restart in the middle: obligations 5.4, contract 4."""

from typing import Any

import pytest

from tests.features.transactions.conftest import MakeSite
from tests.features.transactions.site import Site
from tests.features.transactions.test_course import LOCK, begin, permitted, status, stop


def open_transaction(make_site: MakeSite, config: str = "") -> Site:
    """One that charges; its last persisted reading is 1100 Wh of 10:00:00, its last one 1150 Wh."""
    site = make_site(config)
    site.unplug()
    site.meter(1000)
    site.connect()
    begin(site)
    site.meter(1100)
    site.advance(60)
    site.connect()
    site.meter(1150)
    site.advance(20)
    return site


@pytest.mark.parametrize(
    ("on_power_loss", "reboot", "plugged", "key", "goes_on"),
    [
        pytest.param("stop", False, True, "true", True, id="daemon restarted"),
        pytest.param("resume", False, True, "true", True, id="daemon restarted, resume"),
        pytest.param("stop", True, True, "true", False, id="machine booted"),
        pytest.param("resume", True, True, "true", True, id="machine booted, resume"),
        pytest.param("stop", False, False, "true", False, id="EV gone"),
        pytest.param("resume", True, False, "true", False, id="machine booted, resume, EV gone"),
        pytest.param("stop", False, False, "false", True, id="EV gone, which ends nothing"),
        pytest.param("resume", True, False, "false", False, id="machine booted, EV gone, which ended nothing"),
    ],
)
def test_whether_an_open_transaction_goes_on(
    make_site: MakeSite,
    on_power_loss: str,
    plugged: bool,
    key: str,
    *,
    reboot: bool,
    goes_on: bool,
) -> None:
    """TX-41, TX-43, TX-46; TC_032_CS."""
    site = open_transaction(make_site, f'[transactions]\non_power_loss = "{on_power_loss}"\n')
    site.change("StopTransactionOnEVSideDisconnect", key)
    site.states[1] = {"plugged": plugged, "ev_ready": plugged, "evse_ready": plugged}

    site.kill(reboot=reboot)
    site.connect()

    stops = site.books.of("StopTransaction")
    if goes_on:
        assert stops == []
        assert status(site) == ("Charging" if plugged else "SuspendedEV")
        assert permitted(site) is True
        assert site.transaction()["transaction_id"] == 100
    else:
        assert [(m["reason"], m["transactionId"], m["meterStop"]) for m in stops] == [("PowerLoss", 100, 1100)]
        assert stops[0]["timestamp"] == "2026-11-22T10:00:00Z"  # never now (TX-42)
        assert status(site) == ("Finishing" if plugged else "Available")
        assert permitted(site) is False
        assert site.transaction() is None


def test_boot_and_statuses_precede_the_stop(make_site: MakeSite) -> None:
    """TX-40; TC_032_2_CS."""
    site = open_transaction(make_site)
    site.kill(reboot=True)
    site.calls.clear()

    site.connect()

    calls = [frame for frame in site.calls if frame[2] != "SecurityEventNotification"]
    assert [frame[2] for frame in calls] == [
        "BootNotification",
        "StatusNotification",
        "StatusNotification",
        "StopTransaction",
    ]
    assert [frame[3]["status"] for frame in calls[1:3]] == ["Available", "Finishing"]


def test_a_resumed_transaction_goes_on_counting_and_sampling(make_site: MakeSite) -> None:
    """TX-43."""
    site = open_transaction(make_site)
    session_id = site.transaction()["session_id"]
    site.kill()
    site.connect()
    assert site.transaction()["session_id"] == session_id
    site.meter(1300)
    site.advance(60)
    site.connect()
    site.tag()

    message = stop(site, meterStop=1300, reason="Local")

    assert {frame["transactionId"] for frame in site.books.of("MeterValues")} == {100}
    contexts = [value["sampledValue"][0]["context"] for value in message["transactionData"]]
    assert contexts == ["Transaction.Begin", "Sample.Periodic", "Sample.Periodic", "Transaction.End"]


def test_a_resumed_transaction_still_counts_from_its_first_reading(make_site: MakeSite) -> None:
    """Contract 4: without a reading at its start."""
    site = make_site()
    site.connect()
    begin(site)
    site.meter(5000)
    site.advance(1)
    site.kill()
    site.connect()
    site.meter(5200)
    site.tag()

    stop(site, meterStop=200)


def test_the_first_reading_may_come_while_nothing_is_decided(make_site: MakeSite) -> None:
    site = make_site()
    site.connect()
    begin(site)
    states, site.states = site.states, {}
    site.kill()
    site.connect()
    site.meter(5000)

    site.states = states
    site.plug()
    site.meter(5300)
    site.tag()

    stop(site, meterStop=300)


# -- undecided


def undecided(make_site: MakeSite, config: str = "") -> Site:
    """After a restart the hardware says nothing."""
    site = open_transaction(make_site, config)
    site.states.clear()
    site.registers.clear()
    site.kill()
    return site


def test_without_a_state_the_transaction_stays_open_with_a_warning(
    make_site: MakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    """Contract 4; what the hardware may do stays as it was."""
    site = undecided(make_site)
    assert permitted(site) is True
    site.advance(9)
    assert "a transaction is open" not in caplog.text

    site.advance(2)
    site.connect()
    site.advance(200)
    site.connect()

    assert caplog.text.count("a transaction is open") == 1
    assert "hardware/connector/1/state" in caplog.text
    assert site.books.of("StopTransaction") == []
    assert len(site.books.of("MeterValues")) == 1, "nothing is sampled"
    assert site.transaction()["energy_wh"] == 100
    site.states[1] = {"plugged": False}
    site._say(1)
    site.connect()
    assert site.books.of("StopTransaction")[0]["reason"] == "PowerLoss"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        pytest.param(lambda site: site.tag(), "Local", id="own tag"),
        pytest.param(lambda site: site.station.request("stop_transaction", connector_id=1), "Local", id="command"),
        pytest.param(lambda site: site.call("RemoteStopTransaction", transactionId=100), "Remote", id="remote stop"),
    ],
)
def test_an_undecided_transaction_can_be_ended(make_site: MakeSite, command: Any, reason: str) -> None:
    site = undecided(make_site)
    site.connect()
    site.advance(11)
    site.connect()

    command(site)

    stop(site, reason=reason, meterStop=1100, timestamp=site.station.now()[:-3] + "31Z")
    assert site.transaction() is None


def test_an_undecided_transaction_ends_with_the_stop_of_ocpp(make_site: MakeSite) -> None:
    """Contract 3: nothing of it is stored while stopped."""
    site = undecided(make_site)

    assert site.station.ask("stop") is True

    site.plug()
    site.station.ask("restart")
    site.connect()
    assert [(m["reason"], m["meterStop"]) for m in site.books.of("StopTransaction")] == [("Other", 1100)]


# -- between the end and its StopTransaction


def test_a_kill_while_the_meter_is_waited_for_keeps_the_end(make_site: MakeSite) -> None:
    """TX-42: its reason, its time, and the last reading before it."""
    site = open_transaction(make_site)
    site.tag()
    site.kill()
    site.connect()

    (message,) = site.books.of("StopTransaction")
    assert (message["reason"], message["timestamp"]) == ("Local", "2026-11-22T10:01:20Z")
    assert (message["meterStop"], message["idTag"]) == (1150, "TAG")


# -- another configuration


TWO = "[[connectors]]\n[[connectors]]\n"


@pytest.mark.parametrize("offline", [False, True], ids=["known to the CSMS", "not yet"])
def test_a_connector_that_is_no_longer_configured_ends_its_transaction(make_site: MakeSite, *, offline: bool) -> None:
    """TX-41: and its StartTransaction is still delivered, its id used."""
    site = make_site(TWO)
    for connector in (1, 2):
        site.unplug(connector)
        site.meter(1000, connector)
    site.connect()
    if offline:
        site.disconnect()
    site.plug(2)
    site.tag(connector_ids=[2])
    if not offline:
        site.connect()
    site.states.pop(2)
    site.registers.pop(2)

    site.kill(config="")
    site.connect()

    assert [frame[2] for frame in site.books.frames] == ["StartTransaction", "StopTransaction"]
    (message,) = site.books.of("StopTransaction")
    assert (message["transactionId"], message["reason"]) == (100, "PowerLoss")
    site.disconnect()
    assert site.station.ask("present_id_tag", id_tag="TAG")["action"] == "wait"


def test_messages_of_a_connector_that_is_gone_can_be_given_up(
    make_site: MakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    site = make_site(TWO)
    site.unplug()
    site.connect()
    site.disconnect()
    site.plug(2)
    site.tag(connector_ids=[2])
    site.states.pop(2)
    site.kill(config="")
    site.answers = lambda frame: site.refuse(frame) if frame[2] == "StartTransaction" else site.accept(frame)
    site.station.ask("set_configuration_key", key="TransactionMessageAttempts", value="1")

    site.connect()

    assert "given up, bill it by hand" in caplog.text
    assert [m["transactionId"] for m in site.books.of("StopTransaction")] == [-1]
    assert [event["event"] for event in site.station.published("event/transaction")] == ["given_up"]


def test_the_lock_is_kept_over_a_restart_of_the_daemon(make_site: MakeSite) -> None:
    site = make_site(LOCK)
    site.meter(0)
    site.connect()
    begin(site)

    site.kill()

    assert site.station.shown("connector/1/lock") is True

"""Delivery of transaction-related messages: obligations 5.3."""

import json
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ocpp16_bridge.csms.call_queue import DurableCall
from ocpp16_bridge.features import delivery
from tests.features.transactions.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Registered; a transaction began and went on offline: Start, three MeterValues, Stop are queued."""
    with closing(Site(tmp_path / "station")) as site:
        site.unplug()
        site.meter(1000)
        site.connect()
        site.disconnect()
        site.plug()
        site.tag()
        for minute in range(1, 4):
            site.meter(1000 + 100 * minute)
            site.advance(60)
        site.tag()
        site.advance(2)
        site.station.published()
        yield site


def refusing(site: Site, *actions: str) -> None:
    site.answers = lambda frame: site.refuse(frame) if frame[2] in actions else site.accept(frame)


def actions(site: Site) -> list[str]:
    return [frame[2] for frame in site.books.frames]


ALL = ["StartTransaction", *["MeterValues"] * 3, "StopTransaction"]


def test_what_happened_offline_comes_in_order_with_its_own_times_and_the_new_id(site: Site) -> None:
    """TX-20, TX-21, TX-28, TX-31, TX-32; TC_036_CS, TC_037_1_CS, TC_039_CS."""
    site.advance(3600)

    site.connect()

    assert actions(site) == ALL
    start, *values, stop = (frame[3] for frame in site.books.frames)
    assert start["timestamp"] == "2026-11-22T10:00:00Z"
    assert [value["meterValue"][0]["timestamp"][11:19] for value in values] == ["10:01:00", "10:02:00", "10:03:00"]
    assert {value["transactionId"] for value in values} == {100}
    assert (stop["timestamp"], stop["transactionId"], stop["meterStop"]) == ("2026-11-22T10:03:00Z", 100, 1300)


def test_statuses_precede_the_queue_after_a_reconnect(site: Site) -> None:
    """TR-47."""
    site.calls.clear()

    site.connect()

    assert [frame[2] for frame in site.calls] == ["StatusNotification", *ALL]


def test_ids_are_resolved_after_another_boot_too(site: Site) -> None:
    """TX-28; trap 6, L#495."""
    site.kill(reboot=True)

    site.connect()

    assert actions(site) == ALL
    assert {frame[3]["transactionId"] for frame in site.books.frames[1:]} == {100}


@pytest.mark.parametrize("action", ["StartTransaction", "StopTransaction", "MeterValues"])
def test_what_the_csms_refuses_is_tried_again_with_growing_waits(site: Site, action: str) -> None:
    """TX-24, TX-25, TX-29: send, 60 s, send, 120 s, send."""
    refusing(site, action)
    site.connect()
    (message_id,) = {frame[1] for frame in site.books.frames if site.books.refusals[frame[1]]}

    seen = []
    for second in range(1, 200):
        before = site.books.receipts[message_id]
        site.station.advance(1)
        site.serve()
        seen += [second] * (site.books.receipts[message_id] - before)

    assert seen == [60, 180]


def test_a_start_that_is_given_up_leaves_minus_one(site: Site) -> None:
    """TX-27."""
    refusing(site, "StartTransaction")
    for _ in range(4):
        site.connect()
        site.station.advance(60)
    site.serve()

    assert actions(site) == ALL
    assert {frame[3]["transactionId"] for frame in site.books.frames[1:]} == {-1}


def test_what_is_given_up_is_seen_counted_and_kept(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """TX-25; contract 1 and 2."""
    refusing(site, "StopTransaction")
    site.station.ask("set_configuration_key", key="TransactionMessageAttempts", value="1")
    site.connect()
    frame = site.books.frames[-1]

    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR and "by hand" in r.getMessage()]
    assert json.loads(line[line.index("[") :]) == frame
    (event,) = [e for e in site.station.published("event/transaction") if e["event"] == "given_up"]
    assert (event["frame"], event["connector_id"], event["transaction_id"]) == (frame, 1, 100)
    site.station.advance(60)
    assert site.station.shown("health")["errors"]["given_up"] == 1
    site.kill(reboot=True)
    kept = site.station.charge_point.context.store.queue("given_up", DurableCall).head()
    assert kept is not None
    assert (kept[1].payload, kept[1].message_id) == (frame[3], frame[1])
    site.connect()
    assert site.books.receipts[frame[1]] == 1


def test_what_times_out_counts_as_a_failure(site: Site) -> None:
    """TX-24."""
    site.station.ask("set_configuration_key", key="TransactionMessageAttempts", value="1")
    site.answers = lambda frame: False if frame[2] == "StartTransaction" else site.accept(frame)
    site.connect()
    site.station.advance(30)
    site.serve()

    assert actions(site) == ALL
    assert site.books.of("StopTransaction")[0]["transactionId"] == -1


def test_a_lost_link_costs_no_attempt(site: Site) -> None:
    """TX-24; trap 4."""
    site.answers = lambda frame: False if frame[2] == "StartTransaction" else site.accept(frame)
    for _ in range(5):
        site.connect()
        site.disconnect()
    site.answers = site.accept

    site.connect()

    assert actions(site) == ALL
    assert site.books.receipts[site.books.frames[0][1]] == 6


def test_meter_values_that_are_given_up_do_not_push_out_what_is_billed(site: Site) -> None:
    """TX-30."""
    feature = next(f for f in site.station.charge_point.features if isinstance(f, delivery.Delivery))

    def give_up(action: str, number: int) -> None:
        call = DurableCall(action, {}, f"m-{number}", "", "2026-11-22T10:00:00Z")
        with site.station.charge_point.turns.turn():
            feature.queue.on_given_up(call, {})

    give_up("StopTransaction", 0)
    for number in range(delivery.MAX_GIVEN_UP + 5):
        give_up("MeterValues", number + 1)

    assert feature.given_up == delivery.MAX_GIVEN_UP
    kept = [call for _, call in site.station.charge_point.context.store.queue("given_up", DurableCall)]
    assert kept[0].action == "StopTransaction"
    assert kept[-1].message_id == f"m-{delivery.MAX_GIVEN_UP + 5}"


# -- what is answered leaves the disk


def commits(site: Site) -> list[str]:
    statements: list[str] = []
    site.station.charge_point.context.store._database.set_trace_callback(
        lambda statement: statements.append(statement) if statement == "COMMIT" else None
    )
    return statements


def backlog(site: Site, number: int) -> None:
    """So many MeterValues wait, and nothing else."""
    site.connect()
    site.unplug()
    site.connect()
    site.advance(2)
    site.disconnect()
    site.plug()
    site.tag()
    site.connect()
    site.disconnect()
    for _ in range(number):
        site.station.advance(60)


def test_answered_meter_values_leave_the_disk_in_batches(site: Site) -> None:
    """Performance G10: at most 1/32 commit a message."""
    backlog(site, 320)
    counted = commits(site)

    site.connect()

    assert len(site.books.of("MeterValues")) >= 320
    assert len(counted) <= 10


def test_a_kill_repeats_at_most_a_batch(site: Site) -> None:
    """Each repetition is the same to the letter (`Books`)."""
    backlog(site, 200)
    left = 100

    def answers(frame: list[Any]) -> bool:
        nonlocal left
        left -= frame[2] == "MeterValues"
        return left >= 0 and site.accept(frame)

    site.answers = answers
    site.connect()
    site.answers = site.accept
    site.kill()

    site.connect()

    again = sum(count > 1 for count in site.books.receipts.values())
    assert 0 < again <= 64
    assert len(site.books.of("MeterValues")) >= 200


def test_answered_meter_values_leave_the_disk_within_a_second(site: Site) -> None:
    site.connect()
    site.plug(plugged=False)
    site.connect()
    backlog(site, 3)
    site.connect()
    site.station.advance(1)

    site.kill()
    site.connect()

    assert max(site.books.receipts.values()) == 1


def test_meter_values_never_come_again_after_their_stop(site: Site) -> None:
    """MV-20: they leave the disk with the StopTransaction that follows them."""
    site.connect()

    site.kill()
    site.connect()

    assert max(site.books.receipts.values()) == 1
    assert actions(site) == ALL


def test_a_live_message_costs_one_commit_and_its_answer_another(site: Site) -> None:
    """Performance G10: Start/StopTransaction ≤ 1 fsync each way."""
    site.connect()
    site.unplug()
    site.connect()
    site.advance(5)
    site.plug()
    site.connect()
    counted = commits(site)

    site.station.publish("request/present_id_tag", {"id_tag": "NEW"})
    site.serve()

    # Authorize's answer (the cache); the beginning; the answer to StartTransaction, with the cache.
    assert len(counted) <= 3

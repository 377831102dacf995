"""SIGKILL at every point: nothing is lost, what was on disk is not doubled, ids and order are right (TX-20 … TX-43)."""

import random
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from ocpp16_bridge.timestamps import parse_time
from tests.features.transactions.site import CONFIG, OF_TRANSACTIONS, Site


def whole_session(site: Site, *, online: bool) -> None:
    """Plug, tag, charge, tag, unplug; whatever is killed meanwhile, each thing is done until it is done."""
    serve = site.connect if online else lambda: None
    site.unplug()
    site.meter(1000)
    serve()
    site.plug()
    serve()
    if site.transaction() is None:
        site.tag()
        serve()
    if site.transaction() is None:
        site.tag()
        serve()
    assert site.transaction()["meter_start"] == 1000
    for minute in range(1, 4):
        site.meter(1000 + minute * 100.9)
        site.advance(60)
        serve()
    while site.transaction() is not None:
        site.tag()
        serve()
        site.meter(1400)
        serve()
    site.unplug()
    serve()


def run(
    directory: Path, session: Callable[[Site], None], check: Callable[[Site], None], kill_at: int, *, reboot: bool
) -> int:
    """Play ``session`` with a kill at one step, deliver all, and check; returns how many steps there were."""
    with closing(Site(directory)) as site:
        site.connect()
        site.disconnect()
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            if steps == kill_at:
                site.kill(reboot=reboot)

        site.at_step = step
        session(site)
        site.at_step = lambda: None
        site.connect()
        site.advance(15)
        site.serve()
        check(site)
        return steps


def run_with_a_kill_at_each_step(
    directory: Path, session: Callable[[Site], None], check: Callable[[Site], None], *, reboot: bool = False
) -> None:
    steps = run(directory / "none", session, check, 0, reboot=reboot)
    assert steps > 10
    for kill_at in range(1, steps + 1):
        run(directory / str(kill_at), session, check, kill_at, reboot=reboot)


def check(site: Site) -> None:
    """One transaction, whole and in order."""
    ((number, frames),) = site.books.transactions()
    actions = [frame[2] for frame in frames]
    assert frames == site.books.frames, "nothing bears a wrong id"
    assert (actions[0], actions[-1]) == ("StartTransaction", "StopTransaction")
    assert actions[1:-1] == ["MeterValues"] * len(actions[1:-1])
    assert actions[1:-1], "they are not lost"
    start, stop = frames[0][3], frames[-1][3]
    assert (start["meterStart"], start["idTag"]) == (1000, "TAG")
    assert (stop["transactionId"], stop["reason"]) == (number, "Local")
    assert stop["meterStop"] in range(1302, 1401)
    times = [start["timestamp"], *(frame[3]["meterValue"][0]["timestamp"] for frame in frames[1:-1])]
    assert times == sorted(times, key=parse_time)
    assert len(site.station.charge_point.context.store.queue("transaction", dict)) == 0


@pytest.mark.parametrize("online", [True, False], ids=["online", "offline"])
def test_a_kill_at_any_step_costs_nothing(tmp_path: Path, *, online: bool) -> None:
    """TX-20, TX-21, TX-28, TX-29, TX-40, TX-43; TC_038_CS, TC_039_CS."""
    run_with_a_kill_at_each_step(tmp_path, lambda site: whole_session(site, online=online), check)


def test_a_kill_at_any_step_of_the_delivery_costs_nothing(tmp_path: Path) -> None:
    """TX-28, TX-29: queued offline, the id is known to the next process."""

    def session(site: Site) -> None:
        step, site.at_step = site.at_step, lambda: None
        whole_session(site, online=False)
        site.at_step = step
        site.connect()
        site.connect()

    run_with_a_kill_at_each_step(tmp_path, session, check)


@pytest.mark.parametrize("online", [True, False], ids=["online", "offline"])
def test_power_cuts_at_any_step_leave_whole_transactions(tmp_path: Path, *, online: bool) -> None:
    """TX-41, TX-42: another boot ends what was open, and a new transaction may follow."""

    def session(site: Site) -> None:
        with suppress(TypeError):  # the power cut ended the transaction just when its topic was looked at
            whole_session(site, online=online)

    run_with_a_kill_at_each_step(tmp_path, session, assert_whole, reboot=True)


def assert_whole(site: Site) -> None:
    """The invariants of any history: each transaction has one beginning and one end, in order, with its own id."""
    known = [frame for _, frames in site.books.transactions() for frame in frames]
    given_up = {frame[1] for frame in site.books.frames if site.books.refusals[frame[1]] >= 3}
    assert all(frame in known or frame[3].get("transactionId", -1) == -1 for frame in site.books.frames), (
        "an id that the CSMS never gave"
    )
    for number, frames in site.books.transactions():
        actions = [frame[2] for frame in frames]
        assert actions[0] == "StartTransaction"
        assert actions.count("StartTransaction") == 1
        if frames[0][1] in given_up:
            assert actions == ["StartTransaction"]
            continue
        assert actions.count("StopTransaction") == 1, (number, actions)
        assert actions[-1] == "StopTransaction", "no MeterValues after it (MV-20)"
        assert frames[-1][3]["meterStop"] >= frames[0][3]["meterStart"]
        assert parse_time(frames[-1][3]["timestamp"]) >= parse_time(frames[0][3]["timestamp"])


# -- any history


QUICK = CONFIG.replace("= 60", "= 10") + "TransactionMessageRetryInterval = 3\n"


class History:
    """Random events at a site with two connectors."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.site = Site(directory, "[[connectors]]\n[[connectors]]\n" + QUICK)
        self.site.answers = self.answer
        self.refusals = 0.0  # how many of the messages of transactions
        self.energy = 1000.0
        for connector in (1, 2):
            self.site.unplug(connector)
            self.site.meter(self.energy, connector)
        self.site.connect()

    def happen(self) -> None:
        site, connector = self.site, self.random.choice((1, 2))
        weights: dict[Callable[[], Any], int] = {
            lambda: site.plug(connector): 4,
            lambda: site.unplug(connector): 1,
            lambda: site.tag(f"TAG{connector}", connector_ids=[connector]): 3,
            lambda: self.charge(connector): 8,
            self.wait: 10,
            site.serve: 5,
            self.change_mood: 2,
            self.serve_some: 3,
            site.disconnect: 3,
            site.connect: 3,
            site.kill: 3,
            lambda: site.kill(reboot=True): 1,
        }
        (event,) = self.random.choices(list(weights), list(weights.values()))
        event()

    def charge(self, connector: int) -> None:
        self.energy += self.random.random() * 50
        self.site.meter(self.energy, connector)

    def wait(self) -> None:
        for _ in range(self.random.choice((1, 1, 3, 9))):
            self.site.advance(self.random.choice((0.5, 1, 2, 10)))
            self.site.serve()  # in time: a late answer counts as a failed attempt

    def change_mood(self) -> None:
        self.refusals = self.random.choice((0.0, 0.0, 0.2, 1.0))

    def answer(self, frame: list[Any]) -> bool:
        if frame[2] in OF_TRANSACTIONS and self.random.random() < self.refusals:
            return self.site.refuse(frame)
        return self.site.accept(frame)

    def serve_some(self) -> None:
        """Only the first few are answered before the link breaks."""
        left = self.random.randrange(4)

        def answer(frame: list[Any]) -> bool:
            nonlocal left
            left -= 1
            return left >= 0 and self.answer(frame)

        self.site.answers = answer
        self.site.serve()
        self.site.answers = self.answer
        self.site.disconnect()

    def end(self) -> None:
        site = self.site
        self.refusals = 0.0
        site.connect()
        for connector in (1, 2):
            site.unplug(connector)
        for _ in range(60):
            site.connect()
            site.advance(10)
        site.serve()


@pytest.mark.parametrize("seed", range(30))
def test_any_history_leaves_whole_transactions(tmp_path: Path, seed: int) -> None:
    """TX-20 … TX-29, MV-20, TX-03."""
    history = History(tmp_path / "station", seed)
    with closing(history.site):
        for _ in range(100):
            history.happen()
        history.end()
        assert_whole(history.site)
        assert len(history.site.station.charge_point.context.store.queue("transaction", dict)) == 0
        assert not history.site.station.charge_point.context.store.read(
            "SELECT key FROM record WHERE collection = 'transaction'", ()
        )

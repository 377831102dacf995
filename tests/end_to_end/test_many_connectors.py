"""128 connectors on one daemon charge at once, each with a meter that speaks every second: the daemon keeps up.

CHARGE_SECONDS=60 in the environment lets them charge for longer than by default.
"""

import itertools
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.broker import Broker
from tests.end_to_end.charge_point import connectors
from tests.end_to_end.charger import REGISTER
from tests.end_to_end.conftest import Prepare
from tests.end_to_end.daemon import PATIENCE, Daemon, eventually
from tests.mqtt_client import LocalProgram
from tests.scripted_csms import ScriptedCsms

CONNECTORS = 128
SECONDS = float(os.environ.get("CHARGE_SECONDS", "12"))
START = 3.0  # s
PROMPT = 1.0  # s
READINGS = {
    REGISTER: 100_000,
    "Energy.Reactive.Import.Register": 500,
    "Power.Active.Import": 11_040,
    "Power.Factor": 0.98,
    "Current.Import": {"L1": 16.0, "L2": 16.1, "L3": 15.9},
    "Voltage": {"L1-N": 230.1, "L2-N": 229.8, "L3-N": 230.4},
    "Temperature": 35.5,
    "SoC": 55,
}
PLUGGED = {"plugged": True, "ev_ready": True, "evse_ready": True}


def test_the_daemon_keeps_up_with_128_connectors(broker: Broker, csms: ScriptedCsms, prepare: Prepare) -> None:
    csms.validates = False
    daemon = prepare(
        transactions={"free_vend_id_tag": "FREE"},
        configuration_keys={"MeterValueSampleInterval": 1, "MeterValuesSampledData": ",".join(READINGS)},
        **connectors(CONNECTORS),
    )
    with Meters(broker.port) as meters, LocalProgram(broker.port) as program:
        meters.publish_states({})
        started = time.monotonic()
        daemon.start()
        csms.wait_until(lambda: said(csms, "StatusNotification") > CONNECTORS, PATIENCE, "statuses")
        with meters.reading_each_second():
            meters.publish_states(PLUGGED)
            csms.wait_until(lambda: said(csms, "StartTransaction") == CONNECTORS, PATIENCE, "starts")
            begun, worked = time.monotonic(), cpu_seconds(daemon)
            waits, backlogs = observe(program, daemon)
            took = time.monotonic() - begun
            share = (cpu_seconds(daemon) - worked) / took

            meters.publish_states({})
            csms.wait_until(lambda: said(csms, "StopTransaction") == CONNECTORS, PATIENCE, "ends")
        eventually(lambda: daemon.queued() == [], "nothing waits")
    print(  # noqa: T201 - figures to compare
        f"{CONNECTORS} connectors, {took:.0f} s: {share:.0%} of a core, {said(csms, 'MeterValues')} MeterValues, "
        f"{len(waits)} commands answered within {max(waits) * 1000:.0f} ms, backlog {max(backlogs)} at most"
    )
    assert csms.attempts[0].at - started < START
    assert max(waits) < PROMPT
    assert max(backlogs) < 3 * CONNECTORS
    counts = Counter(call.payload["connectorId"] for call in csms.calls if call.action == "MeterValues")
    assert min(counts[number] for number in range(1, CONNECTORS + 1)) >= SECONDS - 1
    assert daemon.log.count(" WARNING ") == 1  # of the start


def observe(program: LocalProgram, daemon: Daemon) -> tuple[list[float], list[int]]:
    """For so many seconds: how long each command waits for its reply, in s, and how many messages lie on disk.

    A loop that stands still shows as a command that waits.
    """
    waits, backlogs = [], []
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        asked = time.monotonic()
        assert program.request("get_configuration_key", keys=["HeartbeatInterval"])["status"] == "ok"
        waits.append(time.monotonic() - asked)
        backlogs.append(len(daemon.queued()))
        time.sleep(0.1)
    return waits, backlogs


def said(csms: ScriptedCsms, action: str) -> int:
    return sum(call.action == action for call in list(csms.calls))


def cpu_seconds(daemon: Daemon) -> float:
    """User and system time of the process."""
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Meters:
    """The hardware of all connectors, as cheap as it can be; connected within its `with` block."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "meters")
        self._port = port

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish_states(self, state: dict[str, bool]) -> None:
        for number in range(1, CONNECTORS + 1):
            told = self._client.publish(f"ocpp16/hardware/connector/{number}/state", json.dumps(state), 1, retain=True)
        told.wait_for_publish(PATIENCE)

    @contextmanager
    def reading_each_second(self) -> Iterator[None]:
        """All have spoken once, and every one speaks once a second, one after the other."""
        for number in range(1, CONNECTORS + 1):
            self._publish_reading(number, 0)
        ended = threading.Event()
        thread = threading.Thread(target=self._read, args=(ended,), name="meters")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _read(self, ended: threading.Event) -> None:
        begun = time.monotonic()
        for count in itertools.count():
            if ended.wait(max(begun + count / CONNECTORS - time.monotonic(), 0)):
                return
            self._publish_reading(count % CONNECTORS + 1, count // CONNECTORS)

    def _publish_reading(self, number: int, second: int) -> None:
        reading = READINGS | {REGISTER: 100_000 + second * 3}
        self._client.publish(f"ocpp16/hardware/connector/{number}/meter", json.dumps(reading), 0)

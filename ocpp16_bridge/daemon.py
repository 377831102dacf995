"""The charge point in the world: its two connections, time, signals, and the service manager."""

import asyncio
import logging
import random
import signal
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import ParamSpec, TypeVar

from ocpp16_bridge import __version__, logs, systemd
from ocpp16_bridge.charge_point import ChargePoint, World, check
from ocpp16_bridge.clock import Clock
from ocpp16_bridge.configuration_file import ConfigurationError, load_settings
from ocpp16_bridge.csms.connection import Connection as CsmsConnection
from ocpp16_bridge.mqtt.connection import Connection as MqttConnection
from ocpp16_bridge.settings import Settings
from ocpp16_bridge.store import Store, StoreError

logger = logging.getLogger(__name__)

SYSTEM_END = (signal.SIGTERM, signal.SIGINT)

P = ParamSpec("P")
T = TypeVar("T")


BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def run(config: Path, environ: Mapping[str, str], boot_id: Path = BOOT_ID) -> None:
    """Be the daemon until a signal or a Reset ends it.

    Raises:
        ConfigurationError: with everything that is wrong.
        StoreError: the store can't be used.

    """
    settings = load_settings(config, environ, check)
    logs.set_level(settings.logging.level)
    with closing(Store(settings.storage.directory)) as store:
        asyncio.run(_run(settings, store, config, environ, _read_boot_id(boot_id)))


def _read_boot_id(path: Path) -> str:
    """What tells one boot of the machine from the next; without it each start counts as one."""
    try:
        return path.read_text().strip()
    except OSError as error:
        logger.warning("%s: %s: open transactions are taken for interrupted by a reboot", path, error.strerror)
        return str(uuid.uuid4())


async def _run(settings: Settings, store: Store, config: Path, environ: Mapping[str, str], boot_id: str) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(PassingThreads())
    daemon = Daemon(settings, store, loop, boot_id)
    for number in SYSTEM_END:
        loop.add_signal_handler(number, daemon.end, number.name)
    loop.add_signal_handler(signal.SIGHUP, _reload, config, environ)
    await daemon.serve()


def _reload(config: Path, environ: Mapping[str, str]) -> None:
    """SIGHUP: the log level of the file holds again; everything else needs a restart."""
    try:
        logs.set_level(load_settings(config, environ, check).logging.level)
        logger.info("the log level is read again; other settings are read at the start only")
    except ConfigurationError as error:
        for problem in error.problems:
            logger.error("%s", problem)  # noqa: TRY400 - the text says it all


class PassingThreads(ThreadPoolExecutor):
    """One thread for each thing that the loop can't wait for itself: name servers, and the broker's TCP and TLS.

    A dead name server keeps such a thread for half a minute; an ordinary pool would hold up the end of the process.
    """

    def submit(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(function(*arguments, **named))
            except BaseException as error:  # noqa: BLE001 - who waits for the result raises it
                future.set_exception(error)

        future.set_running_or_notify_cancel()
        threading.Thread(target=work, name="wait for the network", daemon=True).start()
        return future


class Daemon:
    """A charge point with its connections, and the order in which they come and go."""

    def __init__(self, settings: Settings, store: Store, loop: asyncio.AbstractEventLoop, boot_id: str) -> None:
        self._settings = settings
        self._store = store
        self._ended = asyncio.Event()
        self._dialled = False
        clock = Clock()
        world = World(clock, loop, lambda: str(uuid.uuid4()), random.random, boot_id, self.end)
        self._charge_point = ChargePoint(settings, store, world)
        self._csms = CsmsConnection(
            self._charge_point.security.target,
            self._charge_point.endpoint,
            self._charge_point.new_back_off(world),
            lambda: self._charge_point.lifecycle.websocket_ping_interval,
            clock.now,
        )
        base = settings.mqtt.base_topic
        self._mqtt = MqttConnection(
            settings.mqtt,
            f"ocpp16-bridge-{settings.charge_point.id}",
            (f"{base}/state", "offline"),
            self._charge_point.mqtt_session.subscriptions(),
            self._charge_point.mqtt_session,
            clock.monotonic,
            random.random,
        )
        self._charge_point.attach(self._csms, self._mqtt)

    def end(self, reason: str) -> None:
        """Leave in good order: the CSMS first, then the broker, exit status 0."""
        if not self._ended.is_set():
            logger.info("ending: %s", reason)
            systemd.stopping()
            self._ended.set()

    async def serve(self) -> None:
        """Carry both connections until `end`. The CSMS side leaves first, so that the broker still hears of it."""
        self._start()
        async with asyncio.TaskGroup() as mqtt_side:
            mqtt = mqtt_side.create_task(self._mqtt.run(), name="MQTT")
            try:
                await self._serve_csms()
            finally:  # also after an error: a clean disconnect without farewell would leave `online` behind
                await self._charge_point.conversations.end()
                self._charge_point.variables.goodbye()
                mqtt.cancel()

    async def _serve_csms(self) -> None:
        async with asyncio.TaskGroup() as csms_side:
            tasks = [
                csms_side.create_task(self._csms.run(), name="CSMS"),
                csms_side.create_task(self._charge_point.timers.run(), name="timers"),
            ]
            systemd.ready()
            await self._ended.wait()
            for task in tasks:
                task.cancel()

    def _start(self) -> None:
        own = self._settings.charge_point
        logger.info("ocpp16-bridge %s: charge point %s of %s, %s", __version__, own.id, own.vendor, own.model)
        self._charge_point.start()
        self._charge_point.mqtt_session.on_connected.append(self._dial)
        # A broker that is silent doesn't hold up the dial; one that is there sees is_connected=false before it.
        timers = self._charge_point.timers
        timers.after(self._settings.hardware.start_timeout, "broker at the start", self._dial)
        self._watch(timers.every)

    def _dial(self) -> None:
        """The first time; a broker that comes and goes must not cut short the waits between later attempts."""
        if not self._dialled:
            self._dialled = True
            self._csms.open()

    # -- the service manager

    def _watch(self, every: Callable[[float, str, Callable[[], None]], None]) -> None:
        """Tell how we fare: a line of status on each change, and a sign of life while our own checks pass."""
        csms = self._charge_point.context.csms
        session = self._charge_point.mqtt_session
        session.on_connected.append(self._show_status)
        session.on_disconnected.append(self._show_status)
        csms.on_registration.append(self._show_status)
        csms.endpoint.on_connected.append(self._show_status)
        csms.endpoint.on_disconnected.append(lambda _reason: self._show_status())
        self._show_status()
        interval = systemd.watchdog_interval()
        if interval is not None:
            every(interval, "watchdog", self._give_sign_of_life)

    def _show_status(self) -> None:
        csms = self._charge_point.context.csms
        broker = self._settings.mqtt
        parts = [] if self._mqtt.connected else [f"waiting for the broker {broker.host}:{broker.port}"]
        if csms.stopped:
            parts.append("OCPP is stopped by command")
        elif not csms.connected:
            parts.append(f"waiting for the CSMS {self._charge_point.security.public_url()}")
        else:
            parts.append(f"connected to the CSMS, registration {csms.registration or 'not answered yet'}")
        systemd.status("; ".join(parts))

    def _give_sign_of_life(self) -> None:
        """That the loop runs is shown by being called; a broker or CSMS that is away is no reason for a restart."""
        try:
            self._store.check_writable()
        except StoreError:
            logger.exception("the store can't be written: no sign of life for the watchdog")
        else:
            systemd.watchdog()

"""A whole charge point to look at: private broker, small CSMS, the daemon, a simulated EVSE, a local program."""

# ruff: noqa: T201 - a command prints

import asyncio
import io
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import aiomqtt
from aiomqtt import MqttError, ProtocolVersion

from ocpp16_bridge.demo.broker import HOST, Broker, find_mosquitto, private_broker
from ocpp16_bridge.demo.csms import Csms
from ocpp16_bridge.demo.daemon_process import keep_running
from ocpp16_bridge.demo.happenings import DemoError, Happenings
from ocpp16_bridge.demo.invitation import lines_to_copy
from ocpp16_bridge.demo.local_program import LocalProgram
from ocpp16_bridge.demo.narrator import Narrator
from ocpp16_bridge.demo.process import last_lines
from ocpp16_bridge.demo.story import ID_TAG, STORY, Stage, Step, tell
from ocpp16_bridge.simulator.connection import heed_cancellation, last_will, listen, publisher, subscribe
from ocpp16_bridge.simulator.evse import Evse
from ocpp16_bridge.simulator.pace import Pace
from ocpp16_bridge.simulator.sessions import play_sessions
from ocpp16_bridge.simulator.simulator import Simulator

BASE_TOPIC = "ocpp16"
SPEED = 5.0  # of the simulated EVSE
# Simulated seconds between two readings of the meter.
METER_OFTEN = 0.5 * SPEED
METER_RARELY = 5.0 * SPEED

CONFIGURATION = """\
[charge_point]
id = "DEMO"
vendor = "Example"
model = "Demo"

[[connectors]]
lock = true

[csms]
url = "{csms_url}"
reconnect_wait_minimum = 1
reconnect_random_range = 0
reconnect_repeat_times = 0

[mqtt]
port = {port}
base_topic = "{base_topic}"

[storage]
directory = "{folder}/store"

[hardware]
answers = ["data_transfer", "unlock_connector"]

[configuration_keys]
MeterValuesSampledData = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage,SoC"

[custom_configuration_keys.TariffUrl]
type = "string"
value = "https://example.com"
"""


def demo(
    *,
    exit_after_session: bool,
    steps: Sequence[Step] = STORY,
    find_broker: Callable[[], str | None] = find_mosquitto,
) -> int:
    """Tell the story of ``steps``; then go on until a signal comes, or end at once if ``exit_after_session``.

    The exit status is 1 if a step did not come true, with ``exit_after_session`` also if the story was interrupted.
    """
    mosquitto = find_broker()
    if mosquitto is None:
        print("the program mosquitto is missing: apt install mosquitto", file=sys.stderr)
        return 1
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 shows ? for →
    status = 1
    try:
        is_done = asyncio.run(_until_interrupted(mosquitto, steps, exit_after_session=exit_after_session))
        status = 0 if is_done or not exit_after_session else 1
    except* DemoError as group:
        for error in group.exceptions:
            print(f"\nFAILED: {error}", file=sys.stderr)
    except* MqttError as group:
        print(f"\nFAILED: the connection to the broker was lost: {group.exceptions[0]}", file=sys.stderr)
    return status


async def _until_interrupted(mosquitto: str, steps: Sequence[Step], *, exit_after_session: bool) -> bool:
    """Whether it ended by itself. A second signal interrupts the orderly end of the children: they are killed."""
    loop = asyncio.get_running_loop()
    demonstration = loop.create_task(_demonstrate(mosquitto, steps, exit_after_session=exit_after_session))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, demonstration.cancel)
    await asyncio.wait((demonstration,))
    if demonstration.cancelled():
        return False
    demonstration.result()
    return True


async def _demonstrate(mosquitto: str, steps: Sequence[Step], *, exit_after_session: bool) -> None:
    narrator = Narrator(BASE_TOPIC)
    happenings = Happenings(narrator.show)
    with _temporary_folder() as folder:
        async with (
            private_broker(mosquitto, folder) as broker,
            Csms(happenings.add) as csms,
            aiomqtt.Client(HOST, broker.port, protocol=ProtocolVersion.V5) as client,
            aiomqtt.Client(
                HOST, broker.port, protocol=ProtocolVersion.V5, will=last_will(BASE_TOPIC)
            ) as hardware_client,
            asyncio.TaskGroup() as group,
        ):
            heed_cancellation()
            narrator.say(f"A broker on port {broker.port}, a CSMS at {csms.url}, the daemon; their files: {folder}")
            config = _configure(folder, broker, csms)
            log = folder / "daemon.log"
            program = LocalProgram(client, BASE_TOPIC, happenings.add)
            evse = _evse(hardware_client, narrator)
            await subscribe(hardware_client, evse)
            await evse.begin()
            children = (
                broker.watch(),
                program.run(),
                listen(hardware_client, evse),
                evse.run(),
                keep_running(config, log, happenings.add),
            )
            tasks = [group.create_task(child) for child in children]
            await _tell(steps, Stage(csms, program, evse, happenings), narrator, log)
            if not exit_after_session:
                _invite(narrator, broker, config, log)
                evse.meter_every = METER_RARELY
                await play_sessions(evse, ID_TAG, narrator.say)  # until interrupted
            for task in tasks:
                task.cancel()


def _evse(client: aiomqtt.Client, narrator: Narrator) -> Simulator:
    return Simulator(
        Evse(has_lock=True),
        1,
        BASE_TOPIC,
        publisher(client),
        pace=Pace(SPEED),
        new_id=lambda: str(uuid.uuid4()),
        say=lambda text: narrator.say(f"   EVSE: {text}"),
        meter_every=METER_OFTEN,
    )


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ocpp16-bridge-demo-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # started by root, mosquitto goes on as a user of its own
        yield folder


def _configure(folder: Path, broker: Broker, csms: Csms) -> Path:
    """The configuration file of the daemon."""
    config = folder / "config.toml"
    text = CONFIGURATION.format(csms_url=csms.url, port=broker.port, base_topic=BASE_TOPIC, folder=folder)
    config.write_text(text)
    return config


async def _tell(steps: Sequence[Step], stage: Stage, narrator: Narrator, log: Path) -> None:
    try:
        await tell(steps, stage, narrator.say)
    except DemoError as error:
        raise DemoError(f"{error}\nThe daemon's log ends so:\n{last_lines(log)}") from error
    narrator.say("\nThat was the whole story.")


def _invite(narrator: Narrator, broker: Broker, config: Path, log: Path) -> None:
    narrator.say("It goes on until you press Ctrl-C. Lines to copy into another terminal:\n")
    for line in lines_to_copy(broker.port, BASE_TOPIC, config):
        narrator.say(line)
    narrator.say(f"\nThe daemon's log: {log}\n")

"""What was acknowledged survives SIGKILL at any moment (architecture, "A turn")."""

import asyncio
import json
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.end_to_end.conftest import MakeSite
from tests.end_to_end.daemon import PATIENCE, eventually
from tests.end_to_end.site import Site

ROUNDS = 16
CHANGES = 250  # by each side and round
SEED = 16

CSMS_KEY = "MeterValueSampleInterval"
PROGRAM_KEY = "Counter"
REQUESTS = "ocpp16/request/set_custom_configuration_key"
REPLIES = "ocpp16/response/set_custom_configuration_key"


def test_no_acknowledged_change_is_lost_whenever_the_daemon_is_killed(make_site: MakeSite) -> None:
    chance = random.Random(SEED)
    site = make_site(**{f"custom_configuration_keys.{PROGRAM_KEY}": {"type": "integer", "value": 0}})
    by_csms = by_program = acknowledged = 0

    for number in range(ROUNDS):
        site.program.clear()
        site.csms.frames.clear()
        with changes_from_both_sides(site, range(number * CHANGES + 1, (number + 1) * CHANGES + 1)):
            await_answers(site, chance.randrange(1, CHANGES))
            site.daemon.kill()
        site.await_topic("state", "offline")
        to_csms, to_program = acknowledged_to_csms(site), acknowledged_to_program(site)

        site.daemon.start()
        site.await_registration()
        site.await_topic("state", "online")

        at_least = max([by_csms, *to_csms]), max([by_program, *to_program])
        by_csms, by_program = values(site)
        assert (by_csms >= at_least[0], by_program >= at_least[1]) == (True, True), f"round {number}"
        acknowledged += len(to_csms) + len(to_program)
    assert ROUNDS <= acknowledged < ROUNDS * 2 * CHANGES  # it was killed amid its work


@contextmanager
def changes_from_both_sides(site: Site, numbers: range) -> Iterator[None]:
    """Neither side waits for answers: much is on its way when the daemon is killed."""
    requests = "\n".join(json.dumps({"id": value, "key": PROGRAM_KEY, "value": str(value)}) for value in numbers)
    command = ["mosquitto_pub", "-p", str(site.broker.port), "-q", "1", "-t", REQUESTS, "-l"]

    async def change_as_csms(socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            for value in numbers:
                change = {"key": CSMS_KEY, "value": str(value)}
                await socket.send(json.dumps([2, f"change-{value}", "ChangeConfiguration", change]))

    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as program:
        assert program.stdin
        program.stdin.write(requests)  # less than a pipe holds
        program.stdin.close()
        csms = asyncio.run_coroutine_threadsafe(change_as_csms(site.csms._open_socket()), site.csms._loop)
        yield
        csms.result(PATIENCE)
        program.terminate()


def await_answers(site: Site, count: int) -> None:
    def are_there() -> bool:
        return len(site.csms.frames) + len(site.program.messages(REPLIES)) >= count

    eventually(are_there, f"{count} answers")


def acknowledged_to_csms(site: Site) -> list[int]:
    results = [frame for frame in list(site.csms.frames) if frame[0] == 3 and frame[2] == {"status": "Accepted"}]
    return [int(message_id.removeprefix("change-")) for _, message_id, _ in results if "change-" in message_id]


def acknowledged_to_program(site: Site) -> list[int]:
    replies = [message.json for message in site.program.messages(REPLIES)]
    return [reply["id"] for reply in replies if reply.get("data") == "Accepted"]


def values(site: Site) -> tuple[int, int]:
    reply = site.program.request("get_configuration_key", keys=[CSMS_KEY, PROGRAM_KEY])
    by_csms, by_program = (int(item["value"]) for item in reply["data"]["configuration_keys"])
    return by_csms, by_program


def test_the_monitored_set_survives_a_kill(site: Site) -> None:
    keys = ["HeartbeatInterval", "MeterValueSampleInterval", "CpoName"]
    for key in keys:
        site.program.request("monitor_configuration_keys", keys=[key])

        site.daemon.kill()
        site.await_topic("state", "offline")
        site.program.clear()
        site.daemon.start()
        site.await_topic("state", "online")

        shown = {message.json["key"] for message in site.program.messages("ocpp16/configuration_key/+")}
        assert shown == set(keys[: keys.index(key) + 1])

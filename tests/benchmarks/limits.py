"""From the border of a charging schedule to the topic `limit`, as a local program sees it: by hand,

    python -m tests.benchmarks.limits [BORDERS]

A border each second, 60 of them by default. The goal is a p99 of 50 ms.
"""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime

from tests.benchmarks import load
from tests.benchmarks.stage import Run, Stage

GOAL = 50.0  # ms, of the p99
BORDERS = 60
MOST_BORDERS = 99  # ChargingScheduleMaxPeriods is 100
HEAD_START = 2  # s from the profile to the first border


def profile(start: int, borders: int) -> str:
    """A csChargingProfiles whose limit changes each second; ``start`` is Unix time."""
    schedule = {
        "chargingRateUnit": "A",
        "startSchedule": datetime.fromtimestamp(start, UTC).isoformat(),
        "chargingSchedulePeriod": [{"startPeriod": n, "limit": 10 + n % 2} for n in range(borders + 1)],
    }
    whole = {"chargingProfileId": 1, "stackLevel": 0, "chargingProfilePurpose": "TxDefaultProfile"}
    return json.dumps({**whole, "chargingProfileKind": "Absolute", "chargingSchedule": schedule})


class Watch:
    """Notes when each limit arrived."""

    def __init__(self) -> None:
        self.moments: list[float] = []  # Unix time

    def received(self, topic: bytes, _payload: bytes, _moment: float) -> None:
        if topic.endswith(b"connector/1/limit"):
            self.moments.append(time.time())


async def measured(borders: int) -> list[float]:
    """The delays in ms, shortest first."""
    run = Run(frozenset(), "daemon", 1, 1, 0, 0.0)
    watch = Watch()
    async with Stage.built(run) as stage:
        member = await stage.start("ours")
        client = await load.Client.connect(stage.port, watch.received)
        await client.subscribe(f"{member.base}/connector/+/limit")
        start = int(time.time()) + HEAD_START
        body = f'{{"connectorId":0,"csChargingProfiles":{profile(start, borders)}}}'
        _, answer = await member.station.call("SetChargingProfile", body)
        if "Accepted" not in answer:
            raise SystemExit(answer)
        await asyncio.sleep(start + borders + 1 - time.time())
        client.close()
    delays = [(moment - start) * 1000 for moment in watch.moments if moment >= start]
    if len(delays) != borders + 1:
        raise SystemExit(f"{len(delays)} changes of the limit were heard, expected {borders + 1}")
    return sorted(delay - 1000 * number for number, delay in enumerate(delays))


def main() -> None:
    borders = min(int(sys.argv[1]), MOST_BORDERS) if len(sys.argv) > 1 else BORDERS
    delays = asyncio.run(measured(borders))
    p50, p99 = delays[len(delays) // 2], delays[min(len(delays) * 99 // 100, len(delays) - 1)]
    reached = "reached" if p99 <= GOAL else "MISSED"
    sys.stdout.write(f"{len(delays)} borders: p50 {p50:.1f} ms, p99 {p99:.1f} ms; goal {GOAL:g} ms {reached}\n")


if __name__ == "__main__":
    main()

"""Runs the benchmarks and prints the table; see the package."""

import argparse
import asyncio
import dataclasses
import gc
import importlib.util
import json
import os
import platform
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.benchmarks.calls import measure_calls
from tests.benchmarks.commands import measure_commands, measure_stock_broker
from tests.benchmarks.peer import OTHER_PROCESSORS, REFERENCES
from tests.benchmarks.processes import measure_idle, measure_memory, measure_start
from tests.benchmarks.stage import Run
from tests.benchmarks.table import Row, table

Measure = Callable[[Run], Awaitable[list[Row]]]
MEASURES: tuple[tuple[tuple[str, ...], Measure], ...] = (
    (("G1", "G2", "G3", "G4"), measure_commands),
    (("G5",), measure_stock_broker),
    (("G6", "CK"), measure_calls),
    (("G7",), measure_start),
    (("G8",), measure_memory),
    (("G9",), measure_idle),
)
GOALS = [goal for goals, _ in MEASURES for goal in goals]
ON_REQUEST = {"G9"}  # takes more than a minute


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds: shows that it works, not how fast")
    parser.add_argument("--rounds", type=int, help="pairs of bursts (default 15, quick 3)")
    parser.add_argument("--only", default="", metavar="G1,G7", help=f"of {', '.join(GOALS)}; G9 runs only if named")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to a file, too")
    parser.add_argument("--idle", type=float, default=60.0, metavar="SECONDS", help="how long G9 watches (default 60)")
    ours = ["daemon", *REFERENCES]
    parser.add_argument("--ours", choices=ours, default="daemon", help="measure a reference in the daemon's place")
    return parser.parse_args()


def planned(options: argparse.Namespace) -> Run:
    """What to run.

    Raises:
        SystemExit: a goal is unknown, or the daemon isn't there.
    """
    goals = frozenset(options.only.split(",")) if options.only else frozenset(GOALS) - ON_REQUEST
    if unknown := goals - set(GOALS):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(GOALS)}")
    if options.ours == "daemon" and not importlib.util.find_spec("ocpp16_bridge.daemon"):
        raise SystemExit("ocpp16_bridge.daemon isn't there; --ours T measures a reference in its place")
    rounds = options.rounds or (3 if options.quick else 15)
    burst, memory_commands = (100, 4_000) if options.quick else (300, 100_000)
    return Run(goals, options.ours, rounds, burst, memory_commands, options.idle)


async def measured(run: Run) -> list[Row]:
    rows = []
    gc.disable()  # the driver collects between rounds
    for goals, measure in MEASURES:
        if run.wants(*goals):
            try:
                rows += await measure(run)
            except Exception:  # noqa: BLE001 - what the others measured, for minutes, is worth showing
                traceback.print_exc()
                rows.append(Row(goals[0], "failed, see above"))
    return rows


def main() -> None:
    options = arguments()
    run = planned(options)
    os.sched_setaffinity(0, OTHER_PROCESSORS)  # the broker inherits it
    rows = asyncio.run(measured(run))
    machine = f"Python {platform.python_version()}, {os.cpu_count()} processors, {run.rounds} rounds"
    sys.stdout.write(f"{machine}, ours: {run.ours}\n\n{table(rows)}\n")
    if options.json:
        content = [dataclasses.asdict(row) | {"reached": row.reached} for row in rows]
        options.json.write_text(json.dumps({"machine": machine, "ours": run.ours, "rows": content}, indent=1))


if __name__ == "__main__":
    main()

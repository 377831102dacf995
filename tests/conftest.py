"""Fixtures for all tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.station import Station, running_station

MakeStation = Callable[[str], Station]


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    """A charge point that has just started, with a broker and without a CSMS."""
    with running_station(tmp_path / "station") as one:
        yield one


@pytest.fixture
def make_station(tmp_path: Path) -> Iterator[MakeStation]:
    """A charge point with more in its configuration file."""
    with ExitStack() as stack:
        yield lambda config: stack.enter_context(running_station(tmp_path / "station", config))

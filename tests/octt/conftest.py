"""A charger that is registered and free, and its CSMS."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.octt.central_system import CentralSystem
from tests.octt.charger import Charger


@pytest.fixture
def charger(tmp_path: Path) -> Iterator[Charger]:
    one = Charger(tmp_path / "charger")
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def cs(charger: Charger) -> Iterator[CentralSystem]:
    """The charge point has booted; at the end of a case everything it sent must have been expected."""
    one = CentralSystem(charger)
    charger.power_on()
    one.expect("BootNotification")
    one.expect_statuses("Available", "Available", "Available")
    yield one
    one.expect_nothing()

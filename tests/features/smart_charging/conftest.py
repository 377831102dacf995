"""Sites that are online."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.features.smart_charging.site import Site, running_site

MakeSite = Callable[..., Site]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Two connectors."""
    with running_site(tmp_path / "site") as one:
        yield one


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """More in the configuration file, another number of connectors."""
    with ExitStack() as stack:
        yield lambda config="", connectors=2: stack.enter_context(running_site(tmp_path / "site", config, connectors))

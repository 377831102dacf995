"""Sites."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.features.transactions.site import CONFIG, Site

MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """A site with more in its configuration file."""
    with ExitStack() as stack:
        yield lambda config="", base=CONFIG: stack.enter_context(closing(Site(tmp_path / "station", config + base)))


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """Registered, everything told, one unplugged connector whose meter stands at 1000 Wh."""
    site = make_site()
    site.unplug()
    site.meter(1000)
    site.connect()
    return site

"""Each test has a site of its own; nothing is shared."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.broker import Broker
from tests.end_to_end.daemon import Daemon, Sections
from tests.end_to_end.site import IMPATIENT, Site
from tests.mqtt_client import LocalProgram
from tests.scripted_csms import ScriptedCsms

MakeSite = Callable[..., Site]
Prepare = Callable[..., Daemon]


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as one:
        yield one


@pytest.fixture
def csms() -> Iterator[ScriptedCsms]:
    with ScriptedCsms() as one:
        yield one


@pytest.fixture
def program(broker: Broker) -> Iterator[LocalProgram]:
    """A local program that has heard everything since before the daemon started."""
    with LocalProgram(broker.port) as one:
        one.subscribe("ocpp16/#")
        yield one


@pytest.fixture
def prepare(tmp_path: Path, broker: Broker, csms: ScriptedCsms) -> Iterator[Prepare]:
    """A daemon that is configured and not yet started; keywords are sections of its configuration file."""
    with ExitStack() as stack:

        def make(*, wrapper: Sequence[str] = (), **sections: object) -> Daemon:
            daemon = Daemon(tmp_path / "daemon", with_addresses(broker, csms, sections), wrapper)
            return stack.enter_context(daemon)

        yield make


def with_addresses(broker: Broker, csms: ScriptedCsms, sections: Sections) -> Sections:
    return {
        **sections,
        "csms": {"url": csms.url, **IMPATIENT, **sections.get("csms", {})},
        "mqtt": {"port": broker.port, **sections.get("mqtt", {})},
    }


@pytest.fixture
def make_site(broker: Broker, csms: ScriptedCsms, program: LocalProgram, prepare: Prepare) -> MakeSite:
    """A charge point that the CSMS has accepted; keywords are sections of its configuration file."""

    def make(**sections: object) -> Site:
        site = Site(broker, csms, program, prepare(**sections))
        site.daemon.start()
        site.await_registration()
        site.await_topic("state", "online")
        return site

    return make


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A charge point that the CSMS has accepted."""
    return make_site()

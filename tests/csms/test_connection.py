import asyncio
import json
import logging
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from ocpp16_bridge.csms import connection as module
from ocpp16_bridge.csms.back_off import BackOff
from ocpp16_bridge.csms.connection import ConnectFailure, Connection, Target
from tests.scripted_csms import ScriptedCsms

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
PATIENCE = 5.0  # s, for what comes much sooner
SECRET = "Basic c2VjcmV0"


class Recorder:
    """A session that remembers what it was told, and does for a test what that asks for."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.told: list[tuple[str, Any]] = []
        self.reactions: dict[str, Callable[[], None]] = {}

    def csms_connected(self) -> None:
        self._note("connected", None)

    def csms_received(self, frame: str) -> None:
        self._note("received", frame)

    def csms_received_unusable(self, kind: str) -> None:
        self._note("unusable", kind)

    def csms_disconnected(self, reason: str) -> None:
        self._note("disconnected", reason)

    def csms_refused(self, failure: ConnectFailure) -> None:
        self._note("refused", failure)

    def _note(self, what: str, detail: object) -> None:
        with self.changed:
            self.told.append((what, detail))
            self.changed.notify_all()
        if what in self.reactions:
            self.reactions[what]()

    def names(self) -> list[str]:
        return [what for what, _ in self.told]

    def wait_for(self, what: str, count: int = 1) -> Any:
        """The detail of the `count`-th time it was told."""
        with self.changed:
            came = self.changed.wait_for(lambda: self.names().count(what) >= count, PATIENCE)
        assert came, f"{what} was not told {count} times: {self.told}"
        return [detail for name, detail in self.told if name == what][count - 1]


class ChargePoint:
    """The connection under test, run in a thread so that tests read from top to bottom."""

    def __init__(self, url: str, back_off: BackOff | None = None, *, opened: bool = True, **options: Any) -> None:
        self.target: Callable[[], Target] = lambda: Target(url, (("Authorization", SECRET),))
        self.session = Recorder()
        self.ping_interval = 0.0
        self.failure: BaseException | None = None
        self.connection = Connection(
            lambda: self.target(),  # noqa: PLW0108 - tests replace it later
            self.session,
            back_off or BackOff(0.02, 0, 0, lambda: 0.0),
            lambda: self.ping_interval,
            lambda: NOW,
            **options,
        )
        self._opened = opened
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self._task = self._loop.create_task(self.connection.run())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        except BaseException as error:  # noqa: BLE001 - for the test to look at
            self.failure = error
        self.left_over = asyncio.all_tasks(self._loop)
        self._loop.close()

    def do(self, *work: Callable[[], object]) -> None:
        """Do it in the thread of the connection, all in one turn of its loop."""

        async def do() -> None:
            for step in work:
                step()

        asyncio.run_coroutine_threadsafe(do(), self._loop).result(PATIENCE)

    def send(self, *frames: str) -> None:
        self.do(*(partial(self.connection.send, frame) for frame in frames))

    def cancel(self) -> float:
        """End by cancellation; how long that took, s."""
        began = time.monotonic()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the connection did not end"
        return time.monotonic() - began

    def wait_for_end(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the connection did not end"

    def __enter__(self) -> Self:
        if self._opened:
            self.connection.open()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()
        assert not self.left_over
        told = self.session.names()
        assert told.count("disconnected") == told.count("connected")


@contextmanager
def server_that(handle: Callable[[socket.socket], object]) -> Iterator[str]:
    """A TCP server for answers that no websocket library gives; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    handle(peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/ocpp/CP"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE)


@pytest.fixture
def csms() -> Iterator[ScriptedCsms]:
    with ScriptedCsms(tolerant=True) as csms:
        yield csms


@pytest.fixture
def charge_point(csms: ScriptedCsms) -> Iterator[ChargePoint]:
    with ChargePoint(f"{csms.url}/CP") as charge_point:
        yield charge_point


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key for 127.0.0.1, signed by itself."""
    file = tmp_path_factory.mktemp("tls") / "csms.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=csms", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
            *("-keyout", file, "-out", file.with_suffix(".crt")),
        ],
        check=True,
        capture_output=True,
    )
    file.write_bytes(file.read_bytes() + file.with_suffix(".crt").read_bytes())
    return file


# The upgrade


def test_the_upgrade_offers_ocpp16_only_with_the_given_path_and_headers(
    csms: ScriptedCsms, charge_point: ChargePoint
) -> None:
    """TR-01, TR-05, TR-09, TR-49."""
    charge_point.session.wait_for("connected")

    upgrade = csms.wait_for_connection()
    assert (upgrade.path, upgrade.subprotocols) == ("/ocpp/CP", ["ocpp1.6"])
    assert upgrade.headers["authorization"] == SECRET
    assert "sec-websocket-extensions" not in upgrade.headers
    assert charge_point.connection.connected


@pytest.mark.parametrize("agreed", [None, "ocpp2.0.1", "ocpp1.6, ocpp2.0.1"], ids=["none", "another", "several"])
def test_a_subprotocol_that_is_not_ocpp16_is_no_connection(csms: ScriptedCsms, agreed: str | None) -> None:
    """TR-06."""
    csms.subprotocol = agreed
    with ChargePoint(csms.url) as charge_point:
        failure = charge_point.session.wait_for("refused", count=2)

        assert (failure.kind, failure.status) == ("handshake" if agreed and "," in agreed else "subprotocol", None)
        assert "connected" not in charge_point.session.names()


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (301, "not followed"),
        (307, "not followed"),
        (401, "csms.authorization_key"),
        (403, "csms.authorization_key"),
        (404, "charge_point.id"),
        (429, "patience"),
        (500, "no upgrade"),
        (503, "patience"),
    ],
)
def test_an_http_refusal_is_told_and_tried_again(csms: ScriptedCsms, status: int, advice: str) -> None:
    """TR-07, TR-08, TR-44."""
    with ScriptedCsms() as elsewhere:
        csms.refuse_with = (status, {"Location": elsewhere.url})
        with ChargePoint(csms.url) as charge_point:
            failure = charge_point.session.wait_for("refused", count=3)

            assert (failure.kind, failure.status, failure.retry_after) == ("http", status, None)
            assert f"HTTP {status}" in failure.reason
            assert advice in failure.reason
            assert elsewhere.attempts == []  # credentials would leak

            csms.refuse_with = None
            charge_point.session.wait_for("connected")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("86400", 3600),
        ("9" * 5000, 3600),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Mon, 02 Mar 2026 12:00:00 GMT", 3600),
        ("soon", None),
        ("-5", None),
    ],
    ids=["seconds", "none", "a day", "far too many", "date", "date past", "date tomorrow", "words", "negative"],
)
def test_retry_after_is_read_as_seconds_or_date_up_to_an_hour(
    csms: ScriptedCsms, header: str, seconds: float | None
) -> None:
    """TR-08, TR-45."""
    csms.refuse_with = (503, {"Retry-After": header})
    with ChargePoint(csms.url) as charge_point:
        assert charge_point.session.wait_for("refused").retry_after == seconds


def test_the_next_attempt_is_not_before_retry_after_and_still_spread(csms: ScriptedCsms) -> None:
    """TR-08, TR-45."""
    csms.refuse_with = (429, {"Retry-After": "1"})
    with ChargePoint(csms.url, BackOff(0.1, 0.1, 0, lambda: 0.5)):
        first, second = csms.wait_for_attempts(2)

        assert 1.15 <= second.at - first.at < 2


def test_a_server_that_never_answers_the_upgrade_is_given_up(csms: ScriptedCsms) -> None:
    csms.hang_upgrade = True
    with ChargePoint(csms.url, open_timeout=0.1) as charge_point:
        assert charge_point.session.wait_for("refused", count=2).kind == "timeout"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "handshake"),
        (b"220 ready for mail\r\n", "handshake"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", "http"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "handshake"),
    ],
    ids=["end of stream", "not http", "a web page", "no accept key"],
)
def test_what_is_no_websocket_server_is_tried_again(answer: bytes, kind: str) -> None:
    """TR-44."""

    def handle(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(answer)

    with server_that(handle) as url, ChargePoint(url) as charge_point:
        assert charge_point.session.wait_for("refused", count=2).kind == kind


def test_a_server_that_resets_the_connection_is_tried_again() -> None:
    """TR-44."""

    def reset(peer: socket.socket) -> None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with server_that(reset) as url, ChargePoint(url) as charge_point:
        charge_point.session.wait_for("refused", count=2)


@pytest.mark.parametrize(
    ("url", "kind", "advice"),
    [
        ("ws://127.0.0.1:1/ocpp", "network", "nobody listens there"),
        ("ws://csms.invalid/ocpp", "network", "host name"),
        ("http://127.0.0.1/ocpp?key=hidden", "url", "csms.url"),
        ("ws://127.0.0.1:99999/ocpp", "url", "csms.url"),
    ],
    ids=["refused", "no such name", "not a websocket", "no such port"],
)
def test_an_unreachable_csms_is_tried_again_and_the_reason_says_what_to_check(url: str, kind: str, advice: str) -> None:
    """TR-44."""
    with ChargePoint(url) as charge_point:
        failure = charge_point.session.wait_for("refused", count=2)

        assert failure.kind == kind
        assert advice in failure.reason
        assert "hidden" not in failure.reason


def test_a_certificate_that_cannot_be_read_is_a_failed_attempt(csms: ScriptedCsms, tmp_path: Path) -> None:
    charge_point = ChargePoint(csms.url)
    charge_point.target = lambda: Target(csms.url, ssl=ssl.create_default_context(cafile=str(tmp_path / "absent.pem")))
    with charge_point:
        charge_point.session.wait_for("refused", count=2)


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "not trusted"])
def test_tls_asks_for_a_trusted_certificate(certificate: Path, trusted: bool) -> None:
    """TR-10."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=str(certificate.with_suffix(".crt")) if trusted else None)
    with ScriptedCsms(ssl_context=server) as csms:
        charge_point = ChargePoint(csms.url)
        charge_point.target = lambda: Target(csms.url, ssl=client)
        with charge_point:
            if trusted:
                charge_point.session.wait_for("connected")
                charge_point.send('[3,"1",{}]')
                assert csms.wait_for_frame(lambda frame: frame[0] == 3) == [3, "1", {}]
            else:
                failure = charge_point.session.wait_for("refused", count=2)
                assert failure.kind == "tls"
                assert "csms.ca_file" in failure.reason


def test_tls_to_a_plain_server_is_a_failed_attempt(csms: ScriptedCsms) -> None:
    charge_point = ChargePoint(csms.url)
    charge_point.target = lambda: Target(csms.url.replace("ws:", "wss:"), ssl=ssl.create_default_context())
    with charge_point:
        failure = charge_point.session.wait_for("refused", count=2)

        assert (failure.kind, failure.reason) == ("network", "the CSMS cannot be reached (ConnectionResetError)")


def test_a_proxy_of_the_environment_is_not_used(csms: ScriptedCsms, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with ChargePoint(csms.url) as charge_point:
        charge_point.session.wait_for("connected")


# Wanted or not


def test_nothing_is_dialled_before_open(csms: ScriptedCsms) -> None:
    with ChargePoint(csms.url, opened=False) as charge_point:
        charge_point.do(charge_point.connection.redial)
        charge_point.send("[]")
        assert (csms.attempts, charge_point.session.told) == ([], [])

        charge_point.do(charge_point.connection.open)
        charge_point.session.wait_for("connected")


def test_close_sends_its_code_and_reason_and_stays_closed_until_open(
    csms: ScriptedCsms, charge_point: ChargePoint
) -> None:
    """TR-12."""
    charge_point.session.wait_for("connected")

    charge_point.do(lambda: charge_point.connection.close(1000, "stopped" * 50))

    reason = charge_point.session.wait_for("disconnected")
    csms.wait_until(lambda: csms.connections[0].closed_at is not None)
    assert (csms.connections[0].close_code, str(csms.connections[0].close_reason)[:14]) == (1000, "stoppedstopped")
    assert "1000" in reason
    assert not charge_point.connection.connected
    charge_point.do(charge_point.connection.open)
    csms.wait_for_connection(2)
    assert len(csms.attempts) == 2


def test_close_and_open_at_once_is_a_new_connection(csms: ScriptedCsms, charge_point: ChargePoint) -> None:
    charge_point.session.wait_for("connected")

    charge_point.do(charge_point.connection.close, charge_point.connection.open)

    charge_point.session.wait_for("connected", count=2)
    assert charge_point.session.names() == ["connected", "disconnected", "connected"]
    assert len(csms.attempts) == 2


def test_redial_makes_a_new_connection_to_the_target_of_now_without_a_wait(csms: ScriptedCsms) -> None:
    """SE-06, SE-12."""
    with ChargePoint(csms.url, BackOff(60, 0, 0, lambda: 0.0)) as charge_point:
        charge_point.session.wait_for("connected")
        charge_point.target = lambda: Target(csms.url, (("Authorization", "Basic bmV3"),))

        charge_point.do(lambda: charge_point.connection.redial(1000, "new key"))

        assert csms.wait_for_connection(2).headers["authorization"] == "Basic bmV3"
        assert csms.connections[0].close_reason == "new key"


@pytest.mark.parametrize("command", ["open", "redial"])
def test_the_wait_for_the_next_attempt_ends_by(csms: ScriptedCsms, command: str) -> None:
    csms.refuse_with = (503, {"Retry-After": "60"})
    with ChargePoint(csms.url) as charge_point:
        charge_point.session.wait_for("refused")
        csms.refuse_with = None

        charge_point.do(getattr(charge_point.connection, command))

        charge_point.session.wait_for("connected")


def test_close_ends_the_wait_for_the_next_attempt_for_good(csms: ScriptedCsms) -> None:
    csms.refuse_with = (503, {})
    with ChargePoint(csms.url, BackOff(60, 0, 0, lambda: 0.0)) as charge_point:
        charge_point.session.wait_for("refused")
        charge_point.do(charge_point.connection.close)
        csms.refuse_with = None

        charge_point.do(charge_point.connection.open)

        charge_point.session.wait_for("connected")


def test_open_changes_nothing_while_connected(csms: ScriptedCsms, charge_point: ChargePoint) -> None:
    charge_point.session.wait_for("connected")

    charge_point.do(charge_point.connection.open)

    csms.ping()
    assert charge_point.session.names() == ["connected"]


def test_close_gives_up_a_dial_in_progress(csms: ScriptedCsms) -> None:
    csms.hang_upgrade = True
    with ChargePoint(csms.url) as charge_point:
        csms.wait_for_attempts(1)
        charge_point.do(charge_point.connection.close)
        csms.hang_upgrade = False

        charge_point.do(charge_point.connection.open)

        charge_point.session.wait_for("connected")
        assert "refused" not in charge_point.session.names()


def test_a_session_may_redial_when_refused(csms: ScriptedCsms) -> None:
    """SE-07: back to the former security profile."""
    csms.refuse_with = (401, {})
    charge_point = ChargePoint(csms.url, BackOff(60, 0, 0, lambda: 0.0))

    def use_former_profile() -> None:
        csms.refuse_with = None
        charge_point.connection.redial()

    charge_point.session.reactions["refused"] = use_former_profile
    with charge_point:
        charge_point.session.wait_for("connected")


# Frames


def test_text_frames_arrive_in_order_and_others_are_told(csms: ScriptedCsms, charge_point: ChargePoint) -> None:
    charge_point.session.wait_for("connected")

    for frame in ("one", b"\x00\xff", "two"):
        csms.send_raw(frame)

    charge_point.session.wait_for("received", count=2)
    assert charge_point.session.told[1:] == [("received", "one"), ("unusable", "binary"), ("received", "two")]


def test_frames_sent_leave_in_order(csms: ScriptedCsms, charge_point: ChargePoint) -> None:
    charge_point.session.wait_for("connected")

    charge_point.send(*(f'[3,"{n}",{{}}]' for n in range(2000)))

    csms.wait_until(lambda: len(csms.frames) == 2000)
    assert [frame[1] for frame in csms.frames] == [str(n) for n in range(2000)]


def test_frames_can_be_sent_from_the_first_moment(csms: ScriptedCsms) -> None:
    charge_point = ChargePoint(csms.url)
    charge_point.session.reactions["connected"] = lambda: charge_point.connection.send('[3,"first",{}]')
    with charge_point:
        csms.wait_for_frame(lambda frame: frame[1] == "first")


def test_what_was_sent_goes_out_before_the_close(csms: ScriptedCsms, charge_point: ChargePoint) -> None:
    charge_point.session.wait_for("connected")

    frame = json.dumps([3, "1", {"padding": "x" * 10_000}])
    charge_point.do(*[partial(charge_point.connection.send, frame)] * 100, charge_point.connection.close)

    csms.wait_until(lambda: csms.connections[0].closed_at is not None)
    assert len(csms.frames) == 100


def test_many_frames_at_once_leave_other_tasks_their_turn(csms: ScriptedCsms, charge_point: ChargePoint) -> None:
    charge_point.session.wait_for("connected")
    received = charge_point.session.told
    seen_between: list[int] = []

    async def watch() -> None:
        while len(received) <= 200:
            seen_between.append(len(received))
            await asyncio.sleep(0)

    watching = asyncio.run_coroutine_threadsafe(watch(), charge_point._loop)
    blocked = threading.Event()
    charge_point._loop.call_soon_threadsafe(blocked.wait, PATIENCE)  # all are there when the reading begins
    for n in range(200):
        csms.send_raw(str(n))
    blocked.set()

    watching.result(PATIENCE)
    charge_point.session.wait_for("received", count=200)
    steps = [later - earlier for earlier, later in pairwise(seen_between)]
    assert max(steps) <= module.FRAMES_IN_A_ROW


def test_an_error_in_the_session_is_logged_and_the_connection_goes_on(
    csms: ScriptedCsms, charge_point: ChargePoint, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise KeyError("a bug")

    charge_point.session.wait_for("connected")
    charge_point.session.reactions["received"] = fail

    csms.send_raw("one")
    csms.send_raw("two")

    charge_point.session.wait_for("received", count=2)
    assert "a bug" in caplog.text
    assert charge_point.connection.connected


def test_memory_that_is_used_up_ends_the_connection_with_an_error(csms: ScriptedCsms) -> None:
    def fail() -> None:
        raise MemoryError

    with ChargePoint(csms.url) as charge_point:
        charge_point.session.reactions["received"] = fail
        charge_point.session.wait_for("connected")

        csms.send_raw("one")

        charge_point.wait_for_end()
        assert isinstance(charge_point.failure, ExceptionGroup)
        assert isinstance(charge_point.failure.exceptions[0], MemoryError)
        csms.wait_until(lambda: csms.connections[0].closed_at is not None)
        assert csms.connections[0].close_code == 1011


def test_a_message_of_half_a_mebibyte_is_received(csms: ScriptedCsms, charge_point: ChargePoint) -> None:
    """TR-50."""
    charge_point.session.wait_for("connected")

    csms.send_raw("x" * 2**19)

    assert len(charge_point.session.wait_for("received")) == 2**19


@pytest.mark.parametrize(
    ("frame", "code"), [("x" * (2**20 + 1), 1009), (b"\x81\x02\xff\xff", 1007)], ids=["too big", "not UTF-8"]
)
def test_a_frame_that_cannot_be_taken_closes_the_connection_and_it_is_made_again(
    csms: ScriptedCsms, charge_point: ChargePoint, frame: str | bytes, code: int
) -> None:
    """TR-50; RFC 6455, 8.1."""
    charge_point.session.wait_for("connected")

    if isinstance(frame, str):
        csms.send_raw(frame)
    else:
        csms._loop.call_soon_threadsafe(csms._open_socket().transport.write, frame)

    csms.wait_until(lambda: csms.connections[0].closed_at is not None)
    assert csms.connections[0].close_code == code
    charge_point.session.wait_for("connected", count=2)


def test_a_link_that_takes_nothing_is_made_again_before_memory_runs_out(
    csms: ScriptedCsms, charge_point: ChargePoint
) -> None:
    charge_point.session.wait_for("connected")
    csms.freeze_connection()

    charge_point.send(*["x" * 2**20] * 24)

    assert "waits to be sent" in charge_point.session.wait_for("disconnected")
    charge_point.session.wait_for("connected", count=2)


# Pings


def test_pings_of_the_csms_are_answered_whatever_the_interval(csms: ScriptedCsms, charge_point: ChargePoint) -> None:
    """TR-11."""
    charge_point.session.wait_for("connected")

    csms.ping()


def test_a_link_without_pong_is_cut_and_made_again(csms: ScriptedCsms) -> None:
    """TR-42."""
    charge_point = ChargePoint(csms.url)
    charge_point.ping_interval = 0.1
    with charge_point:
        charge_point.session.wait_for("connected")
        csms.freeze_connection()

        assert "no pong within 0.1 s" in charge_point.session.wait_for("disconnected")
        charge_point.session.wait_for("connected", count=2)


def test_pongs_keep_the_connection(csms: ScriptedCsms) -> None:
    """TR-41."""
    asked = threading.Semaphore(0)
    charge_point = ChargePoint(csms.url)

    def ping_interval() -> float:
        asked.release()
        return 0.02

    charge_point.connection._ping_interval = ping_interval
    with charge_point:
        for _ in range(10):
            assert asked.acquire(timeout=PATIENCE)

        assert charge_point.session.names() == ["connected"]


def test_a_changed_interval_applies_at_once(csms: ScriptedCsms) -> None:
    """TR-43."""
    charge_point = ChargePoint(csms.url)
    charge_point.ping_interval = 3600
    with charge_point:
        charge_point.session.wait_for("connected")
        csms.freeze_connection()
        charge_point.ping_interval = 0.05

        charge_point.do(charge_point.connection.ping_interval_changed)

        assert "no pong" in charge_point.session.wait_for("disconnected")


def test_interval_0_sends_no_pings(csms: ScriptedCsms, charge_point: ChargePoint) -> None:
    """TR-41."""
    charge_point.session.wait_for("connected")
    csms.freeze_connection()

    charge_point.do(charge_point.connection.ping_interval_changed)

    with charge_point.session.changed:
        assert not charge_point.session.changed.wait_for(lambda: len(charge_point.session.told) > 1, 0.3)


# Again and again


@pytest.mark.parametrize("end", ["closed", "cut", "away"])
def test_a_lost_connection_is_told_and_made_again(csms: ScriptedCsms, charge_point: ChargePoint, end: str) -> None:
    """TR-44."""
    charge_point.session.wait_for("connected")

    match end:
        case "closed":
            csms.close_connection(1001, "restart")
        case "cut":
            csms.abort_connection()
        case _:
            csms.stop()
            charge_point.session.wait_for("refused")
            csms.start()

    charge_point.session.wait_for("disconnected")
    charge_point.session.wait_for("connected", count=2)


def test_waits_grow_when_the_csms_accepts_and_closes_at_once(csms: ScriptedCsms) -> None:
    """TR-45: a handshake alone is no success."""
    csms.close_at_once = True
    with ChargePoint(csms.url, BackOff(0.05, 0, 3, lambda: 0.0)):
        first, second, third, fourth = (attempt.at for attempt in csms.wait_for_attempts(4))

        assert second - first >= 0.05
        assert third - second >= 0.1
        assert fourth - third >= 0.2


def test_an_answer_begins_the_series_of_waits_again(csms: ScriptedCsms) -> None:
    """TR-45."""
    csms.close_at_once = True
    with ChargePoint(csms.url, BackOff(0.01, 0, 20, lambda: 0.0)) as charge_point:
        csms.wait_for_attempts(6)  # the next wait is 0.32 s, and 0.64 s after that
        charge_point.do(charge_point.connection.answered)

        *_, seventh, eighth = csms.wait_for_attempts(8)
        assert eighth.at - seventh.at < 0.2


# The end


def test_cancellation_closes_with_1001_after_what_was_sent(csms: ScriptedCsms, charge_point: ChargePoint) -> None:
    """TR-12."""
    charge_point.session.wait_for("connected")
    charge_point.send('[3,"last",{}]')

    assert charge_point.cancel() < 0.5

    csms.wait_until(lambda: csms.connections[0].closed_at is not None)
    assert csms.connections[0].close_code == 1001
    assert csms.frames == [[3, "last", {}]]
    assert charge_point.session.names() == ["connected", "disconnected"]


def test_cancellation_does_not_wait_for_a_link_that_is_half_open(csms: ScriptedCsms, charge_point: ChargePoint) -> None:
    charge_point.session.wait_for("connected")
    csms.freeze_connection()
    charge_point.send("x" * 2**22)

    assert charge_point.cancel() < 0.9


def test_what_the_session_does_at_the_end_does_not_cut_the_farewell_short(
    csms: ScriptedCsms, charge_point: ChargePoint
) -> None:
    charge_point.session.wait_for("connected")
    charge_point.session.reactions["disconnected"] = charge_point.connection.close

    charge_point.cancel()

    csms.wait_until(lambda: csms.connections[0].closed_at is not None)
    assert csms.connections[0].close_code == 1001


@pytest.mark.parametrize("stage", ["not wanted", "dial", "wait"])
def test_cancellation_ends_every_stage(csms: ScriptedCsms, stage: str) -> None:
    csms.hang_upgrade = stage == "dial"
    csms.refuse_with = (503, {"Retry-After": "60"})
    with ChargePoint(csms.url, opened=stage != "not wanted") as charge_point:
        if stage == "dial":
            csms.wait_for_attempts(1)
        if stage == "wait":
            charge_point.session.wait_for("refused")

        assert charge_point.cancel() < 0.5


# The log


def test_the_log_warns_of_the_first_failure_and_then_of_every_power_of_two(
    csms: ScriptedCsms, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    csms.refuse_with = (404, {})
    with ChargePoint(csms.url, BackOff(0.005, 0, 0, lambda: 0.0)) as charge_point:
        charge_point.session.wait_for("refused", count=10)

    warned = [re.search(r"so far: (\d+)", record.message) for record in caplog.records]
    assert [match[1] for match in warned if match] == ["1", "2", "4", "8"]
    assert "HTTP 404: the CSMS does not know this charge point identity" in caplog.text
    assert "next attempt in 0.0 s" in caplog.text


def test_the_log_holds_no_secret_even_at_debug(csms: ScriptedCsms, caplog: pytest.LogCaptureFixture) -> None:
    """SE-13."""
    caplog.set_level(logging.DEBUG)
    with ChargePoint(f"{csms.url}?token=hidden") as charge_point:
        charge_point.session.wait_for("connected")
        csms.close_connection(1000, "two\nlines")
        charge_point.session.wait_for("connected", count=2)
        target = charge_point.target()

    assert csms.attempts[0].path == "/ocpp?token=hidden"
    own = [record.getMessage() for record in caplog.records if record.name.startswith("ocpp16_bridge")]
    assert any(f"Connected to {csms.url}" in line for line in own)
    assert any("two lines" in line for line in own)
    assert not [line for line in [*own, repr(target)] if SECRET in line or "c2VjcmV0" in line]
    assert not [line for line in own if "hidden" in line]

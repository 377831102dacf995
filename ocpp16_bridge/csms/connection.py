"""The websocket to the CSMS: connect, carry, connect again (OCPP-J 1.6, 3; obligations 1.1 and 1.4)."""

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import Literal, NamedTuple, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import broadcast
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, NegotiationError, WebSocketException
from websockets.http11 import Response
from websockets.typing import Subprotocol

from ocpp16_bridge.csms.back_off import BackOff

SUBPROTOCOL = Subprotocol("ocpp1.6")  # TR-05
OPEN_TIMEOUT = 25.0  # s for name, TCP, TLS and upgrade together
CLOSE_TIMEOUT = 0.5  # s for the closing handshake, then the link is cut
LONGEST_PONG_WAIT = 30.0  # s (TR-42)
LONGEST_RETRY_AFTER = 3600.0  # s (TR-45)
MAX_MESSAGE = 2**20  # bytes; a bigger one closes the connection with 1009 (TR-50)
MAX_UNSENT = 8 * 2**20  # bytes; a link that takes nothing for so long is dead
FRAMES_IN_A_ROW = 16  # then other tasks have a turn, however many more have arrived

Kind = Literal["http", "subprotocol", "tls", "timeout", "network", "handshake", "url"]

GOING_AWAY = (1001, "")  # the process ends (TR-12)
INTERNAL_ERROR = (1011, "")

logger = logging.getLogger(__name__)
# At DEBUG websockets writes the headers of the upgrade, and with them the authorization key, into its log.
_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.INFO)


@dataclass(frozen=True)
class Target:
    """Where and how to dial; made afresh for every attempt.

    Args:
        url: complete, with the identity (TR-02); no user information in it.
        headers: of the upgrade request, e.g. Authorization (TR-09); never logged.
        ssl: with ``wss``, and only then.

    """

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ssl: SSLContext | None = None


class ConnectFailure(NamedTuple):
    """Why an attempt to connect failed: one line without secrets that says what to do, and what a program can read."""

    reason: str
    status: int | None = None  # HTTP
    retry_after: float | None = None  # s, at most LONGEST_RETRY_AFTER
    kind: Kind = "network"


class Session(Protocol):
    """Whom the connection tells: synchronously, in the order of events.

    An exception is logged, and the connection goes on.
    """

    def csms_connected(self) -> None:
        """The handshake is done and the subprotocol agreed: frames can be sent."""

    def csms_received(self, frame: str) -> None: ...

    def csms_received_unusable(self, kind: str) -> None:
        """A message came that is no text; `kind` says what, e.g. ``binary``."""

    def csms_disconnected(self, reason: str) -> None:
        """Exactly once for every `csms_connected`."""

    def csms_refused(self, failure: ConnectFailure) -> None:
        """An attempt to connect failed; another one follows."""


class Connection:
    """One connection to the CSMS, made again and again while it is wanted; at first it is not.

    Args:
        target: where to dial, asked before every attempt; a certificate or key it cannot read is a failed attempt.
        session: whom to tell.
        back_off: waits between attempts; its series starts again with `answered`.
        ping_interval: WebSocketPingInterval, s; 0 for no pings.
        now: for a Retry-After that names a moment.
        open_timeout: s for one attempt.

    """

    def __init__(
        self,
        target: Callable[[], Target],
        session: Session,
        back_off: BackOff,
        ping_interval: Callable[[], float],
        now: Callable[[], datetime],
        open_timeout: float = OPEN_TIMEOUT,
    ) -> None:
        self._target = target
        self._session = session
        self._back_off = back_off
        self._ping_interval = ping_interval
        self._now = now
        self._open_timeout = open_timeout
        self._wanted = asyncio.Event()
        self._interval_changed = asyncio.Event()
        self._ws: ClientConnection | None = None  # while connected
        self._url = ""  # of the last attempt, fit for the log
        self._failures = 0  # since the CSMS answered last
        self._waiting = False  # for the next attempt
        self._scope: asyncio.Timeout | None = None  # around what can be interrupted
        self._farewell = GOING_AWAY  # close code and reason when interrupted or cancelled

    @property
    def connected(self) -> bool:
        return self._ws is not None

    async def run(self) -> None:
        """Dial, carry and dial again; ends by cancellation only, then closes with 1001 in well under a second."""
        while True:
            await self._wanted.wait()
            self._farewell = GOING_AWAY
            with contextlib.suppress(TimeoutError):  # interrupted: see what is wanted now
                async with asyncio.timeout(None) as self._scope:
                    await self._attempt()

    def open(self) -> None:
        """Want a connection: dial at once if there is none, whatever is left of the wait for the next attempt."""
        self._wanted.set()
        if self._waiting:
            self._interrupt(GOING_AWAY)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Want no connection until `open`; what was sent before goes out first, a dial in progress is given up."""
        self._wanted.clear()
        self._interrupt((code, reason))

    def redial(self, code: int = 1000, reason: str = "") -> None:
        """Close and dial again without a wait, e.g. with other credentials. Nothing happens if none is wanted."""
        if self._wanted.is_set():
            self._interrupt((code, reason))

    def send(self, frame: str) -> None:
        """Send after all that was sent before; dropped when not connected."""
        if self._ws is None:
            logger.debug("Not connected to the CSMS: dropped %s characters", len(frame))
        elif self._ws.transport.get_write_buffer_size() > MAX_UNSENT:
            self.redial(reason="too much waits to be sent")
        else:
            # Half the cost of driving send(), which waits for the buffer; the limit above does that here.
            broadcast((self._ws,), frame)

    def answered(self) -> None:
        """The CSMS answered a CALL: the link is good, waits are short again (TR-45)."""
        self._back_off.reset()
        self._failures = 0

    def ping_interval_changed(self) -> None:
        """Ask for the ping interval again now (TR-43)."""
        self._interval_changed.set()

    def _interrupt(self, farewell: tuple[int, str]) -> None:
        """Leave what `run` is at, once: a farewell that has begun is not cut short by a second interruption."""
        if self._scope is not None:
            self._farewell = farewell
            self._scope.reschedule(asyncio.get_running_loop().time())
            self._scope = None

    async def _attempt(self) -> None:
        """Dial, carry as long as it lasts, then wait until the next attempt is due."""
        try:
            ws = await self._dial()
        except (OSError, WebSocketException, ValueError) as error:
            failure = _failure(error, self._now())
            self._tell(self._session.csms_refused, failure)
            await self._wait(failure.reason, failure.retry_after or 0.0)
        else:
            await self._wait(await self._carry(ws), 0.0)

    async def _dial(self) -> ClientConnection:
        target = self._target()
        self._url = re.sub(r"\?.*", "", target.url)  # queries may hold secrets
        ws = await _Dial(
            target.url,
            subprotocols=[SUBPROTOCOL],
            additional_headers=target.headers,
            compression=None,  # TR-49
            proxy=None,
            open_timeout=self._open_timeout,
            ping_interval=None,  # we ping, so that a changed interval applies at once
            close_timeout=CLOSE_TIMEOUT,
            max_size=MAX_MESSAGE,
            logger=_quiet,
            happy_eyeballs_delay=0.25,  # s; an address that swallows packets leaves time for the next one
            ssl=target.ssl,
        )
        if ws.subprotocol != SUBPROTOCOL:  # websockets lets a missing one pass (TR-06)
            await _hang_up(ws, 1002, "ocpp1.6 was not agreed")
            raise NegotiationError("no subprotocol agreed")
        return ws

    async def _carry(self, ws: ClientConnection) -> str:
        """Have frames in and out until the connection ends by itself; the reason why it did."""
        farewell, reason = INTERNAL_ERROR, "internal error"
        self._ws = ws
        logger.info("Connected to %s", self._url)
        try:
            self._tell(self._session.csms_connected)
            async with asyncio.TaskGroup() as group:
                pings = group.create_task(self._keep_alive(ws), name="csms pings")
                reason = await self._receive(ws)
                pings.cancel()
        except asyncio.CancelledError:
            self._scope = None
            farewell = self._farewell
            reason = f"closed by the charge point: {farewell[0]} {farewell[1]}".rstrip()
            raise
        finally:
            self._ws = None
            logger.info("Disconnected from %s: %s", self._url, reason)
            self._tell(self._session.csms_disconnected, reason)
            await _hang_up(ws, *farewell)
        return reason

    async def _receive(self, ws: ClientConnection) -> str:
        """Hand on every message until the connection is closed; the reason why it was."""
        tcp = ws.transport.get_extra_info("socket")
        received = 0
        try:
            while True:
                frame = await ws.recv()
                # Linux forgets it after a while. Without it a CSMS with Nagle's algorithm waits 40 ms for our ACK.
                with contextlib.suppress(OSError):  # closed already, with messages left to read
                    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                if isinstance(frame, str):
                    self._tell(self._session.csms_received, frame)
                else:
                    self._tell(self._session.csms_received_unusable, "binary")
                received += 1
                if received % FRAMES_IN_A_ROW == 0:  # recv() does not wait while messages lie ready
                    await asyncio.sleep(0)
        except ConnectionClosed as closed:
            return _one_line(str(closed))

    async def _keep_alive(self, ws: ClientConnection) -> None:
        """Ping at every interval; hang up if no pong comes: the link is half open (TR-41, TR-42)."""
        while True:
            interval = self._ping_interval()
            if await self._interval_changes_within(interval):
                continue
            patience = min(interval, LONGEST_PONG_WAIT)
            try:
                async with asyncio.timeout(patience):
                    await (await ws.ping())
            except TimeoutError:
                await _hang_up(ws, 1000, f"no pong within {patience:g} s")
                return
            except ConnectionClosed:
                return

    async def _interval_changes_within(self, interval: float) -> bool:
        self._interval_changed.clear()
        try:
            async with asyncio.timeout(interval or None):
                return await self._interval_changed.wait()
        except TimeoutError:
            return False

    async def _wait(self, reason: str, at_least: float) -> None:
        """Wait for the next attempt; the back-off comes on top of `at_least`, s, so that a fleet spreads out."""
        self._failures += 1
        wait = at_least + self._back_off.next_wait()
        is_power_of_two = self._failures & (self._failures - 1) == 0
        logger.log(
            logging.WARNING if is_power_of_two else logging.DEBUG,
            "No connection to %s: %s; next attempt in %.1f s (failures so far: %s)",
            self._url,
            reason,
            wait,
            self._failures,
        )
        self._waiting = True
        try:
            await asyncio.sleep(wait)
        finally:
            self._waiting = False

    @staticmethod
    def _tell(fact: Callable[..., None], *details: object) -> None:
        try:
            fact(*details)
        except MemoryError:
            raise
        except Exception:
            logger.exception("The connection goes on after an error in %s", fact)


class _Dial(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc  # a redirect followed would give our credentials away (TR-08)


async def _hang_up(ws: ClientConnection, code: int, reason: str) -> None:
    """Close in good order, or cut the link if that takes longer than CLOSE_TIMEOUT: the other end may be gone."""
    reason = reason.encode()[:123].decode(errors="ignore")  # RFC 6455, 5.5
    closing = asyncio.create_task(ws.close(code, reason), name="csms close")
    try:
        await asyncio.wait([closing], timeout=CLOSE_TIMEOUT)
    finally:
        ws.transport.abort()
    await closing


_ADVICE = {
    401: "the CSMS refuses the credentials: check csms.authorization_key",
    403: "the CSMS refuses the credentials: check csms.authorization_key",
    404: "the CSMS does not know this charge point identity: check charge_point.id and csms.url",
    429: "the CSMS asks for patience",
    503: "the CSMS asks for patience",
}

# The first that fits counts: some of these types are subtypes of later ones.
_MEANINGS: tuple[tuple[type[Exception], Kind, str], ...] = (
    (NegotiationError, "subprotocol", "the server does not speak ocpp1.6: check csms.url"),
    (InvalidURI, "url", "csms.url cannot be used"),
    (WebSocketException, "handshake", "what answers is no websocket server: check csms.url"),
    (SSLCertVerificationError, "tls", "the CSMS shows a certificate we don't trust: check csms.ca_file and the clock"),
    (SSLError, "tls", "TLS failed: check csms.url and the certificates"),
    (TimeoutError, "timeout", "the CSMS does not answer in time: check csms.url and the network"),
    (socket.gaierror, "network", "the host name is not found: check csms.url and the name server"),
    (ConnectionRefusedError, "network", "nobody listens there: check csms.url and whether the CSMS runs"),
    (OSError, "network", "the CSMS cannot be reached"),
    (ValueError, "url", "csms.url or a credential cannot be used"),
)


def _failure(error: Exception, now: datetime) -> ConnectFailure:
    """What `error`, raised by an attempt, means."""
    if isinstance(error, InvalidStatus):
        return _refusal(error.response, now)
    kind, meaning = next((kind, meaning) for type_, kind, meaning in _MEANINGS if isinstance(error, type_))
    text = error.msg if isinstance(error, InvalidURI) else str(error)  # not the URL, which may hold secrets
    detail = text or type(error).__name__
    return ConnectFailure(_one_line(f"{meaning} ({detail})"), kind=kind)


def _refusal(response: Response, now: datetime) -> ConnectFailure:
    """An HTTP answer that is no upgrade (TR-07, TR-08)."""
    status = response.status_code
    is_redirect = 300 <= status < 400  # noqa: PLR2004 - the class of redirections
    otherwise = "a redirect is not followed: put the final address into csms.url" if is_redirect else "no upgrade"
    retry_after = next(iter(response.headers.get_all("Retry-After")), "")
    return ConnectFailure(
        f"HTTP {status}: {_ADVICE.get(status, otherwise)}", status, _seconds_until(retry_after, now), "http"
    )


def _seconds_until(retry_after: str, now: datetime) -> float | None:
    """What Retry-After says, as seconds or as a date (RFC 9110, 10.2.3); None if it says nothing that can be read."""
    try:
        if retry_after.isdecimal():
            seconds = float(retry_after)
        else:
            moment = datetime.strptime(retry_after, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
            seconds = (moment - now).total_seconds()
    except ValueError:
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _one_line(text: str) -> str:
    """`text`, part of which the other end chose, fit for the log."""
    return "".join(character if character.isprintable() else " " for character in text)[:300]

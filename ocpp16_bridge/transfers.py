"""Files from and to the operator's servers: HTTP(S) and FTP(S) (OCPP 1.6, 5.9 and 5.19; obligations 8.4 and 8.5).

What talks to a server blocks and belongs into a thread; `in_attempts` puts it there. Libraries are loaded with the
first transfer. For `https` and `ftps` (explicit TLS) the system's certificates count, and those of `csms.ca_file`.
Redirects are not followed and proxies of the environment are not used: a file comes from where the CSMS says.
"""
# ruff: noqa: PLC0415 - most chargers never transfer a file: the memory is better used

import asyncio
import hashlib
import logging
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, TypeVar
from urllib.parse import SplitResult, quote, unquote, urlsplit

if TYPE_CHECKING:
    import ftplib
    import http.client

logger = logging.getLogger(__name__)

CHUNK = 64 * 1024  # bytes
MAX_FILE = 1 << 30  # bytes
RESERVE = 16 << 20  # bytes of the disk that stay free: the store needs them
SILENCE = 60.0  # s without a byte until a server counts as gone
LONGEST = 6 * 3600.0  # s for one attempt: a server that only drips must not hold us for ever
SCHEMES = ("ftp", "ftps", "http", "https")
_UNQUOTED = "/%:@!$&'()*+,;=~"  # stay as they are in a path

T = TypeVar("T")


class TransferError(Exception):
    """A transfer failed; the text has neither the URL nor its credentials, nor words of the server."""


@dataclass(frozen=True)
class Retries:
    """What the CSMS asks for, within reason."""

    number: int  # of attempts after the first (FW-03, DG-03)
    interval: int  # s

    @classmethod
    def of(cls, number: float | None, interval: float | None) -> Self:
        """3 and 60 s where the CSMS names none."""
        return cls(
            3 if number is None else int(min(max(number, 0), 100)),
            60 if interval is None else int(min(max(interval, 0), 86400)),
        )


async def in_attempts(
    transfer: "Transfer", work: Callable[[], T], retries: Retries, pause: Callable[[float, str], Awaitable[None]]
) -> T | None:
    """What ``work`` returns as soon as it succeeds; None where it never did, or the transfer was cancelled.

    Whoever cancels this ends the transfer, too.
    """
    try:
        for attempt in range(retries.number + 1):
            if attempt:
                await pause(retries.interval, "retryInterval")
            if transfer.is_cancelled:
                break
            try:
                return await asyncio.to_thread(work)
            except TransferError as error:
                logger.warning("transfer, attempt %s of %s: %s", attempt + 1, retries.number + 1, error)
        return None
    finally:
        transfer.cancel()


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


class Transfer:
    """One file on its way, in as many attempts as it takes. `cancel` ends it soon, from any thread."""

    def __init__(
        self,
        url: str,
        monotonic: Callable[[], float],
        ca_file: Path | None = None,
        *,
        silence: float = SILENCE,
        longest: float = LONGEST,
        largest: int = MAX_FILE,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._url = url
        self._monotonic = monotonic
        self._ca_file = ca_file
        self._silence = silence
        self._longest = longest
        self._largest = largest
        self._free = free
        self._deadline = inf
        self._cancelled = threading.Event()
        self._sockets: list[socket.socket] = []
        self._version = ""  # of the file on the server that an earlier attempt has fetched a part of

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        self._cancelled.set()
        for one in tuple(self._sockets):
            with suppress(OSError):  # it is closed
                socket.socket.shutdown(one, socket.SHUT_RDWR)  # wakes the thread; TLS needs no farewell here

    def download(self, path: Path) -> str:
        """Fetch the file into ``path`` and return its SHA-256.

        It goes on where an earlier attempt stopped, where the server says that it still has the same file.

        Raises:
            TransferError: it failed, or was cancelled.

        """
        with self._attempt() as parts:
            (self._http_download if parts.scheme.startswith("http") else self._ftp_download)(parts, path)
            return sha256(path)

    def upload(self, path: Path, name: str) -> bool:
        """Put the file under ``name`` into the folder that the URL names; True.

        Raises:
            TransferError: it failed, or was cancelled.

        """
        with self._attempt() as parts:
            (self._http_upload if parts.scheme.startswith("http") else self._ftp_upload)(parts, path, name)
        return True

    @contextmanager
    def _attempt(self) -> Iterator[SplitResult]:
        """Whatever goes wrong out there is a TransferError without secrets in its text."""
        import ftplib
        import http.client

        self._deadline = self._monotonic() + self._longest
        try:
            yield _split(self._url)
        except TransferError:
            raise
        except ftplib.Error as error:  # its text is the server's, which may repeat what it was told
            raise TransferError(f"the server answers {str(error)[:3]}") from None
        except (OSError, EOFError, ValueError, http.client.HTTPException) as error:
            text = "cancelled" if self.is_cancelled else getattr(error, "strerror", None) or type(error).__name__
            raise TransferError(str(text)) from None
        finally:
            self._sockets.clear()

    # -- the stream

    def _watch(self, *sockets: socket.socket | None) -> None:
        """From now on `cancel` reaches whoever waits for these."""
        self._sockets = [one for one in sockets if one is not None]
        self._check(0)

    def _check(self, total: int) -> None:
        if self.is_cancelled:
            raise TransferError("cancelled")
        if total > self._largest:
            raise TransferError(f"the file has more than {self._largest} bytes")
        if self._monotonic() > self._deadline:
            raise TransferError(f"not done within {self._longest:g} s")

    def _receive(self, read: Callable[[int], bytes], path: Path, begin: int, size: int | None) -> None:
        """Append to the first ``begin`` bytes what comes; together they must be ``size``, where that is known."""
        total = begin
        with _open(path, append=begin > 0) as file:
            while chunk := read(CHUNK):
                self._check(total := total + len(chunk))
                self._keep_reserve(path)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())  # before anybody hears of it
        if size is not None and total != size:
            raise TransferError(f"the connection ended after {total} of {size} bytes")

    def _keep_reserve(self, path: Path) -> None:
        if self._free(path.parent) < RESERVE:
            path.unlink()
            raise TransferError("No space left on device")

    def _send(self, file: IO[bytes], send: Callable[[bytes], object]) -> None:
        total = 0
        while chunk := file.read(CHUNK):
            self._check(total := total + len(chunk))
            send(chunk)

    def _fetched(self, path: Path) -> int:
        """How many bytes of the version that we know are there."""
        return path.stat().st_size if self._version and path.exists() else 0

    # -- HTTP

    @contextmanager
    def _http(self, parts: SplitResult) -> "Iterator[http.client.HTTPConnection]":
        import http.client

        host = parts.hostname or ""
        if parts.scheme == "https":
            tls = tls_context(self._ca_file)
            # Without a port an IPv6 address would lose its last part to it.
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, parts.port or 443, timeout=self._silence, context=tls
            )
        else:
            connection = http.client.HTTPConnection(host, parts.port or 80, timeout=self._silence)
        try:
            connection.connect()
            self._watch(connection.sock)
            yield connection
        finally:
            connection.close()

    def _http_download(self, parts: SplitResult, path: Path) -> None:
        have = self._fetched(path)
        headers = {"Connection": "close", **_authorization(parts)}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": self._version}
        with self._http(parts) as connection:
            connection.request("GET", _target(parts), headers=headers)
            with connection.getresponse() as response:
                goes_on = _goes_on(response, have)
                self._version = _version(response)
                if response.status != 200 and not goes_on:  # noqa: PLR2004 - OK
                    raise TransferError(f"the server answers HTTP {response.status}")
                begin = have if goes_on else 0
                size = None if response.length is None else begin + response.length
                self._receive(response.read1, path, begin, size)

    def _http_upload(self, parts: SplitResult, path: Path, name: str) -> None:
        with self._http(parts) as connection, path.open("rb") as file:
            connection.putrequest("PUT", _target(parts, name))
            length = {"Content-Length": str(path.stat().st_size), "Connection": "close"}
            for header, value in (length | _authorization(parts)).items():
                connection.putheader(header, value)
            connection.endheaders()
            with suppress(ConnectionError, ssl.SSLEOFError):  # a server may refuse before it has read everything
                self._send(file, connection.send)
            is_whole = file.tell() == path.stat().st_size
            with connection.getresponse() as response:
                if not (is_whole and 200 <= response.status < 300):  # noqa: PLR2004 - success
                    raise TransferError(f"the server answers HTTP {response.status}")

    # -- FTP

    @contextmanager
    def _ftp(self, parts: SplitResult) -> "Iterator[ftplib.FTP]":
        """A session, logged in; `ftps` encrypts both channels."""
        import ftplib

        is_plain = parts.scheme == "ftp"
        session = ftplib.FTP() if is_plain else ftplib.FTP_TLS(context=tls_context(self._ca_file))  # noqa: S321 - asked for
        try:
            session.connect(parts.hostname or "", parts.port or 0, timeout=self._silence)
            self._watch(session.sock)
            session.login(unquote(parts.username or "anonymous"), unquote(parts.password or ""))
            if isinstance(session, ftplib.FTP_TLS):
                session.prot_p()
            session.voidcmd("TYPE I")
            self._watch(session.sock)
            yield session
        finally:
            session.close()

    @contextmanager
    def _ftp_data(self, session: "ftplib.FTP", command: str, rest: int = 0) -> Iterator[socket.socket]:
        """The passive data channel of ``command``; after its end the server must say that all is well."""
        import ftplib

        data, _ = ftplib.FTP.ntransfercmd(session, command, rest or None)  # noqa: S321 - asked for
        self._watch(session.sock, data)
        if isinstance(session, ftplib.FTP_TLS):
            # Many servers want the session of the control channel, which ftplib itself doesn't offer.
            known = session.sock.session if isinstance(session.sock, ssl.SSLSocket) else None
            data = session.context.wrap_socket(data, server_hostname=session.host, session=known)
            self._watch(session.sock, data)
        with data:
            yield data
        session.voidresp()

    def _ftp_download(self, parts: SplitResult, path: Path) -> None:
        import ftplib

        name = _ftp_path(parts)
        with self._ftp(parts) as session:
            size, version = _ftp_version(session, name)
            if version != self._version:
                self._version = ""
            have = self._fetched(path)
            self._version = version
            try:
                with self._ftp_data(session, "RETR " + name, have) as data:
                    self._receive(data.recv, path, have, size)
            except ftplib.error_perm:
                self._version = ""  # a server that can't go on gets the next attempt from the start
                raise

    def _ftp_upload(self, parts: SplitResult, path: Path, name: str) -> None:
        with (
            self._ftp(parts) as session,
            path.open("rb") as file,
            self._ftp_data(session, "STOR " + _ftp_path(parts, name)) as data,
        ):
            self._send(file, data.sendall)
            if isinstance(data, ssl.SSLSocket):
                with suppress(OSError):  # not every server answers the farewell
                    data.unwrap()


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """The system's certificates and those of ``ca_file`` vouch for a server."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise TransferError(f"expected a URL with one of the schemes {', '.join(SCHEMES)}")
    # What is no line for people is none for a server: a line break would be a command of its own to FTP.
    if " " in url or not (url + unquote(url)).isprintable():
        raise TransferError("the URL has blanks or control characters")
    return parts


def _target(parts: SplitResult, name: str = "") -> str:
    """Path and query of a request; ``name`` is appended to the folder (DG-05)."""
    path = quote(parts.path or "/", safe=_UNQUOTED)
    if name:
        path = path.rstrip("/") + "/" + quote(name)
    return path + ("?" + quote(parts.query, safe=_UNQUOTED + "?") if parts.query else "")


def _ftp_path(parts: SplitResult, name: str = "") -> str:
    """From the folder of the user on, as RFC 1738, 3.2.2 says; `%2F` at its begin leads out of it."""
    path = unquote(parts.path.removeprefix("/"))
    return path + "/" * (path != "" and not path.endswith("/")) + name if name else path


def _ftp_version(session: "ftplib.FTP", name: str) -> tuple[int | None, str]:
    """Size in bytes, and what tells this file from a later one; None and empty where the server won't say."""
    import ftplib

    try:
        size = session.size(name)
        return size, f"{size} {session.sendcmd('MDTM ' + name)}"
    except ftplib.Error:
        return None, ""


def _goes_on(response: "http.client.HTTPResponse", have: int) -> bool:
    """Whether the server sends what follows the first ``have`` bytes."""
    content_range = response.getheader("Content-Range", "")
    return have > 0 and response.status == 206 and content_range.startswith(f"bytes {have}-")  # noqa: PLR2004 - Partial Content


def _version(response: "http.client.HTTPResponse") -> str:
    """What If-Range may name (RFC 9110, 13.1.5); empty where the server gives nothing of the kind."""
    tag = response.getheader("ETag", "")
    return tag if tag.startswith('"') else response.getheader("Last-Modified", "")


def _authorization(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    import base64

    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(credentials.encode()).decode("ascii")}


def _open(path: Path, *, append: bool) -> IO[bytes]:
    """The hardware's group may read what we fetch for it (contract 5)."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC) | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o640)
    os.fchmod(descriptor, 0o640)
    return os.fdopen(descriptor, "ab" if append else "wb")

"""Files from and to the operator's servers: HTTP(S) and FTP(S) (OCPP 1.6, 5.9 and 5.19; obligations 8.4 and 8.5).

Everything here blocks and belongs into a thread. Libraries are loaded with the first transfer.
"""
# ruff: noqa: PLC0415 - most chargers never transfer a file: the memory is better used

import hashlib
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

if TYPE_CHECKING:
    import ftplib
    import http.client

CHUNK = 64 * 1024  # bytes
MAX_FILE = 1 << 30  # bytes
SILENCE = 60.0  # s without a byte until a server counts as gone
LONGEST = 6 * 3600.0  # s for one attempt: a server that only drips must not hold us for ever
SCHEMES = ("ftp", "ftps", "http", "https")


class TransferError(Exception):
    """A transfer failed; the text has neither the URL nor its credentials."""


@dataclass
class Transfer:
    """One attempt. `cancel` ends it soon, from any thread."""

    url: str
    monotonic: Callable[[], float]
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context
    silence: float = SILENCE  # s
    longest: float = LONGEST  # s
    cancelled: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._deadline = self.monotonic() + self.longest

    def cancel(self) -> None:
        self.cancelled.set()

    def download(self, path: Path) -> str:
        """Fetch the file into ``path`` and return its SHA-256; goes on where an earlier attempt stopped.

        Raises:
            TransferError: it failed, or was cancelled.

        """
        with self._errors():
            parts = _split(self.url)
            (self._http_download if parts.scheme.startswith("http") else self._ftp_download)(parts, path)
            return sha256(path)

    def upload(self, path: Path, name: str) -> None:
        """Put the file under ``name`` into the folder that the URL names.

        Raises:
            TransferError: it failed, or was cancelled.

        """
        with self._errors():
            parts = _split(self.url)
            (self._http_upload if parts.scheme.startswith("http") else self._ftp_upload)(parts, path, name)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Whatever goes wrong out there is a TransferError without secrets in its text."""
        import ftplib
        import http.client

        try:
            yield
        except TransferError:
            raise
        except ftplib.error_perm as error:
            raise TransferError(f"the server refuses: {str(error)[:100]}") from None
        except (OSError, EOFError, ValueError, http.client.HTTPException, ftplib.Error) as error:
            text = getattr(error, "strerror", None) or type(error).__name__
            raise TransferError(str(text)) from None

    # -- the stream

    def _copy(self, source: IO[bytes] | Any, sink: Callable[[bytes], object], left: int | None = None) -> None:
        """Copy to the end, or ``left`` bytes; fewer are an error."""
        total = 0
        while chunk := source.read(CHUNK):
            self._check(total := total + len(chunk))
            sink(chunk)
        if left is not None and total < left:
            raise TransferError(f"the connection ended {left - total} bytes too early")

    def _check(self, total: int) -> None:
        if self.cancelled.is_set():
            raise TransferError("cancelled")
        if total > MAX_FILE:
            raise TransferError(f"the file has more than {MAX_FILE} bytes")
        if self.monotonic() > self._deadline:
            raise TransferError(f"not done within {self.longest:.0f} s")

    # -- HTTP

    def _http(self, parts: SplitResult) -> "http.client.HTTPConnection":
        import http.client

        host = parts.hostname or ""
        if parts.scheme == "https":
            return http.client.HTTPSConnection(host, parts.port, timeout=self.silence, context=self.tls())
        return http.client.HTTPConnection(host, parts.port, timeout=self.silence)

    def _http_download(self, parts: SplitResult, path: Path) -> None:
        """Redirects are not followed: they could lead anywhere (TR-08)."""
        connection = self._http(parts)
        try:
            have = path.stat().st_size if path.exists() else 0
            headers = _authorization(parts) | ({"Range": f"bytes={have}-"} if have else {})
            connection.request("GET", _target(parts), headers=headers)
            response = connection.getresponse()
            if have and response.status == 416:  # noqa: PLR2004 - nothing is left to fetch, or another file
                path.unlink()
                raise TransferError("the server has another file now")
            if response.status not in (200, 206):
                raise TransferError(f"HTTP {response.status} {response.reason}"[:100])
            goes_on = response.status == 206  # noqa: PLR2004 - Partial Content
            with _open(path, append=goes_on) as file:
                self._copy(response, file.write, response.length)
        finally:
            connection.close()

    def _http_upload(self, parts: SplitResult, path: Path, name: str) -> None:
        connection = self._http(parts)
        try:
            target = _target(parts, name)
            headers = _authorization(parts) | {"Content-Length": str(path.stat().st_size)}
            connection.putrequest("PUT", target)
            for header, value in headers.items():
                connection.putheader(header, value)
            connection.endheaders()
            with path.open("rb") as file:
                self._copy(file, connection.send)
            response = connection.getresponse()
            if not 200 <= response.status < 300:  # noqa: PLR2004 - success
                raise TransferError(f"HTTP {response.status} {response.reason}"[:100])
        finally:
            connection.close()

    # -- FTP

    @contextmanager
    def _ftp(self, parts: SplitResult) -> "Iterator[ftplib.FTP]":
        """A passive session, logged in; `ftps` encrypts both channels (explicit TLS)."""
        import ftplib

        session = ftplib.FTP_TLS(context=self.tls()) if parts.scheme == "ftps" else ftplib.FTP()  # noqa: S321 - asked for
        try:
            session.connect(parts.hostname or "", parts.port or 0, timeout=self.silence)
            session.login(unquote(parts.username or "anonymous"), unquote(parts.password or ""))
            if isinstance(session, ftplib.FTP_TLS):
                session.prot_p()
            yield session
        finally:
            session.close()

    def _ftp_download(self, parts: SplitResult, path: Path) -> None:
        have = path.stat().st_size if path.exists() else 0
        with self._ftp(parts) as session, _open(path, append=bool(have)) as file:
            total = have

            def take(chunk: bytes) -> None:
                nonlocal total
                self._check(total := total + len(chunk))
                file.write(chunk)

            session.retrbinary("RETR " + _ftp_path(parts), take, CHUNK, have or None)

    def _ftp_upload(self, parts: SplitResult, path: Path, name: str) -> None:
        with self._ftp(parts) as session, path.open("rb") as file:
            session.storbinary("STOR " + _ftp_path(parts, name), _Checked(file, self._check))  # type: ignore[arg-type] # read is all it needs


class _Checked:
    """A file that can be cancelled while it is read."""

    def __init__(self, file: IO[bytes], check: Callable[[int], None]) -> None:
        self._file = file
        self._check = check
        self._total = 0

    def read(self, size: int) -> bytes:
        chunk = self._file.read(size)
        self._total += len(chunk)
        self._check(self._total)
        return chunk


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise TransferError(f"expected a URL with one of the schemes {', '.join(SCHEMES)}")
    if any(ord(character) <= 32 or ord(character) == 127 for character in unquote(url)):  # noqa: PLR2004 - control characters
        raise TransferError("the URL has blanks or control characters")
    return parts


def _target(parts: SplitResult, name: str = "") -> str:
    """Path and query of a request; ``name`` is appended to the folder (DG-05)."""
    path = parts.path or "/"
    if name:
        path = path.rstrip("/") + "/" + quote(name)
    return path + ("?" + parts.query if parts.query else "")


def _ftp_path(parts: SplitResult, name: str = "") -> str:
    path = unquote(parts.path)
    return path.rstrip("/") + "/" + name if name else path


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

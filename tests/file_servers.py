"""Servers of an operator that files are fetched from and sent to, on 127.0.0.1, with the faults that servers have."""

import logging
import re
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.end_to_end.certificates import Issued, server_context

with warnings.catch_warnings():  # Python 3.11 says that asyncore will go; for later ones pyftpdlib brings its own
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_FTPHandler
    from pyftpdlib.servers import FTPServer

USER, PASSWORD = "op:erator/1", "p@ss:w/ör%d#?"
CREDENTIALS = "op%3Aerator%2F1:p%40ss%3Aw%2F%C3%B6r%25d%23%3F"  # as they stand in a URL
PATIENCE = 15.0  # s


def eventually(condition: Callable[[], object], what: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Wait until ``condition`` holds, doing something ``meanwhile``."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        meanwhile()
        time.sleep(0.002)


@dataclass
class HttpFiles:
    """What an HTTP server has, does wrong, and has been asked."""

    files: dict[str, bytes] = field(default_factory=dict)  # by path
    etag: str | None = '"v1"'
    knows_ranges: bool = True
    knows_length: bool = True
    asks_for_password: bool = False
    status: int | None = None  # instead of the right one
    headers: dict[str, str] = field(default_factory=dict)  # besides the right ones
    cuts: list[int] = field(default_factory=list)  # bytes after which the next answers, or bodies, are cut
    drips: bool = False  # a byte now and then, without end
    is_silent: bool = False
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)  # method, path, headers
    ended: threading.Event = field(default_factory=threading.Event)
    scheme: str = "http"
    port: int = 0
    host: str = "127.0.0.1"

    def url(self, path: str = "/firmware.bin", credentials: str = "") -> str:
        user = f"{credentials}@" if credentials else ""
        return f"{self.scheme}://{user}{self.host}:{self.port}{path}"

    def asked(self, name: str) -> list[str | None]:
        """A header of each request so far."""
        return [headers.get(name) for _, _, headers in self.requests]


class _HttpHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: HttpFiles

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        pass

    def do_GET(self) -> None:
        if not self._may_go_on():
            return
        content = self.served.files.get(self.path)
        if content is None:
            self._answer(404)
            return
        begin = self._begin(content)
        body = content[begin:]
        headers = {"ETag": self.served.etag} if self.served.etag else {}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        self._answer(206 if begin else 200, body, headers)

    def _begin(self, content: bytes) -> int:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        is_same = self.headers.get("If-Range") in (None, self.served.etag)
        return (
            int(wanted[1]) if wanted and self.served.knows_ranges and is_same and int(wanted[1]) < len(content) else 0
        )

    def do_PUT(self) -> None:
        if not self._may_go_on():
            self.close_connection = True
            return
        length = int(self.headers["Content-Length"])
        if self.served.cuts:
            self.rfile.read(self.served.cuts.pop(0))
            self.close_connection = True
            return
        self.served.files[self.path] = self.rfile.read(length)
        self._answer(201)

    def _may_go_on(self) -> bool:
        served = self.served
        served.requests.append((self.command, self.path, dict(self.headers)))
        if served.is_silent:
            served.ended.wait(PATIENCE)
            self.close_connection = True
        elif served.asks_for_password and self.headers.get("Authorization") is None:
            self._answer(401)
        elif served.status is not None:
            self._answer(served.status, b"", served.headers)
        else:
            return True
        return False

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status, "as was asked with Authorization")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.served.knows_length:
            self.send_header("Content-Length", str(10**9 if self.served.drips else len(body)))
        else:
            self.close_connection = True
        self.end_headers()
        if self.served.drips:
            self._drip()
        elif body and self.served.cuts:
            self.wfile.write(body[: self.served.cuts.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def _drip(self) -> None:
        while not self.served.ended.wait(0.005):
            try:
                self.wfile.write(b"x")
            except OSError:
                return


class _HttpServer(ThreadingHTTPServer):
    block_on_close = True
    daemon_threads = False

    def handle_error(self, *_: object) -> None:
        """A client that goes away, or does not trust us."""


class _HttpServer6(_HttpServer):
    address_family = socket.AF_INET6


@contextmanager
def http_files(issued: Issued | None = None, *, ipv6: bool = False, **has: Any) -> Iterator[HttpFiles]:
    """An HTTP server, with a certificate an HTTPS server."""
    served = HttpFiles(**has)
    handler = type("Handler", (_HttpHandler,), {"served": served})
    server = _HttpServer6(("::1", 0), handler) if ipv6 else _HttpServer(("127.0.0.1", 0), handler)
    if ipv6:
        served.host = "[::1]"
    if issued is not None:
        served.scheme = "https"
        server.socket = server_context(issued).wrap_socket(server.socket, server_side=True)
    served.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="HTTP server")
    thread.start()
    try:
        yield served
    finally:
        served.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class FtpFiles:
    """What an FTP server has and has been told."""

    folder: Path
    port: int
    scheme: str
    commands: list[str]
    cuts: list[int]  # bytes after which the next data connections are cut

    def url(self, path: str = "/firmware.bin", credentials: str = CREDENTIALS) -> str:
        user = f"{credentials}@" if credentials else ""
        return f"{self.scheme}://{user}127.0.0.1:{self.port}{path}"


@contextmanager
def ftp_files(folder: Path, issued: Issued | None = None, **knobs: Any) -> Iterator[FtpFiles]:
    """An FTP server with the files of ``folder``; with a certificate it wants everything encrypted.

    Knobs are attributes of pyftpdlib's handler.
    """
    folder.mkdir(exist_ok=True)
    served = FtpFiles(folder, 0, "ftp" if issued is None else "ftps", [], [])
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(folder), perm="elradfmwMT")

    class Data(DTPHandler):  # type: ignore[misc] # the library has no types
        def send(self, data: bytes) -> int:
            if served.cuts:
                sent: int = super().send(data[: served.cuts[0]])
                served.cuts.pop(0)
                self.cmd_channel.close()
                self.close()
                return sent
            return int(super().send(data))

    base = FTPHandler if issued is None else TLS_FTPHandler

    def pre_process_command(self: Any, line: str, command: str, argument: str) -> None:
        served.commands.append(line)
        base.pre_process_command(self, line, command, argument)

    attributes: dict[str, Any] = {"authorizer": authorizer, "pre_process_command": pre_process_command, **knobs}
    if issued is None:
        attributes |= {"dtp_handler": Data, "use_sendfile": False}
    else:
        attributes |= {"certfile": str(issued.certificate), "keyfile": str(issued.key), "ssl_context": None}
        attributes |= {"tls_control_required": True, "tls_data_required": True}
    logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)  # it writes passwords and every command
    server = FTPServer(("127.0.0.1", 0), type("Handler", (base,), attributes))
    served.port = server.socket.getsockname()[1]
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            server.serve_forever(timeout=0.01, blocking=False)
        server.close_all()

    thread = threading.Thread(target=serve, name="FTP server")
    thread.start()
    try:
        yield served
    finally:
        ended.set()
        thread.join()

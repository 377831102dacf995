"""A real mosquitto as a child process, and a stand-in for brokers that know no MQTT 5."""

import os
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT = 5.0  # s


class Broker:
    """mosquitto on a free port of 127.0.0.1, without persistence; it can be ended and started again on that port.

    Args:
        lines: more lines of its configuration; ``{folder}`` stands for its temporary folder.
        users: passwords by user; none: everyone may do everything.
        access_list: what the users may do, in the form of mosquitto's `acl_file`.

    """

    def __init__(self, *lines: str, users: Mapping[str, str] | None = None, access_list: str | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="broker-"))
        self.folder.chmod(0o755)  # started by root, mosquitto continues as user mosquitto
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._configuration = [f"listener {self.port} 127.0.0.1", "persistence false", "log_type all"]
        self._configuration += [line.format(folder=self.folder) for line in lines]
        self._admit(users)
        if access_list is not None:
            (self.folder / "access_list").write_text(access_list)
            self._configuration.append(f"acl_file {self.folder}/access_list")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Returns when it answers."""
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text("\n".join(self._configuration) + "\n")
        with (self.folder / "log").open("ab") as log:
            command = [_program("mosquitto"), "-c", str(configuration)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._await_answer(self._process)

    def kill(self) -> None:
        """SIGKILL: the kernel closes its sockets, nobody is told."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> None:
        """SIGTERM: it says farewell to its clients."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_TIMEOUT)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def _admit(self, users: Mapping[str, str] | None) -> None:
        self._configuration.append(f"allow_anonymous {'true' if users is None else 'false'}")
        if users is None:
            return
        passwords = self.folder / "passwords"
        passwords.touch()
        for user, password in users.items():
            subprocess.run([_program("mosquitto_passwd"), "-b", str(passwords), user, password], check=True)
        passwords.chmod(0o644)
        self._configuration.append(f"password_file {passwords}")

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.005)
            else:
                return
        self.kill()
        raise RuntimeError(f"mosquitto does not answer on port {self.port}:\n{self.log}")


class V3OnlyBroker:
    """Stands before a broker and refuses MQTT 5 as brokers of that time do; 3.1.1 passes.

    Args:
        broker_port: where 3.1.1 clients are passed on to.
        silent: hang up on MQTT 5 without a CONNACK.

    """

    def __init__(self, broker_port: int, *, silent: bool = False) -> None:
        refusal = b"" if silent else b"\x20\x02\x00\x01"  # CONNACK, return code 1: unacceptable protocol version
        self.refused = 0

        class Handler(socketserver.BaseRequestHandler):
            def handle(handler) -> None:  # noqa: N805 - self is the stand-in
                connect = handler.request.recv(4096)
                if _protocol_level(connect) > 4:
                    self.refused += 1
                    handler.request.sendall(refusal)
                else:
                    _relay(handler.request, broker_port, connect)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the connections first: this waits for them."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    block_on_close = True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin")
    if path is None:
        raise RuntimeError(f"{name} is missing: apt install mosquitto")
    return path


def _protocol_level(connect: bytes) -> int:
    """The byte after the protocol name "MQTT" of a CONNECT: 4 is 3.1.1."""
    name = connect.find(b"\x00\x04MQTT")
    return connect[name + 6] if name >= 0 else 0


def _relay(client: socket.socket, broker_port: int, first: bytes) -> None:
    """Carry both directions until one end closes."""
    with socket.create_connection(("127.0.0.1", broker_port)) as broker:
        broker.sendall(first)
        answers = threading.Thread(target=_pump, args=(broker, client))
        answers.start()
        _pump(client, broker)
        answers.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass  # one end is gone; the other one is told below
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue

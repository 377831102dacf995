"""A private mosquitto on a free port."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

START_TIMEOUT = 5.0  # s

CONFIGURATION = """\
user root
listener {port} 127.0.0.1
allow_anonymous true
persistence false
log_type error
set_tcp_nodelay {no_delay}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def mosquitto(*, no_delay: bool = True) -> Iterator[int]:
    """Runs a broker; gives its port. Without `no_delay` it is a stock one, with Nagle's algorithm on."""
    # Debian keeps the program out of an ordinary user's PATH.
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="benchmark-broker-") as folder:
        file = Path(folder, "mosquitto.conf")
        file.write_text(CONFIGURATION.format(port=port, no_delay=str(no_delay).lower()))
        with subprocess.Popen([program, "-c", file], stderr=subprocess.DEVNULL) as process:
            try:
                wait_for(port, process)
                yield port
            finally:
                process.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Returns when the broker listens.

    Raises:
        RuntimeError: it ended or does not listen in time.
    """
    end = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise RuntimeError(f"mosquitto does not listen on port {port}, exit status {process.poll()}")

"""Files by HTTP(S) and FTP(S), with real servers and the faults they have: obligations 8.4 and 8.5."""

import base64
import hashlib
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ocpp16_bridge.transfers import CHUNK, RESERVE, Retries, Transfer, TransferError
from tests.end_to_end.certificates import Authority
from tests.file_servers import CREDENTIALS, PASSWORD, USER, FtpFiles, HttpFiles, eventually, ftp_files, http_files

FIRMWARE = bytes(range(256)) * 2000  # 500 KiB
SHA_256 = hashlib.sha256(FIRMWARE).hexdigest()
MakeServer = Callable[..., Any]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "arrived"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    path.write_bytes(FIRMWARE)
    return path


@pytest.fixture
def http() -> Iterator[HttpFiles]:
    with http_files(files={"/firmware.bin": FIRMWARE}) as one:
        yield one


@pytest.fixture
def ftp(tmp_path: Path) -> Iterator[FtpFiles]:
    with ftp_files(tmp_path / "ftp") as one:
        (one.folder / "firmware.bin").write_bytes(FIRMWARE)
        yield one


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def make_server(tmp_path: Path, authority: Authority) -> Iterator[MakeServer]:
    """A server of a scheme, with the firmware."""
    with ExitStack() as stack:

        def make(scheme: str) -> HttpFiles | FtpFiles:
            issued = authority.server() if scheme in ("https", "ftps") else None
            if scheme.startswith("http"):
                return stack.enter_context(http_files(issued, files={"/firmware.bin": FIRMWARE}))
            server = stack.enter_context(ftp_files(tmp_path / "ftp", issued))
            (server.folder / "firmware.bin").write_bytes(FIRMWARE)
            return server

        yield make


def transfer(url: str, ca_file: Path | None = None, **limits: Any) -> Transfer:
    return Transfer(url, time.monotonic, ca_file, **{"silence": 5.0, **limits})


def failure(work: Callable[..., object], *arguments: object) -> str:
    """The text of the error, which never has a secret."""
    with pytest.raises(TransferError) as caught:
        work(*arguments)
    text = str(caught.value)
    assert not any(secret in text for secret in (USER, PASSWORD, CREDENTIALS, "firmware.bin", "127.0.0.1"))
    assert caught.value.__cause__ is None
    return text


# -- down and up, by all protocols


@pytest.mark.parametrize("scheme", ["http", "https", "ftp", "ftps"])
def test_file_arrives_with_its_checksum(
    scheme: str, make_server: MakeServer, authority: Authority, target: Path
) -> None:
    """FW-01; §4: the hardware's group may read it."""
    server = make_server(scheme)

    digest = transfer(server.url(credentials=CREDENTIALS), authority.certificate).download(target)

    assert (digest, target.read_bytes()) == (SHA_256, FIRMWARE)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.parametrize("scheme", ["http", "https", "ftp", "ftps"])
@pytest.mark.parametrize("folder", ["/in", "/in/"])
def test_file_goes_into_the_folder_under_its_name(
    scheme: str, folder: str, make_server: MakeServer, authority: Authority, archive: Path
) -> None:
    """DG-05."""
    server = make_server(scheme)
    if isinstance(server, FtpFiles):
        (server.folder / "in").mkdir()

    assert transfer(server.url(folder, CREDENTIALS), authority.certificate).upload(archive, "CP 001.tar.gz")

    if isinstance(server, FtpFiles):
        arrived = server.folder / "in" / "CP 001.tar.gz"
        eventually(lambda: arrived.exists() and arrived.stat().st_size == len(FIRMWARE), "the file is there")
        assert arrived.read_bytes() == FIRMWARE
    else:
        assert server.files["/in/CP%20001.tar.gz"] == FIRMWARE


def test_ftp_upload_without_a_folder(ftp: FtpFiles, archive: Path) -> None:
    transfer(ftp.url("")).upload(archive, "a")

    assert "STOR a" in ftp.commands


def test_file_by_ipv6_without_a_port_in_doubt(target: Path) -> None:
    with http_files(ipv6=True, files={"/firmware.bin": FIRMWARE}) as server:
        assert transfer(server.url()).download(target) == SHA_256
        assert server.asked("Host") == [f"[::1]:{server.port}"]


@pytest.mark.parametrize("knows_length", [True, False], ids=["Content-Length", "until the connection ends"])
def test_http_answer_of_either_length_is_whole(knows_length: bool, target: Path) -> None:
    with http_files(files={"/firmware.bin": FIRMWARE}, knows_length=knows_length) as server:
        assert transfer(server.url()).download(target) == SHA_256


def test_credentials_go_into_the_header_only(http: HttpFiles, target: Path) -> None:
    http.asks_for_password = True

    transfer(http.url(credentials=CREDENTIALS)).download(target)

    ((_, path, headers),) = http.requests
    assert path == "/firmware.bin"
    assert base64.b64decode((headers["Authorization"] or "").removeprefix("Basic ")).decode() == f"{USER}:{PASSWORD}"


def test_path_and_query_are_kept(http: HttpFiles, target: Path) -> None:
    http.files["/%C3%BC%20b/..%2Fc?v=1&w=%C3%A4"] = b"x"

    transfer(http.url("/ü%20b/..%2Fc?v=1&w=ä#part")).download(target)

    assert target.read_bytes() == b"x"


def test_proxy_of_the_environment_is_not_used(http: HttpFiles, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert transfer(http.url()).download(target) == SHA_256


def test_address_that_an_ftp_server_names_is_ignored(tmp_path: Path, target: Path) -> None:
    """A server must not lead us to other machines."""
    with ftp_files(tmp_path / "ftp", masquerade_address="127.0.0.9") as server:
        (server.folder / "firmware.bin").write_bytes(FIRMWARE)

        assert transfer(server.url()).download(target) == SHA_256


# -- faults


@pytest.mark.parametrize("scheme", ["https", "ftps"])
@pytest.mark.parametrize("way", ["download", "upload"])
def test_server_that_nobody_vouches_for_gets_nothing(
    scheme: str, way: str, make_server: MakeServer, archive: Path, target: Path
) -> None:
    server = make_server(scheme)
    one = transfer(server.url(credentials=CREDENTIALS))

    text = failure(one.download, target) if way == "download" else failure(one.upload, archive, "name")

    assert "CERTIFICATE_VERIFY_FAILED" in text
    if isinstance(server, HttpFiles):
        assert server.requests == []
    else:
        assert not any(line.startswith("PASS") for line in server.commands)


@pytest.mark.parametrize("status", [301, 302, 307, 401, 403, 404, 416, 500, 204, 206])
def test_http_refusal_fails_and_a_redirect_is_not_followed(http: HttpFiles, status: int, target: Path) -> None:
    http.status = status
    http.headers = {"Location": http.url("/other")}

    assert failure(transfer(http.url()).download, target) == f"the server answers HTTP {status}"
    assert len(http.requests) == 1
    assert not target.exists()


@pytest.mark.parametrize("status", [307, 404, 507])
def test_http_upload_that_is_refused_fails(http: HttpFiles, status: int, archive: Path) -> None:
    http.status = status
    http.headers = {"Location": http.url("/other")}

    assert failure(transfer(http.url("/in")).upload, archive, "name") == f"the server answers HTTP {status}"
    assert len(http.requests) == 1


def test_http_upload_that_is_cut_fails(http: HttpFiles, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(8 << 20))
    http.cuts = [CHUNK]

    failure(transfer(http.url("/in")).upload, large, "name")

    assert "/in/name" not in http.files


@pytest.mark.parametrize(
    ("credentials", "path", "answer"),
    [("wrong:password", "/firmware.bin", "530"), (CREDENTIALS, "/missing", "550")],
    ids=["wrong password", "no such file"],
)
def test_ftp_refusal_fails(ftp: FtpFiles, credentials: str, path: str, answer: str, target: Path) -> None:
    assert failure(transfer(ftp.url(path, credentials)).download, target) == f"the server answers {answer}"


def test_server_that_is_away_fails(target: Path) -> None:
    with http_files() as server:
        url = server.url()

    assert failure(transfer(url).download, target) == "Connection refused"


@pytest.mark.parametrize("what", ["is_silent", "drips"])
def test_server_without_end_fails_at_its_limit(http: HttpFiles, what: str, target: Path) -> None:
    setattr(http, what, True)

    text = failure(transfer(http.url(), silence=0.2, longest=0.3).download, target)

    assert text == {"is_silent": "TimeoutError", "drips": "not done within 0.3 s"}[what]


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_full_disk_fails_and_leaves_room_for_the_store(scheme: str, make_server: MakeServer, target: Path) -> None:
    server = make_server(scheme)
    free = iter([RESERVE, RESERVE - 1])

    text = failure(transfer(server.url(credentials=CREDENTIALS), free=lambda _folder: next(free)).download, target)

    assert text == "No space left on device"
    assert not target.exists()


def test_file_without_end_is_not_fetched_whole(http: HttpFiles, target: Path) -> None:
    http.drips = True

    assert failure(transfer(http.url(), largest=10).download, target) == "the file has more than 10 bytes"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "sftp://host/a",
        "/etc/passwd",
        "",
        "http://",
        "http://[::1",
        "http://host:99999/a",
        "http://127.0.0.1:1/a b",
        "http://127.0.0.1:1/a%0D%0Ab",
        "ftp://127.0.0.1:1/a%0d%0aDELE%20b",
        "ftp://u%0aDELE%20b:p@127.0.0.1:1/a",
        "ftp://127.0.0.1:1/a\r\nDELE b",
        "ftp://127.0.0.1:1/a%00b",
        "http://host\u2100/a",
    ],
)
def test_url_that_is_none_of_ours_fails_without_a_connection(url: str, target: Path) -> None:
    failure(transfer(url).download, target)

    assert not target.exists()


def test_link_in_the_place_of_the_file_is_not_followed(http: HttpFiles, target: Path, tmp_path: Path) -> None:
    target.symlink_to(tmp_path / "elsewhere")

    failure(transfer(http.url()).download, target)

    assert not (tmp_path / "elsewhere").exists()


# -- going on after a cut


def test_second_http_attempt_fetches_the_rest_only(http: HttpFiles, target: Path) -> None:
    """FW-07."""
    http.cuts = [300_000]
    one = transfer(http.url())
    assert failure(one.download, target) == "the connection ended after 300000 of 512000 bytes"

    assert one.download(target) == SHA_256

    assert http.asked("Range") == [None, "bytes=300000-"]
    assert http.asked("If-Range") == [None, '"v1"']


@pytest.mark.parametrize(
    ("fault", "value"),
    [("knows_ranges", False), ("etag", '"v2"'), ("etag", 'W/"v1"')],
    ids=["the server knows no Range", "the file has changed", "weak tag"],
)
def test_http_server_that_cannot_go_on_sends_the_whole_file(
    http: HttpFiles, fault: str, value: object, target: Path
) -> None:
    http.cuts = [300_000]
    if fault == "etag" and value == 'W/"v1"':
        http.etag = 'W/"v1"'
    one = transfer(http.url())
    failure(one.download, target)
    setattr(http, fault, value)
    http.files["/firmware.bin"] = FIRMWARE[::-1]

    one.download(target)

    assert target.read_bytes() == FIRMWARE[::-1]


def test_part_that_the_server_did_not_promise_is_refused(http: HttpFiles, target: Path) -> None:
    http.cuts = [300_000]
    one = transfer(http.url())
    failure(one.download, target)
    http.status, http.headers = 206, {"Content-Range": "bytes 0-1/2"}

    assert failure(one.download, target) == "the server answers HTTP 206"


def test_nothing_goes_on_from_a_file_of_another_transfer(http: HttpFiles, target: Path) -> None:
    target.write_bytes(b"stale" * 100)

    assert transfer(http.url()).download(target) == SHA_256
    assert http.asked("Range") == [None]


def test_second_ftp_attempt_fetches_the_rest_only(ftp: FtpFiles, target: Path) -> None:
    """FW-07."""
    ftp.cuts.append(30_000)
    one = transfer(ftp.url())
    failure(one.download, target)
    assert target.stat().st_size == 30_000

    assert one.download(target) == SHA_256

    assert "REST 30000" in ftp.commands


def test_ftp_file_that_has_changed_is_fetched_whole(ftp: FtpFiles, target: Path) -> None:
    ftp.cuts.append(30_000)
    one = transfer(ftp.url())
    failure(one.download, target)
    (ftp.folder / "firmware.bin").write_bytes(b"another one")

    one.download(target)

    assert target.read_bytes() == b"another one"
    assert not any(line.startswith("REST") for line in ftp.commands)


def test_ftp_server_that_cannot_go_on_is_asked_for_the_whole_file_next(tmp_path: Path, target: Path) -> None:
    def refuse(self: Any, _line: str) -> None:
        self.respond("502 Command not implemented.")

    with ftp_files(tmp_path / "ftp", ftp_REST=refuse) as ftp:
        (ftp.folder / "firmware.bin").write_bytes(FIRMWARE)
        ftp.cuts.append(30_000)
        one = transfer(ftp.url())
        failure(one.download, target)
        assert failure(one.download, target) == "the server answers 502"

        assert one.download(target) == SHA_256


# -- the end on request


@pytest.mark.parametrize("way", ["download", "upload"])
def test_cancelled_transfer_ends_soon_however_silent_the_server_is(
    http: HttpFiles, way: str, archive: Path, target: Path
) -> None:
    http.is_silent = True
    one = transfer(http.url(), silence=60)
    texts: list[str] = []
    work = {"download": lambda: one.download(target), "upload": lambda: one.upload(archive, "name")}[way]
    thread = threading.Thread(target=lambda: texts.append(failure(work)))
    thread.start()
    eventually(lambda: http.requests, "the server is asked")

    began = time.monotonic()
    one.cancel()
    thread.join()

    assert texts == ["cancelled"]
    assert time.monotonic() - began < 5


def test_cancelled_transfer_writes_nothing_any_more(http: HttpFiles, target: Path) -> None:
    one = transfer(http.url())
    one.cancel()

    assert failure(one.download, target) == "cancelled"
    assert not target.exists()


# -- what the CSMS asks for


@pytest.mark.parametrize(
    ("number", "interval", "expected"),
    [
        (None, None, Retries(3, 60)),
        (0, 0, Retries(0, 0)),
        (2.0, 1.0, Retries(2, 1)),
        (-1, -5, Retries(0, 0)),
        (10**400, 10**400, Retries(100, 86400)),
    ],
    ids=["none", "zero", "as number", "negative", "enormous"],
)
def test_retries_are_taken_within_reason(number: float | None, interval: float | None, expected: Retries) -> None:
    """FW-03, DG-03."""
    assert Retries.of(number, interval) == expected

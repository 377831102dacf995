"""The folder for files for or from the hardware: contract 5."""

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from ocpp16_bridge.exchange import KEPT_FOR, Exchange
from tests.station import START


class Moment:
    """A clock that is set by hand."""

    now = START


@pytest.fixture
def moment() -> Moment:
    return Moment()


@pytest.fixture
def exchange(tmp_path: Path, moment: Moment) -> Exchange:
    return Exchange(tmp_path / "storage", lambda: moment.now)


def finished(exchange: Exchange, name: str) -> Path:
    path = exchange.file(name)
    path.write_bytes(b"x")
    exchange.release(name)
    return path


def test_folder_is_for_the_group_to_read_and_to_nobody_else(exchange: Exchange) -> None:
    exchange.file("a")

    assert stat.S_IMODE(exchange.folder.stat().st_mode) == 0o750


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "/etc/passwd", "a/b", "a\0"])
def test_name_that_is_a_path_is_refused(exchange: Exchange, name: str) -> None:
    with pytest.raises(ValueError, match="is no file name"):
        exchange.file(name)


def test_paths_for_other_programs_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert Exchange(Path("storage"), lambda: START).file("a") == tmp_path / "storage" / "exchange" / "a"


def test_folder_for_the_hardware_is_empty_and_its_group_may_write(exchange: Exchange) -> None:
    (exchange.make_folder("a") / "old").write_bytes(b"x")

    folder = exchange.make_folder("a")

    assert list(folder.iterdir()) == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o770


def test_file_is_removed_a_day_after_its_job(exchange: Exchange, moment: Moment) -> None:
    path = finished(exchange, "a")
    moment.now = START + timedelta(seconds=KEPT_FOR)
    exchange.sweep()
    assert path.exists()

    moment.now += timedelta(seconds=1)
    exchange.sweep()

    assert not path.exists()


def test_file_of_a_job_stays_however_long_that_takes(exchange: Exchange) -> None:
    path = exchange.file("a")
    path.write_bytes(b"x")
    os.utime(path, (0, 0))
    exchange.in_use.add("a")

    exchange.sweep()
    assert path.exists()

    exchange.release("a")
    exchange.sweep()
    assert path.exists(), "the day begins with the end of the job"


def test_old_folders_and_links_are_removed_and_nothing_behind_them(
    exchange: Exchange, moment: Moment, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x")
    (exchange.make_folder("folder") / "file").write_bytes(b"x")
    exchange.file("link").symlink_to(outside)
    moment.now = START + timedelta(days=365 * 20)

    exchange.sweep()

    assert list(exchange.folder.iterdir()) == []
    assert (outside / "precious").exists()


def test_what_cannot_be_removed_is_a_warning(exchange: Exchange, caplog: pytest.LogCaptureFixture) -> None:
    exchange.folder.parent.mkdir()
    exchange.folder.write_bytes(b"no folder")

    exchange.remove("a")

    assert "exchange/a can't be removed: Not a directory" in caplog.text


def test_sweep_of_nothing_makes_nothing(exchange: Exchange) -> None:
    exchange.release("missing")
    exchange.sweep()

    assert not exchange.folder.exists()

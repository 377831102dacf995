"""The folder for files for or from the hardware: `exchange/` in the storage directory (contract 5)."""

import logging
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

logger = logging.getLogger(__name__)

KEPT_FOR = 86400.0  # s after a job


class Exchange:
    """Names are ours alone, so nothing a CSMS or a server says leads out of the folder."""

    def __init__(self, storage: Path, now: Callable[[], datetime]) -> None:
        self.folder = storage.absolute() / "exchange"
        self._now = now
        self.in_use: set[str] = set()  # names that belong to a job, however old they are

    def file(self, name: str) -> Path:
        """Where a file of this plain name lies; the folder is made.

        Raises:
            ValueError: the name is a path.
            OSError: the folder can't be made.

        """
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{name[:40]!r} is no file name")
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.folder.chmod(0o750)
        return self.folder / name

    def make_folder(self, name: str) -> Path:
        """An empty folder of this name, writable for the hardware's group."""
        self.remove(name)
        folder = self.file(name)
        folder.mkdir(mode=0o770)
        folder.chmod(0o770)
        return folder

    def release(self, name: str) -> None:
        """Its job is over: a file that is there stays for a day."""
        self.in_use.discard(name)
        moment = self._now().timestamp()
        with suppress(OSError):
            os.utime(self.folder / name, (moment, moment))

    def remove(self, name: str) -> None:
        self.in_use.discard(name)
        path = self.folder / name
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("exchange/%s can't be removed: %s", name, error.strerror)

    def sweep(self) -> None:
        """Remove what no job needs any more; to be called from time to time."""
        if not self.folder.is_dir():
            return
        oldest = self._now().timestamp() - KEPT_FOR
        for path in self.folder.iterdir():
            if path.name not in self.in_use and path.lstat().st_mtime < oldest:
                logger.info("exchange/%s is removed", path.name)
                self.remove(path.name)

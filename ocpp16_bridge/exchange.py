"""The folder for files for or from the hardware: `exchange/` in the storage directory (contract 5)."""

import logging
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

logger = logging.getLogger(__name__)

KEPT_FOR = 86400.0  # s after a job


class Exchange:
    """Names are ours alone, so nothing a CSMS or a server says leads out of the folder."""

    def __init__(self, storage: Path, now: Callable[[], datetime]) -> None:
        self.folder = storage / "exchange"
        self._now = now

    def file(self, name: str) -> Path:
        """Where a file of this plain name lies; the folder is made.

        Raises:
            ValueError: the name is a path.

        """
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{name[:40]!r} is no file name")
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.folder.chmod(0o750)
        return self.folder / name

    def make_folder(self, name: str) -> Path:
        """An empty folder of this name, writable for the hardware's group."""
        folder = self.file(name)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o770)
        folder.chmod(0o770)
        return folder

    def remove(self, name: str) -> None:
        path = self.file(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what is older than a day."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            if path.lstat().st_mtime + KEPT_FOR < self._now().timestamp():
                logger.info("removed %s from exchange/", path.name)
                self.remove(path.name)

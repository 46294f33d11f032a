"""The files of a SQLite store by their names: made once, compared with what was opened, and the mark beside them.

Nothing here opens the store's own files, but for making an empty one: closing any descriptor of a file drops all
locks that its process has on it, those of SQLite too. The mark is a file of its own, `<store>.mark`. It says how far
the store had come, so that one which was emptied, cut or put back older is known when it is opened next.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from orchestrator.core import StoreUnusable
from orchestrator.store.address import sqlite_address
from orchestrator.store.loss import Leftovers, Mark

NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre")
"""File systems on which neither SQLite's locks nor its shared memory can be relied on; `fuse.*` too."""

MOUNTS = Path("/proc/self/mounts")
"""The kernel's list of what is mounted where, as this process sees it."""

DESCRIPTORS = Path("/proc/self/fd")
"""The kernel's list of what this process has open (Linux)."""

Inode = tuple[int, int]
"""A file, whatever it is called: its device and its number there."""


class StoreFiles:
    """The names of one store's files, what they stood for when it was opened, and its mark."""

    def __init__(self, path: Path) -> None:
        self._named = path  # a link may be set to another file later: followed anew at every look
        real = path.resolve()
        self._log, self._shared = real.with_name(f"{real.name}-wal"), real.with_name(f"{real.name}-shm")
        self._mark = real.with_name(f"{real.name}.mark")
        self._opened: dict[Path, Inode] = {}
        self._mark_file: int | None = None

    # -- before the store is opened ------------------------------------------------------------------------
    def make(self) -> None:
        """The folder and the file, for nobody else to read, on a disk of this machine; a file that is there is left alone."""
        try:
            self._named.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_network(self._named, MOUNTS)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self._named.resolve(), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            refuse_names(self._named.resolve(), MOUNTS)
            if not os.access(self._named, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise StoreUnusable(
                f"{sqlite_address(self._named)}: {error.strerror}; name a file in a folder that may be written"
            ) from error

    def drop_strays(self) -> None:
        """Remove the shared memory of a store whose file or log is gone: it describes what is not there any more.

        A process that still has it open goes on by itself, until it sees that it was removed.
        """
        if not (_size(self._named) and self._log.exists()):
            self._shared.unlink(missing_ok=True)

    def look_at_leftovers(self, *, used: bool) -> Leftovers:
        """Read the mark and look for a log; `used` if processes have left lock files.

        Before anything is read of the store, which others may change meanwhile: the mark is never ahead of it.
        """
        mark = self._read_mark()
        return Leftovers(
            mark=mark,
            logged=bool(_size(self._log)),
            used=used,
            replaced=mark is not None and self._is_replaced(mark),
        )

    def _read_mark(self) -> Mark | None:
        with contextlib.suppress(OSError), self._mark.open("rb") as file:
            return Mark.decode(file.read())
        return None

    def _is_replaced(self, mark: Mark) -> bool:
        """True if the store's file is another one than when this mark was written, and the mark is the same."""
        own, file = _inode(self._mark), _inode(self._named)
        return own is not None and file is not None and mark.own == own[1] and mark.file != file[1]

    # -- while it is open ----------------------------------------------------------------------------------
    def hold(self) -> str:
        """Remember what the names stand for now that the store is open; the one that was changed meanwhile, or ''."""
        for path in (self._named, self._log, self._shared):
            inode = _inode(path)
            if inode is None or not _is_open(inode):
                return path.name
            self._opened[path] = inode
        with contextlib.suppress(OSError):
            self._mark_file = os.open(self._mark, os.O_CREAT | os.O_RDWR, 0o600)
        return ""

    def note(self, identity: str, changes: int) -> None:
        """Write the mark after a commit; only while the files are those that were opened, and as far as it can be.

        Not synced: what a power cut takes of it makes it older than the store, which says nothing.
        """
        if self._mark_file is None or self.find_moved():
            return
        with contextlib.suppress(OSError):
            own, (_, file) = os.fstat(self._mark_file).st_ino, self._opened[self._named]
            mark = Mark(identity=identity, changes=changes, file=file, own=own)
            os.pwrite(self._mark_file, mark.encode(), 0)

    def find_moved(self) -> str:
        """The name that stands for something else than what was opened, or for nothing; '' if none does."""
        return next((path.name for path, inode in self._opened.items() if _inode(path) != inode), "")

    def close(self) -> None:
        """Let the mark go."""
        if self._mark_file is not None:
            os.close(self._mark_file)
        self._mark_file = None


def refuse_network(path: Path, mounts: Path) -> None:
    """Raise StoreUnusable for a folder on a network file system, by the kernel's list of mounts."""
    folder, found = path.parent.resolve(), ("", "")
    for point, kind in _read_mounts(mounts):
        if folder.is_relative_to(point) and len(point) >= len(found[0]):
            found = point, kind
    if found[1] in NETWORK or found[1].startswith("fuse."):
        raise StoreUnusable(
            f"{sqlite_address(path)}: {found[0]} is a network file system ({found[1]}), on which SQLite's locks cannot be "
            "relied on; use a local disk, or PostgreSQL for several machines (postgresql://…)"
        )


def refuse_names(path: Path, mounts: Path) -> None:
    """Raise StoreUnusable for a file that has another name as well: SQLite's log and our locks lie beside each of them."""
    if path.stat().st_nlink > 1:
        raise StoreUnusable(
            f"{sqlite_address(path)}: the file has a second name (a hard link), and processes that use that name would not be seen; "
            f"remove the other name (`find / -xdev -samefile {path}` shows both), or name another file"
        )
    if any(point == str(path) for point, _ in _read_mounts(mounts)):
        raise StoreUnusable(
            f"{sqlite_address(path)}: the file is mounted by itself, so the files beside it are not shared with other processes "
            "that use it; mount its folder instead"
        )


def _read_mounts(mounts: Path) -> Iterator[tuple[str, str]]:
    """Each mount's place and kind; none where the kernel keeps no such list."""
    if mounts.exists():
        for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
            _, point, kind, *_ = line.split(" ")
            yield point.encode().decode("unicode_escape"), kind


def _size(path: Path) -> int:
    """The file's size, 0 where there is none."""
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _inode(path: Path) -> Inode | None:
    """The file that this path stands for, None where there is none to be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_open(inode: Inode) -> bool:
    """True if this process has the file open, or cannot tell."""
    return not DESCRIPTORS.is_dir() or inode in set(_open_files())


def _open_files() -> Iterator[Inode]:
    for descriptor in DESCRIPTORS.iterdir():
        inode = _inode(descriptor)
        if inode is not None:
            yield inode

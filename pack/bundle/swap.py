# SPDX-License-Identifier: Apache-2.0
"""Puts a complete folder in another one's place; a kill at any moment leaves the old or the new.

Where the kernel can, the two folders exchange their names in one step (renameat2, Linux). A mount
point, the working folder and file systems that can't exchange keep the folder itself, and what is
in it is replaced: the complete new files and a list of what is to be done come into the hidden
folder ``READY`` in one step, and whoever comes next, a writer or a reader, goes on with the list
where it was left.
"""

import ctypes
import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

READY = ".bramcast-ready"
HIDDEN = re.compile(r"\.bramcast-(ready|new\.\w+)")  # ours, in a folder that is replaced in place
_LIST = ".list"  # lines of "+NAME" (comes) and "-NAME" (goes); no file of a bundle begins so
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def exchange(one: Path, other: Path) -> None:
    """Let two folders exchange their names in one step.

    Raises:
        OSError: kernel or file system can't, one is a mount point, or they are on two devices.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    call.argtypes = (
        ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint,
    )  # fmt: skip
    names = os.fsencode(one), os.fsencode(other)
    if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def stays(folder: Path) -> bool:
    """Whether a folder itself can't be moved, only what is in it be replaced."""
    if not folder.is_dir():
        return False
    try:
        here = Path.cwd().resolve()
    except FileNotFoundError:  # removed meanwhile
        here = folder.parent
    return (
        here.is_relative_to(folder)
        or os.path.ismount(folder)
        or not os.access(folder.parent, os.W_OK | os.X_OK)
    )


@contextmanager
def fresh_folder(target: Path) -> Iterator[Path]:
    """An empty folder on the target's device, removed at the end if it is still there.

    It lies beside the target, or in it if the target ``stays``. What killed processes left of such
    folders is removed; those of living ones are known by a lock.
    """
    inside = stays(target)
    parent = target if inside else target.parent
    prefix = ".bramcast-new." if inside else f".{target.name[:99]}.new."
    with _locked(parent):
        _remove_abandoned(parent, prefix)
        fresh = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = _lock(fresh)
    try:
        yield fresh
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(fresh, ignore_errors=True)


def put(fresh: Path, target: Path) -> None:
    """Make ``fresh``, complete and flat, the content of ``target``, and write both to the disk.

    Afterwards ``fresh`` is gone or holds what the target was.

    Raises:
        OSError: neither way is possible; the target is what it was.
    """
    fresh.chmod(target.stat().st_mode & 0o7777 if target.exists() else 0o755)
    sync_folder(fresh)
    if not target.exists():
        try:
            os.rename(fresh, target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise
        else:
            sync(target.parent)
            return
    if fresh.parent != target:
        try:
            exchange(fresh, target)
        except OSError:  # whatever it is: in place may be possible
            pass
        else:
            sync(target.parent)
            return
    _put_inside(fresh, target)


def _put_inside(fresh: Path, target: Path) -> None:
    with _locked(target):
        _remove_abandoned(target, ".bramcast-new.")
        _finish(target)
        staged = Path(tempfile.mkdtemp(prefix=".bramcast-new.", dir=target))
        try:
            new = sorted(path.name for path in fresh.iterdir())
            for name in new:
                shutil.move(fresh / name, staged / name)  # copies to another device
            old = [p.name for p in target.iterdir() if not HIDDEN.fullmatch(p.name)]
            lines = [f"+{name}" for name in new] + [f"-{n}" for n in sorted({*old} - {*new})]
            (staged / _LIST).write_text("\n".join(lines), encoding="utf-8", newline="")
            sync_folder(staged)
            os.rename(staged, target / READY)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        _finish(target)


def finish(target: Path) -> None:
    """Complete a replacement in place that was killed; nothing happens where there is none.

    Raises:
        OSError: the folder can't be written.
    """
    if (target / READY).is_dir():
        with _locked(target):
            _finish(target)


def _finish(target: Path) -> None:
    """Every step may have been done before."""
    ready = target / READY
    if not ready.is_dir():
        return
    try:
        lines = (ready / _LIST).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:  # all was done but the last line
        lines = []
    for line in lines:
        name = Path(line[1:]).name  # never a path
        if line.startswith("+"):
            with suppress(FileNotFoundError):
                os.replace(ready / name, target / name)
        elif line.startswith("-"):
            (target / name).unlink(missing_ok=True)
    sync(target)
    (ready / _LIST).unlink(missing_ok=True)
    ready.rmdir()


# --- the disk and other processes --------------------------------------------------------------


def sync_folder(folder: Path) -> None:
    """Write a folder and all that is in it to the disk; a full one may only now say so."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Write a file or a folder's entries to the disk."""
    if sys.platform == "win32" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that knows no such
            raise
    finally:
        os.close(handle)


def _lock(folder: Path, wait: bool = True) -> int | None:
    """Lock a folder until the handle is closed; None where there are no locks.

    Raises:
        BlockingIOError: another process has it, and ``wait`` is not wanted.
    """
    if sys.platform == "win32":
        return None
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        os.close(handle)
        return None
    return handle


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = _lock(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _remove_abandoned(parent: Path, prefix: str) -> None:
    name = re.compile(re.escape(prefix) + r"[a-z0-9_]{8}")
    for path in [p for p in parent.iterdir() if name.fullmatch(p.name) and not p.is_symlink()]:
        try:
            handle = _lock(path, wait=False)
        except BlockingIOError:  # its process lives
            continue
        if handle is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(handle)

# SPDX-License-Identifier: Apache-2.0
"""Writes a bundle or a file as a whole or not at all, and to where it was told."""

import errno
import io
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.formats.table import TABLE
from bramcast.pack.bundle.swap import HIDDEN, finish, fresh_folder, put, sync

_SUFFIXES = "|".join(re.escape(f.suffix) for f in TABLE if f.in_bundle)
BUNDLE_FILE = re.compile(
    rf"(program|weights|bias|table)(_bank\d+)?({_SUFFIXES})"
    r"|images\.bin|bramcast_\w+\.[ch]|manifest\.json|float_results\.npz|provenance\.json"
)
_STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_OPEN_FILE = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_OTHERS_FILE = re.compile(r"/proc/\d+/fd/\d+")
_NAMED = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def replace_folder(
    target: Path, fill: Callable[[Path], None], ours: re.Pattern[str] = BUNDLE_FILE
) -> None:
    """Fill a new folder and put it in the target's place; a link leads to its folder.

    An old bundle stays as it is if ``fill`` raises, and a kill at any moment leaves the old one or
    the new one (pack/bundle/swap.py).

    Args:
        fill: writes files, no folders.
        ours: names of files that may be replaced.

    Raises:
        InputError: ``target`` is something else than a bundle, or can't be written.
    """
    what = "a bundle" if ours is BUNDLE_FILE else "what is written"
    if str(target) == "-" or (target.exists() and not target.is_dir()):
        raise InputError(f"{target}: is no folder; give a folder for {what}")
    try:
        real = Path(os.path.realpath(target))
        if real.is_dir():
            finish(real)
            known = (ours, HIDDEN)
            names = sorted(p.name for p in real.iterdir())
            foreign = [n for n in names if not any(one.fullmatch(n) for one in known)]
            if foreign:
                raise InputError(
                    f"{target}: holds {foreign[0]!r}, which is no part of {what} and would be "
                    "lost; move it away or give another folder"
                )
        real.parent.mkdir(parents=True, exist_ok=True)
        with fresh_folder(real) as fresh:
            fill(fresh)
            put(fresh, real)
    except OSError as error:
        raise InputError(f"{target}: can't be written: {error.strerror}") from None


def is_stdout(target: Path | None) -> bool:
    """Whether an output is standard output: ``-`` or its name as a device."""
    return str(target) in _STDOUT


def named(target: Path) -> str:
    """What an output is called in messages."""
    return "standard output" if is_stdout(target) else str(target)


def replace_file(target: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write what a function writes; see ``replace_bytes``.

    It writes into memory: pipes can't be positioned in, and some writers know no full disk.
    """
    file = io.BytesIO()
    write(file)
    replace_bytes(target, file.getvalue())


def replace_bytes(target: Path, content: bytes) -> None:
    """Write a file as a whole or not at all; a link leads to its file.

    ``-``, pipes, devices and open files (/dev/fd/3) are written into. So is a file that can't be
    replaced: a mount point, or one in a folder that can't be written.

    Raises:
        InputError: it can't be written.
    """
    try:
        if is_stdout(target):
            _to_stdout(content)
        elif (number := _open_file(target)) is not None:
            with os.fdopen(os.dup(number), "wb") as file:
                file.write(content)
        elif _OTHERS_FILE.fullmatch(os.path.abspath(target)):
            _write_into(target, content, os.O_APPEND)
        elif _is_sink(target):
            _write_into(target, content)
        else:
            _replace(Path(os.path.realpath(target)), content)
    except OSError as error:
        raise InputError(f"{named(target)}: can't be written: {error.strerror}") from None


def _to_stdout(content: bytes) -> None:
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed")
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:  # something else that takes text, as a notebook's
        sys.stdout.write(content.decode(errors="replace"))
        return
    try:
        buffer.write(content)
        buffer.flush()
    except OSError:  # a reader that has left, a full disk
        # What is left in the buffer must not raise again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _open_file(target: Path) -> int | None:
    """The number of an open file, whose place must move: opened anew it would have one of its own.

    >>> _open_file(Path("/dev/fd/3")), _open_file(Path("/dev/stderr")), _open_file(Path("fd/3"))
    (3, 2, None)
    """
    name = os.path.abspath(target)
    found = _OPEN_FILE.fullmatch(name)
    return int(found[1]) if found else _NAMED.get(name)


def _is_sink(target: Path) -> bool:
    """Whether it is there and neither a file nor a folder."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _write_into(target: Path, content: bytes, flags: int = 0) -> None:
    with os.fdopen(os.open(target, os.O_WRONLY | flags), "wb") as file:
        file.write(content)


def _replace(target: Path, content: bytes) -> None:
    """Write a regular file, new or there, and write it to the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.stat() if target.exists() else None
    if old is not None and stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder; give a file")
    if old is not None and not os.access(target.parent, os.W_OK | os.X_OK):
        _write_into(target, content, os.O_TRUNC)
        return
    file = tempfile.NamedTemporaryFile(  # noqa: SIM115 (closed before it is renamed)
        dir=target.parent, prefix=f".{target.name[:99]}.", delete=False
    )
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if old is not None:
            with suppress(PermissionError):
                os.chown(file.name, old.st_uid, old.st_gid)
        os.chmod(file.name, 0o644 if old is None else stat.S_IMODE(old.st_mode))
        try:
            os.replace(file.name, target)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            _write_into(target, content, os.O_TRUNC)  # a mount point
        sync(target.parent)
    finally:
        Path(file.name).unlink(missing_ok=True)

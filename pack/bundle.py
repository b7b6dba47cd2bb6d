# SPDX-License-Identifier: Apache-2.0
"""Writes a bundle as a whole or not at all."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bramcast.pack.errors import InputError
from bramcast.pack.image_formats import TABLE

_SUFFIXES = "|".join(re.escape(f.suffix) for f in TABLE if f.in_bundle)
BUNDLE_FILE = re.compile(
    rf"(program|weights|bias|table)(_bank\d+)?({_SUFFIXES})"
    r"|images\.bin|bramcast_\w+\.[ch]|manifest\.json|float_results\.npz"
)


def replace_folder(
    target: Path, fill: Callable[[Path], None], ours: re.Pattern[str] = BUNDLE_FILE
) -> None:
    """Fill a new folder beside ``target`` and put it in its place.

    An old bundle stays as it is if ``fill`` raises.

    Args:
        ours: names of files that may be replaced.

    Raises:
        InputError: ``target`` is something else than a bundle, or can't be written.
    """
    what = "a bundle" if ours is BUNDLE_FILE else "what is written"
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is a file; give a folder for {what}")
    if target.is_dir():
        foreign = sorted(p.name for p in target.iterdir() if not ours.fullmatch(p.name))
        if foreign:
            raise InputError(
                f"{target}: holds {foreign[0]!r}, which is no part of {what} and would be lost; "
                "move it away or give another folder"
            )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InputError(f"{target}: can't be written: {error.strerror}") from None
    try:
        try:
            fill(fresh)
        except OSError as error:
            raise InputError(f"{target}: can't be written: {error.strerror}") from None
        fresh.chmod(0o755)
        old = None
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
            os.rename(target, old / target.name)
        os.rename(fresh, target)
        if old is not None:
            shutil.rmtree(old)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def replace_bytes(target: Path, content: bytes) -> None:
    """Write a file of known content as a whole or not at all; see ``replace_file``."""
    replace_file(target, lambda file: file.write(content))


def replace_file(target: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file as a whole or not at all.

    Raises:
        InputError: it can't be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
            try:
                write(file)
                file.close()
                os.chmod(file.name, 0o644)
                os.replace(file.name, target)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise InputError(f"{target}: can't be written: {error.strerror}") from None

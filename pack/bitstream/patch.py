# SPDX-License-Identifier: Apache-2.0
"""New images in a finished bitstream: find the pattern, put words in its place, read them back."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from bramcast.pack.bitstream import ecp5, gowin, ice40
from bramcast.pack.bitstream.blocks import FileFormat
from bramcast.pack.bitstream.find import Ambiguous, find, first_runs
from bramcast.pack.bitstream.pattern import bit_columns, core_of, pattern
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.manifest import Core, Manifest
from bramcast.pack.bundle.words import Words

FORMATS = (ecp5.BIT, ecp5.CONFIG, ice40.BIN, ice40.ASC, gowin.FS)
MAX_BYTES = 1 << 28  # more than any part of these families has


@dataclass(frozen=True, slots=True)
class PatchedImage:
    """An image in a bitstream: ``blocks`` hold its ``copies``, all words of which were verified."""

    name: str
    words: int
    bits: int
    copies: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Patched:
    """A patched file's content, and what is in it.

    ``blocks``: block RAMs whose contents the file has, ours and others.
    """

    content: bytes
    format: FileFormat
    images: list[PatchedImage]
    blocks: int

    @property
    def words(self) -> int:
        """Words that were read back and compared."""
        return sum(image.words * image.copies for image in self.images)


def read_bitstream(path: Path) -> bytes:
    """A file's content.

    Raises:
        InputError: it can't be read, or is larger than any bitstream.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: is larger than any bitstream that can be patched")
    return content


def patch(path: Path, content: bytes, manifest: Manifest, images: Mapping[str, Words]) -> Patched:
    """Put a bundle's images into a bitstream that was built with the pattern.

    Args:
        path: of the bitstream, for messages.
        images: the bundle's, as deep as its core's memories.

    Raises:
        InputError: no bitstream that is known, none with the pattern, or one for another core;
            says what differs.
    """
    form = next((form for form in FORMATS if form.mine(content)), None)
    if form is None:
        raise InputError(
            f"{path}: is no bitstream that can be patched; known are "
            f"{', '.join(form.name for form in FORMATS)}"
        )
    before = form.read(path, content)
    shapes = form.family.shapes
    try:
        core = core_of(first_runs(before, shapes))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    # Where no column has the program's words one by one, the bundle's core may be it all the same.
    if other := misfits(core or manifest.core, manifest):
        raise InputError(f"{path}: is built for another core: {'; '.join(other)}")
    core = core or manifest.core
    held = {name: bit_columns(words) for name, words in pattern(core).items()}
    try:
        places = find(before, shapes, held)
    except Ambiguous as error:
        raise InputError(f"{path}: {error}; give the memory more words in the recipe") from None
    if not places.found:
        raise InputError(
            f"{path}: none of its {len(before.names)} block RAMs with contents holds the pattern "
            "of 'bramcast hdl --patchable': give the file that place and route wrote from such a "
            "folder; one that is patched has the network's own images and can't be patched again"
        )
    expected = {name: core.rq if name == "table" else 1 for name in held}
    for name, (rarest, most) in places.copies().items():
        if rarest != most or most != expected[name]:
            raise InputError(
                f"{path}: of {name}, {rarest} to {most} copies of a bit are found, expected "
                f"{expected[name]}: synthesis has put it elsewhere than into block RAM or in an "
                "unknown order, or the pattern was altered"
            )
    wanted = {name: bit_columns(images[name]) for name in held}
    after = form.write(path, content, places.replaced(before, wanted))
    if not places.holds(form.read(path, after), wanted):  # also where asserts are left out
        raise AssertionError(f"{path}: reads back other words")
    found = [
        PatchedImage(
            name=name,
            words=len(images[name]),
            bits=images[name].bits,
            copies=expected[name],
            blocks=places.blocks(name),
        )
        for name in held
    ]
    return Patched(after, form, found, len(before.names))


def misfits(built: Core, manifest: Manifest) -> list[str]:
    """Why a bundle's images can't run on a core that is built already; empty: they can."""
    core = manifest.core
    wrong = []
    for field in fields(Core):
        has, needs = getattr(built, field.name), getattr(core, field.name)
        if field.name == "scratch_depth":
            needs = manifest.scratch_words
            fits = needs <= has
        else:
            fits = needs <= has if isinstance(has, bool) else needs == has
        if not fits:
            wrong.append(f"{field.name} is {_said(has)}, the bundle's {_said(needs)}")
    return wrong


def _said(value: int) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:,}"

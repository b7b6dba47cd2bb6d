# SPDX-License-Identifier: Apache-2.0
"""A bundle's image files: written from words, loaded into words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bramcast.pack.bundle.errors import InputError, RecipeError
from bramcast.pack.bundle.formats.binary import (
    BIN_NAME,
    bin_bytes,
    no_words,
    sections,
    split_bin,
)
from bramcast.pack.bundle.formats.c_header import HEADER_NAME, header_text
from bramcast.pack.bundle.formats.readmem import mem_text, read_mem
from bramcast.pack.bundle.formats.table import (
    RECIPE_NAMES,
    ImageFormat,
    file_name,
    image_format,
    padded_depth,
)
from bramcast.pack.bundle.formats.text import ImageSource, read_source
from bramcast.pack.bundle.manifest import MANIFEST_NAME, Core, ImageInfo, Manifest, sha256
from bramcast.pack.bundle.words import Words, split_banks

DRIVERS = Path(__file__).parents[1] / "axi"
DRIVER_NAMES = ("bramcast_registers.h", "bramcast_driver.h", "bramcast_driver.c")  # as they are


def word_layout(name: str, core: Core) -> str:
    """How an image's word is divided, for people.

    >>> word_layout("bias", Core(16, 1, 8, 8, 2, 64, 10, 4, 0, 64))
    '2 entries of 36 bits'
    """
    return {
        "program": "32 bits",
        "weights": f"{core.lanes * core.taps} lanes of {core.weight_bits} bits",
        "bias": f"{core.rq} entries of 36 bits",
        "table": "8 bits" if core.data_bits == 8 else "slope and start, 16 bits each",
    }[name]


def checked_infos(bundle: Path, manifest: Manifest) -> dict[str, ImageInfo]:
    """The manifest's entry for each of the core's images.

    Raises:
        InputError: one is missing, or has another shape than the core's memory.
    """
    infos = {info.name: info for info in manifest.images}
    for section in sections(manifest.core):
        info = infos.get(section.name)
        if info is None:
            raise InputError(
                f"{bundle / MANIFEST_NAME}: images: no entry for {section.name!r}, "
                f"but the core has {section.words} words of it"
            )
        if (info.bits, info.words) != (section.bits, section.words):
            raise InputError(
                f"{bundle / MANIFEST_NAME}: image {section.name!r} has {info.words} words of "
                f"{info.bits} bits, its core {section.words} of {section.bits}"
            )
    return {section.name: infos[section.name] for section in sections(manifest.core)}


def load_images(bundle: Path, manifest: Manifest, allow_modified: bool = False) -> dict[str, Words]:
    """Read a bundle's .mem files, the ones that the FPGA is loaded with.

    Args:
        allow_modified: check only the form, not that the files are the ones that were packed.

    Returns:
        An entry for every image that the core has a memory for.

    Raises:
        InputError: a malformed file, or one whose SHA-256 is not the manifest's; names the first
            line that differs if images.bin is intact.
    """
    core = manifest.core
    infos = checked_infos(bundle, manifest)
    images: dict[str, Words] = {}
    for section in sections(core):
        info = infos[section.name]
        path = bundle / f"{section.name}.mem"
        what = word_layout(section.name, core)
        if not path.exists():
            raise InputError(f"{path}: no such file; pack the network again")
        words = images[section.name] = read_mem(path, section.bits, section.words, what)
        if not allow_modified and sha256(mem_text(words, section.words)) != info.sha256:
            line = _first_difference(bundle, manifest, section.name, words)
            place = f"{path}:{line}" if line else f"{path}"
            raise InputError(
                f"{place}: differs from what was packed (SHA-256 does not match {MANIFEST_NAME}); "
                "repack, or pass --allow-modified to run it as it is"
            )
    return images


def _first_difference(bundle: Path, manifest: Manifest, name: str, words: Words) -> int | None:
    """The first line where ``words`` differ from images.bin; None if that is damaged, too."""
    path = bundle / BIN_NAME
    recorded = next((i.files[BIN_NAME] for i in manifest.images if BIN_NAME in i.files), None)
    if recorded is None or not path.is_file():
        return None
    source = read_source(path)
    if sha256(source.raw) != recorded:
        return None
    packed = split_bin(source, manifest.core)[name]
    different = np.flatnonzero(np.any(packed.data != words.data, axis=1))
    return int(different[0]) + 1 if different.size else None


# --- writing


def write_image_files(
    folder: Path,
    images: Mapping[str, Words],
    core: Core,
    formats: Sequence[str],
    bank_bits: int | None = None,
    pad_depth: int | str | None = None,
) -> list[ImageInfo]:
    """Write all images into an existing folder, each filled up to the core's depth with zeros.

    NAME.mem, which the core loads, images.bin, the C header and the C driver are always written.
    Every file is read back and compared with the words before it is written.

    Args:
        images: by name; one that is missing is all zeros.
        formats: further formats, a choice of ``RECIPE_NAMES``.
        bank_bits: an image with wider words is written in each format (mem, too) as NAME_bank0 ..,
            bank 0 holding the least significant bits, beside the whole NAME.mem.
        pad_depth: words of every file but NAME.mem, or "power of two"; else the core's depth.

    Returns:
        An entry for each image whose depth is not 0; images.bin and the C files are listed among
        the files of the first one, the program.

    Raises:
        RecipeError: an unknown format, one that can't hold an image, or an image that does not fit
            the core's memory.
    """
    for name in formats:
        if name not in RECIPE_NAMES:
            raise RecipeError(f"unknown image format {name!r}; known are {', '.join(RECIPE_NAMES)}")
    chosen = list(dict.fromkeys(image_format(name) for name in ("mem", *formats)))
    for name, words in images.items():
        if len(words) > core.depth(name):
            raise RecipeError(
                f"{len(words)} words of {name} don't fit {name}_depth = {core.depth(name)}; "
                f"raise it to at least {len(words)}"
            )
        if words.bits != core.word_bits(name):
            raise ValueError(f"{name}: words of {words.bits} bits, expected {core.word_bits(name)}")
    infos: list[ImageInfo] = []
    common = {BIN_NAME: bin_bytes(images, core), HEADER_NAME: header_text(images, core)}
    common |= {name: (DRIVERS / name).read_bytes() for name in DRIVER_NAMES}
    for section in sections(core):
        words = images.get(section.name, no_words(section.bits)).padded(section.words)
        cut = bank_bits if bank_bits is not None and bank_bits < section.bits else 0
        files = _files(section.name, words, chosen, cut, pad_depth)
        sums = {file: sha256(content) for file, content in files.items()}
        if not infos:
            sums |= {file: sha256(content) for file, content in common.items()}
            files |= common
        for file, content in files.items():
            (folder / file).write_bytes(content)
        infos.append(
            ImageInfo(
                name=section.name,
                words=section.words,
                used=len(images.get(section.name, ())),
                bits=section.bits,
                sha256=sums[f"{section.name}.mem"],
                files=sums,
                bank_bits=cut,
            )
        )
    return infos


def _files(
    name: str, words: Words, formats: Sequence[ImageFormat], cut: int, pad: int | str | None
) -> dict[str, bytes]:
    """All files of one image, NAME.mem first."""
    try:
        depth = len(words) if pad is None else padded_depth(len(words), pad)
    except ValueError as error:
        raise RecipeError(f"image {name!r}: {error}: raise images.pad_depth") from None
    files = {f"{name}.mem": mem_text(words, len(words))}
    banks = list(enumerate(split_banks(words, cut))) if cut else [(None, words)]
    for fmt in formats:
        complaint = fmt.complaint(cut or words.bits, depth)
        if complaint:
            raise RecipeError(f"image {name!r}: {complaint}")
        for bank, part in banks:
            file = file_name(name, fmt, bank)
            if file not in files:
                files[file] = write_checked(part, fmt, depth)
    return files


def write_checked(words: Words, fmt: ImageFormat, depth: int) -> bytes:
    """A file's bytes, read back and compared with the words."""
    content = fmt.write(words, depth)
    back = fmt.parse(ImageSource(Path(fmt.name), content), words.bits).words
    assert back == words.padded(depth), f"{fmt.name} reads other words than it wrote"
    return content

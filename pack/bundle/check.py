# SPDX-License-Identifier: Apache-2.0
"""Checks a bundle: files against the manifest, all files of an image against each other."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.float_results import FLOAT_RESULTS_NAME
from bramcast.pack.bundle.formats.binary import BIN_NAME, Section, sections, split_bin
from bramcast.pack.bundle.formats.c_header import HEADER_NAME, c_array
from bramcast.pack.bundle.formats.readmem import read_mem
from bramcast.pack.bundle.formats.table import check_written, format_of_file
from bramcast.pack.bundle.formats.text import ImageSource, read_source
from bramcast.pack.bundle.images import DRIVER_NAMES, checked_infos
from bramcast.pack.bundle.manifest import MANIFEST_NAME, ImageInfo, Manifest, as_written, sha256
from bramcast.pack.bundle.provenance import PROVENANCE_NAME
from bramcast.pack.bundle.swap import HIDDEN
from bramcast.pack.bundle.words import Words, from_axi, split_banks


@dataclass(frozen=True, slots=True)
class FileState:
    """What became of one file of a bundle.

    Attributes:
        image: whose words it holds; empty for files that hold none.
        format: its form's name.
        equal: it is as it was packed and says what the image's other files say.
    """

    image: str
    file: str
    format: str
    equal: bool
    detail: str


_BANK = re.compile(r"_bank(\d{1,3})(?=\.)")
_AS_PACKED = "as packed"
_CHANGED = "differs from what was packed"


def check_bundle(bundle: Path, manifest: Manifest) -> list[FileState]:
    """Compare every file of a bundle with the manifest, and all forms of an image with each other.

    The words that others are compared with come from the first file that is as it was packed.

    Returns:
        One entry for each file and image, then the C driver, the float network's results, the
        manifest if it has its own sum, and files that nobody listed.

    Raises:
        InputError: the manifest does not describe its core's images.
    """
    states: list[FileState] = []
    listed = {MANIFEST_NAME, PROVENANCE_NAME}
    shapes = {section.name: section for section in sections(manifest.core)}
    for info in checked_infos(bundle, manifest).values():
        listed |= set(info.files)
        own = [file for file in info.files if file.startswith((f"{info.name}.", f"{info.name}_"))]
        shared = [file for i in manifest.images for file in i.files if file in _SHARED]
        sums = {file: i.files[file] for i in manifest.images for file in i.files}
        read = {file: _read(bundle, file, info, manifest, shapes[info.name], sums[file])
                for file in (*own, *shared)}  # fmt: skip
        reference = _reference(info, read)
        states += [_state(info, file, found, reference) for file, found in read.items()]
    for info in manifest.images:
        for file in DRIVER_NAMES:
            if file in info.files:
                states.append(_plain_state(bundle, file, "c", info.files[file]))
    if manifest.float_results is not None and (bundle / FLOAT_RESULTS_NAME).exists():
        listed.add(FLOAT_RESULTS_NAME)
        states.append(_plain_state(bundle, FLOAT_RESULTS_NAME, "npz", manifest.float_results))
    if manifest.sha256 is not None:
        same = as_written(read_source(bundle / MANIFEST_NAME).raw, manifest)
        detail = _AS_PACKED if same else _CHANGED
        states.append(FileState("", MANIFEST_NAME, "json", same, detail))
    for path in sorted(bundle.iterdir()):
        if path.name not in listed and not HIDDEN.fullmatch(path.name):
            states.append(FileState("", path.name, "", False, "is not in the manifest"))
    return states


_SHARED = {BIN_NAME: "bin", HEADER_NAME: "h"}


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A file of an image: its words (None: malformed, ``complaint`` says how)."""

    format: str
    words: Words | None
    intact: bool
    complaint: str = ""
    source: ImageSource | None = None


def _read(
    bundle: Path, file: str, info: ImageInfo, manifest: Manifest, shape: Section, recorded: str
) -> _Found:
    name = _SHARED.get(file, "")
    try:
        name = name or format_of_file(file).name
        source = read_source(bundle / file)
        intact = sha256(source.raw) == recorded
        if file == BIN_NAME:
            words = split_bin(source, manifest.core)[info.name]
        elif file == HEADER_NAME:
            words = _from_header(source, shape)
        elif file == f"{info.name}.mem":
            words = read_mem(source.path, info.bits, info.words)
        else:
            bits = _bits(source, file, info)
            fmt = format_of_file(file)
            words = check_written(source, fmt, bits, len(fmt.parse(source, bits).words))
            if len(words) < info.words:
                source.fail(0, f"{len(words)} words, expected at least {info.words}")
        return _Found(name, words, intact, source=source)
    except InputError as error:
        return _Found(name, None, False, str(error))


def _bits(source: ImageSource, file: str, info: ImageInfo) -> int:
    """Bits of a word of the file: those of the image or of a bank."""
    bank = _BANK.search(file)
    if bank is None:
        return info.bits
    if not info.bank_bits or int(bank.group(1)) >= -(-info.bits // info.bank_bits):
        source.fail(0, f"{MANIFEST_NAME} knows no such bank of {info.name!r}")
    return info.bank_bits


def _from_header(source: ImageSource, shape: Section) -> Words:
    values, _ = c_array(source, source.text(), f"bramcast_{shape.name}")
    if len(values) != shape.words * shape.axi_words:
        expected = shape.words * shape.axi_words
        source.fail(0, f"bramcast_{shape.name} has {len(values)} elements, expected {expected}")
    try:
        return from_axi(values.reshape(shape.words, shape.axi_words), shape.bits)
    except ValueError as error:
        source.fail(0, f"bramcast_{shape.name}: {error}")


def _reference(info: ImageInfo, read: dict[str, _Found]) -> Words | None:
    """The image's words from the first whole file that is as it was packed, else from NAME.mem."""
    whole = [f for file, f in read.items() if f.words is not None and not _BANK.search(file)]
    chosen = next((f.words for f in whole if f.intact), whole[0].words if whole else None)
    return None if chosen is None else Words(info.bits, chosen.data[: info.words])


def _state(info: ImageInfo, file: str, found: _Found, reference: Words | None) -> FileState:
    def state(equal: bool, detail: str) -> FileState:
        return FileState(info.name, file, found.format, equal, detail)

    if found.words is None:
        return state(False, found.complaint)
    words, source = found.words, found.source
    assert source is not None
    if reference is None:
        return state(found.intact, _AS_PACKED if found.intact else _CHANGED)
    bank = _BANK.search(file)
    expected = split_banks(reference, info.bank_bits)[int(bank.group(1))] if bank else reference
    expected = expected.padded(len(words))
    different = np.flatnonzero(np.any(words.data != expected.data, axis=1))
    if len(different):
        at = int(different[0])
        place = str(source.path)
        if file not in _SHARED and found.format != "npz":
            lines = format_of_file(file).parse(source, words.bits).lines
            place += f":{int(lines[at])}"
        return state(
            False,
            f"{place}: word {at} is 0x{words.integer(at):X}, that of the other files "
            f"0x{expected.integer(at):X}; {len(different):,} words differ",
        )
    if not found.intact:
        return state(False, f"same words, but other bytes than packed ({MANIFEST_NAME})")
    return state(True, f"{len(words):,} words of {words.bits} bits")


def _plain_state(bundle: Path, file: str, format: str, recorded: str) -> FileState:
    try:
        same = sha256(read_source(bundle / file).raw) == recorded
    except InputError as error:
        return FileState("", file, format, False, str(error))
    return FileState("", file, format, same, _AS_PACKED if same else _CHANGED)

# SPDX-License-Identifier: Apache-2.0
"""The formats of image files: one table for the recipe, the command line and the documentation."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.formats.binary import npz_bytes, parse_npz, parse_raw, raw_bytes
from bramcast.pack.bundle.formats.c_header import c_text, parse_c
from bramcast.pack.bundle.formats.coe import coe_text, parse_coe
from bramcast.pack.bundle.formats.lattice_gowin import (
    GOWIN,
    LATTICE,
    headed_text,
    parse_gowin,
    parse_lattice,
)
from bramcast.pack.bundle.formats.quartus import (
    HEX_MAX_BITS,
    hex_text,
    mif_text,
    parse_hex,
    parse_mif,
)
from bramcast.pack.bundle.formats.readmem import (
    mem_text,
    memb_text,
    parse_mem,
    parse_memb,
    updatemem_text,
)
from bramcast.pack.bundle.formats.text import MAX_BITS, MAX_DEPTH, Content, ImageSource, read_source
from bramcast.pack.bundle.words import Words


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """A format of image files.

    Attributes:
        name: what recipe and command line call it.
        suffix: how its files end.
        reader: the tool that reads them.
        write: the file of some words, filled up to a depth with zeros.
        parse: what a file says; the width where it doesn't say it itself.
        max_bits, max_depth: limits of the format; ``step``: the width is a multiple of it.
        in_bundle: a recipe may ask for it.
        asks_bits: its files leave open where a word ends.
        binary: its files are no text.
    """

    name: str
    suffix: str
    reader: str
    write: Callable[[Words, int], bytes]
    parse: Callable[[ImageSource, int | None], Content]
    max_bits: int = MAX_BITS
    max_depth: int = MAX_DEPTH
    step: int = 1
    in_bundle: bool = True
    asks_bits: bool = False
    binary: bool = False

    def complaint(self, bits: int, depth: int) -> str | None:
        """Why the format can't hold a memory; None if it can."""
        if bits > self.max_bits:
            return (
                f"format {self.name} holds words of at most {self.max_bits} bits, not {bits}; "
                f"cut them into banks (bank_bits)"
            )
        if bits % self.step:
            return (
                f"format {self.name} holds words of a multiple of {self.step} bits, not {bits}; "
                f"cut them into banks of 8, 16, 32 .. bits (bank_bits)"
            )
        if depth > self.max_depth:
            return f"format {self.name} holds at most {self.max_depth} words, not {depth}"
        return None


def _lattice(name: str, form: str) -> ImageFormat:
    return ImageFormat(
        name=name,
        suffix=f".{name}.mem",
        reader=f"Diamond, Radiant ({form})",
        write=partial(headed_text, LATTICE, form),
        parse=parse_lattice,
        max_bits=256,
        max_depth=65536,
    )


def _gowin(name: str, suffix: str, form: str) -> ImageFormat:
    write = partial(headed_text, GOWIN, form)
    return ImageFormat(name, suffix, f"Gowin ({form})", write, parse_gowin)


TABLE = (
    ImageFormat("mem", ".mem", "$readmemh: every simulator and synthesizer, XPM", mem_text,
                parse_mem),
    ImageFormat("memb", ".memb.mem", "$readmemb", memb_text, parse_memb),
    ImageFormat("updatemem", ".updatemem.mem", "Vivado updatemem -data", updatemem_text,
                parse_mem, max_bits=64, step=8),
    ImageFormat("coe", ".coe", "Vivado Block Memory Generator", coe_text, parse_coe),
    ImageFormat("mif", ".mif", "Quartus", mif_text, parse_mif),
    ImageFormat("hex", ".hex", "Quartus (Intel HEX, addresses count words)", hex_text, parse_hex,
                max_bits=HEX_MAX_BITS, step=8, asks_bits=True),
    _lattice("lattice", "Hex"),
    _lattice("lattice_bin", "Bin"),
    _lattice("lattice_addr", "AddrHex"),
    _gowin("gowin", ".mi", "Hex"),
    _gowin("gowin_bin", ".bin.mi", "Bin"),
    _gowin("gowin_addr", ".addr.mi", "AddrHex"),
    ImageFormat("npz", ".npz", "NumPy", npz_bytes, parse_npz, binary=True),
    ImageFormat("bin", ".bin", "software (little-endian bytes)", raw_bytes, parse_raw,
                in_bundle=False, asks_bits=True, binary=True),
    ImageFormat("h", ".h", "C", c_text, parse_c, in_bundle=False),
)  # fmt: skip
SAME = {"efinix": "mem", "achronix": "mem"}  # other names for the same files
NAMES = (*(f.name for f in TABLE), *SAME)
RECIPE_NAMES = (*(f.name for f in TABLE if f.in_bundle), *SAME)


def image_format(name: str) -> ImageFormat:
    """The format called ``name``.

    Raises:
        InputError: there is none.
    """
    name = SAME.get(name, name)
    found = next((f for f in TABLE if f.name == name), None)
    if found is None:
        raise InputError(f"unknown image format {name!r}; known are {', '.join(NAMES)}")
    return found


def format_of_file(name: str) -> ImageFormat:
    """The format of a file that bramcast wrote, by its suffix; the longest one counts.

    >>> format_of_file("weights_bank0.lattice.mem").name, format_of_file("bias.mem").name
    ('lattice', 'mem')
    """
    fitting = [f for f in TABLE if name.endswith(f.suffix)]
    if not fitting:
        raise InputError(f"{name}: no suffix of an image file")
    return max(fitting, key=lambda f: len(f.suffix))


def file_name(image: str, fmt: ImageFormat, bank: int | None = None) -> str:
    """The name of an image's file, or that of one of its banks.

    >>> file_name("weights", image_format("mif")), file_name("bias", image_format("gowin"), 2)
    ('weights.mif', 'bias_bank2.mi')
    """
    return f"{image}{'' if bank is None else f'_bank{bank}'}{fmt.suffix}"


def padded_depth(words: int, depth: int | str) -> int:
    """The depth to write for so many words: a number, or "power of two".

    Raises:
        ValueError: the words don't fit.

    >>> padded_depth(300, "power of two"), padded_depth(300, 1000)
    (512, 1000)
    """
    if isinstance(depth, str):
        return 1 << max(0, words - 1).bit_length()
    if words > depth:
        raise ValueError(f"{words} words don't fit a depth of {depth}")
    return depth


_SIGNS = (
    ("h", re.compile(rb"static const uint32_t ")),
    ("coe", re.compile(rb"memory_initialization_(?:radix|vector)\s*=", re.IGNORECASE)),
    ("gowin", re.compile(rb"^[ \t]*#[ \t]*File_format[ \t]*=", re.IGNORECASE | re.MULTILINE)),
    ("lattice", re.compile(rb"^[ \t]*#[ \t]*Format[ \t]*=", re.IGNORECASE | re.MULTILINE)),
    ("mif", re.compile(rb"\bCONTENT\s+BEGIN\b|\bWIDTH\s*=|\bDEPTH\s*=", re.IGNORECASE)),
    ("hex", re.compile(rb"\A\s*:[0-9A-F]{10}", re.IGNORECASE)),
)
_HEAD = 1 << 16  # bytes that are looked at; longer leading comments are nobody's


def recognise(source: ImageSource) -> ImageFormat:
    """The format of anybody's file: by its content, and by its name where that leaves it open.

    Raises:
        InputError: none fits; says how to name it.
    """
    name = source.path.name.lower()
    if source.raw[:4] == b"PK\x03\x04":
        return image_format("npz")
    if name.endswith(".bin"):
        return image_format("bin")
    head = source.raw[:_HEAD].removeprefix(b"\xef\xbb\xbf")
    for sign, pattern in _SIGNS:
        if pattern.search(head):
            return image_format(sign)
    bare = re.sub(rb"//[^\n]*|/\*.*?(?:\*/|\Z)|\s|@[0-9A-Fa-f]+", b"", head, flags=re.DOTALL)
    if name.endswith((".coe", ".mi", ".mif", ".npz", ".h")):
        # Vivado's own .mif: binary digits and nothing else
        if name.endswith(".mif") and bare and re.fullmatch(rb"[01]+", bare):
            return image_format("memb")
        return format_of_file(name)
    if name.endswith((".lattice.mem", ".lattice_bin.mem", ".lattice_addr.mem")):
        return image_format("lattice")
    if name.endswith((".memb", ".memb.mem", "_b.mem")):
        return image_format("memb")
    if re.fullmatch(rb"[0-9A-Fa-f_xXzZ?,#]*", bare):
        return image_format("mem")
    source.text()  # says so if it is no text at all
    source.fail(0, f"no format recognised; say which with --from: {', '.join(NAMES)}")


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file that was read."""

    source: ImageSource
    format: ImageFormat
    content: Content

    @property
    def path(self) -> Path:
        return self.source.path

    def place(self, address: int) -> str:
        """``file:line`` of a word, or what stands for it in files without lines."""
        line = int(self.content.lines[address]) if address < len(self.content.lines) else 0
        if not line:
            return f"{self.path} (not given)"
        return f"{self.path}:{line}" if self.format.name not in ("bin", "npz") else f"{self.path}"


def read_image(path: Path, name: str | None = None, bits: int | None = None) -> ImageFile:
    """Read anybody's image file.

    Args:
        name: its format; None recognises it.
        bits: the words' width, for files that don't say it.

    Raises:
        InputError: names file and line.
    """
    source = read_source(path)
    fmt = image_format(name) if name is not None else recognise(source)
    return ImageFile(source, fmt, fmt.parse(source, bits))


def check_written(source: ImageSource, fmt: ImageFormat, bits: int, depth: int) -> Words:
    """Read a file strictly: it must be byte for byte what bramcast writes.

    Raises:
        InputError: names the file and the first line that differs.
    """
    if not source.raw:
        source.fail(0, "the file is empty; repack the bundle")
    words = fmt.parse(source, bits).words
    if len(words) != depth:
        source.fail(0, f"{len(words)} words, expected {depth}; repack the bundle")
    expected = fmt.write(words, depth)
    if expected != source.raw:
        if fmt.name in ("bin", "npz"):
            source.fail(0, "not as bramcast writes it; repack the bundle")
        length = min(len(expected), len(source.raw))
        one, two = (np.frombuffer(raw, np.uint8, length) for raw in (expected, source.raw))
        different = np.flatnonzero(one != two)
        at = int(different[0]) if len(different) else length
        line = expected.count(b"\n", 0, at)
        pair = [(*raw.split(b"\n"), b"")[line][:80] for raw in (expected, source.raw)]
        want, got = (repr(text.decode("ascii", "backslashreplace")) for text in pair)
        source.fail(line + 1, f"expected {want}, got {got}")
    return words


def read_written(path: Path, name: str, bits: int, depth: int) -> Words:
    """``check_written`` for a path and a format's name."""
    return check_written(read_source(path), image_format(name), bits, depth)

"""Memory images as files: .mem, .coe, .mif, images.bin and the C header.

Writers and readers are each other's inverse, and the readers are strict: a file that differs in
form from what the writer makes is refused with the file's name and line, because synthesis tools
take a malformed image without a word (a missing or short file becomes zeros). The text is made and
read by whole-array operations; only the search for the offending line looks at single lines.
"""

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.descriptor import (
    ADDRESS_BITS,
    DESCRIPTOR_WORDS,
    INPUT_FIELDS,
    NEST_FIELDS,
    OP_INPUT,
    OP_NEST,
    OPCODE,
)
from bramcast.pack.errors import InputError, RecipeError
from bramcast.pack.manifest import FORMAT, IMAGES, MANIFEST_NAME, Core, ImageInfo, Manifest, sha256
from bramcast.pack.words import Words, from_axi, to_axi

BIN_NAME = "images.bin"
HEADER_NAME = "bramcast_images.h"
DRIVER_NAMES = ("bramcast_registers.h", "bramcast_driver.h", "bramcast_driver.c")  # as they are
FORMATS = ("mem", "coe", "mif", "bin", "h")  # what a recipe may ask for

_HEX = np.frombuffer(b"0123456789ABCDEF", np.uint8)
_PAIRS = np.stack([_HEX.repeat(16), np.tile(_HEX, 16)], axis=1)  # [256, 2]: byte -> two digits
_BAD = 255
_NIBBLES = np.full(256, _BAD, np.uint8)
_NIBBLES[_HEX] = np.arange(16)
_LF = ord("\n")


def _hex_columns(words: Words) -> NDArray[np.uint8]:
    """ASCII hex digits of each word, most significant first: uint8 [n, digits]."""
    n, n_bytes = words.data.shape
    text = np.take(_PAIRS, words.data[:, ::-1], axis=0).reshape(n, 2 * n_bytes)
    return text[:, 2 * n_bytes - words.digits :]


def _rows(n: int, *parts: NDArray[np.uint8] | bytes) -> NDArray[np.uint8]:
    """Text columns side by side; bytes repeat in every row. uint8 [n, width]."""
    columns = [
        np.broadcast_to(np.frombuffer(p, np.uint8), (n, len(p))) if isinstance(p, bytes) else p
        for p in parts
    ]
    return np.concatenate(columns, axis=1)


def mem_text(words: Words, depth: int) -> bytes:
    r"""The .mem file for ``$readmemh``: ``depth`` lines, unused words zero.

    >>> mem_text(Words(12, np.array([[0xBC, 0x0A]], np.uint8)), 2)
    b'ABC\n000\n'
    """
    padded = words.padded(depth)
    return _rows(depth, _hex_columns(padded), b"\n").tobytes()


_COE_HEAD = b"memory_initialization_radix=16;\nmemory_initialization_vector=\n"


def coe_text(words: Words, depth: int) -> bytes:
    """The .coe file for Vivado's Block Memory Generator.

    >>> print(coe_text(Words(12, np.array([[0xBC, 0x0A]], np.uint8)), 2).decode(), end="")
    memory_initialization_radix=16;
    memory_initialization_vector=
    ABC,
    000;
    """
    body = _rows(depth, _hex_columns(words.padded(depth)), b",\n")
    body[-1, -2] = ord(";")
    return _COE_HEAD + body.tobytes()


def _mif_head(bits: int, depth: int) -> bytes:
    return (
        f"WIDTH={bits};\nDEPTH={depth};\nADDRESS_RADIX=HEX;\nDATA_RADIX=HEX;\nCONTENT BEGIN\n"
    ).encode()


_MIF_END = b"END;\n"


def _mif_addresses(depth: int) -> NDArray[np.uint8]:
    """Hex addresses 0..depth-1, all as wide as the last one: uint8 [depth, digits]."""
    bits = max(4, (depth - 1).bit_length())
    index = np.arange(depth, dtype="<u4").view(np.uint8).reshape(depth, 4)
    return _hex_columns(Words(bits, np.ascontiguousarray(index[:, : -(-bits // 8)])))


def mif_text(words: Words, depth: int) -> bytes:
    """The .mif file for Quartus.

    >>> print(mif_text(Words(12, np.array([[0xBC, 0x0A]], np.uint8)), 2).decode(), end="")
    WIDTH=12;
    DEPTH=2;
    ADDRESS_RADIX=HEX;
    DATA_RADIX=HEX;
    CONTENT BEGIN
    0 : ABC;
    1 : 000;
    END;
    """
    padded = words.padded(depth)
    body = _rows(depth, _mif_addresses(depth), b" : ", _hex_columns(padded), b";\n")
    return _mif_head(words.bits, depth) + body.tobytes() + _MIF_END


@dataclass(frozen=True, slots=True)
class Section:
    """Where an image lies in images.bin: ``words`` words of ``axi_words`` 32-bit words each."""

    name: str
    bits: int
    words: int
    offset: int  # bytes

    @property
    def axi_words(self) -> int:
        return -(-self.bits // 32)

    @property
    def bytes(self) -> int:
        return 4 * self.axi_words * self.words


def sections(core: Core) -> list[Section]:
    """The images in images.bin, one after another; those with depth 0 are left out.

    >>> [(s.name, s.offset, s.bytes) for s in sections(Core(16, 1, 8, 8, 2, 64, 10, 4, 0, 64))]
    [('program', 0, 256), ('weights', 256, 160), ('bias', 416, 48)]
    """
    result: list[Section] = []
    offset = 0
    for name in IMAGES:
        if core.depth(name):
            section = Section(name, core.word_bits(name), core.depth(name), offset)
            result.append(section)
            offset += section.bytes
    return result


def bin_bytes(images: Mapping[str, Words], core: Core) -> bytes:
    """images.bin: every word as little-endian bytes, filled up to whole 32-bit words."""
    parts = []
    for section in sections(core):
        words = images.get(section.name, _empty(section)).padded(section.words)
        parts.append(to_axi(words).astype("<u4").tobytes())
    return b"".join(parts)


def _empty(section: Section) -> Words:
    return Words(section.bits, np.zeros((0, -(-section.bits // 8)), np.uint8))


def _c_array(name: str, values: NDArray[np.uint32]) -> bytes:
    """``static const uint32_t NAME[n] = {...};`` with eight numbers a line."""
    n, cell = len(values), b" 0x00000000u,"
    digits = _hex_columns(Words(32, values.astype("<u4").view(np.uint8).reshape(-1, 4)))
    lines = np.empty((n // 8, 8 * len(cell) + 1), np.uint8)
    lines[...] = np.frombuffer(cell * 8 + b"\n", np.uint8)
    cells = lines[:, :-1].reshape(-1, 8, len(cell))  # a view
    cells[:, :, 3:11] = digits[: n // 8 * 8].reshape(-1, 8, 8)
    rest = b"".join(b" 0x%su," % row.tobytes() for row in digits[n // 8 * 8 :])
    body = lines.tobytes() + (rest + b"\n" if rest else b"")
    return b"".join(
        [f"static const uint32_t {name}[{n}] = {{\n".encode(), body, b"};\n"],
    )


def _c_fields(prefix: str) -> list[str]:
    layout = {"OPCODE": OPCODE}
    layout |= {
        name.upper(): f for name, f in (INPUT_FIELDS if prefix == "INPUT" else NEST_FIELDS).items()
    }
    lines = []
    for name, field in layout.items():
        stem = f"BRAMCAST_{prefix}_{name}"
        lines += [
            f"#define {stem}_WORD {field.word}",
            f"#define {stem}_LSB {field.lsb}",
            f"#define {stem}_BITS {field.bits}",
            f"#define {stem}_SIGNED {int(field.signed)}",
        ]
    return lines


def _c_network(core: Core) -> list[str]:
    """BRAMCAST_NETWORK, which initializes the driver's bramcast_network_t."""
    shape = [core.lanes, core.taps, core.rq, core.data_bits, core.weight_bits]
    shape += [int(core.narrow), int(core.gates), core.scratch_depth]
    present = {s.name for s in sections(core)}
    rows = []
    for name in IMAGES:
        stem = f"BRAMCAST_{name.upper()}"
        counts = f"{stem}_WORDS, {stem}_AXI_PER_WORD, {stem}_CRC32"
        rows.append(f"{{bramcast_{name}, {counts}}}" if name in present else "{0, 0u, 0u, 0u}")
    lines = ["{" + ", ".join(f"{n}u" for n in shape) + ", {", *(f"  {row}," for row in rows), "}}"]
    return ["#define BRAMCAST_NETWORK \\", *(f"  {line} \\" for line in lines[:-1]), "  }}"]


def header_text(images: Mapping[str, Words], core: Core) -> bytes:
    """bramcast_images.h: the images as C99 arrays, the core's parameters, the descriptor's fields.

    One array element is one 32-bit AXI word; a wider memory word takes several, least significant
    first, exactly as in images.bin. The arrays serve pack/bramcast_driver.c as BRAMCAST_NETWORK.
    """
    data = bin_bytes(images, core)
    lines = [
        "/* Written by bramcast pack; do not edit. docs/format.md explains every number. */",
        "#ifndef BRAMCAST_IMAGES_H",
        "#define BRAMCAST_IMAGES_H",
        "",
        "#include <stdint.h>",
        "",
        f"#define BRAMCAST_FORMAT {FORMAT}",
        "",
        "/* the core that the images are laid out for; depths in words */",
    ]
    for key in (
        *("lanes", "taps", "data_bits", "weight_bits", "rq"),
        *("program_depth", "weights_depth", "bias_depth", "table_depth", "scratch_depth"),
    ):
        lines.append(f"#define BRAMCAST_{key.upper()} {getattr(core, key)}")
    lines += [
        "",
        "/* images.bin: offset and CRC-32 in bytes, counts in memory words and AXI words */",
    ]
    lines.append(f"#define BRAMCAST_BIN_BYTES {len(data)}")
    for s in sections(core):
        stem = f"BRAMCAST_{s.name.upper()}"
        crc = zlib.crc32(data[s.offset : s.offset + s.bytes])
        lines += [
            f"#define {stem}_WORDS {s.words}",
            f"#define {stem}_WORD_BITS {s.bits}",
            f"#define {stem}_AXI_PER_WORD {s.axi_words}",
            f"#define {stem}_AXI_WORDS {s.axi_words * s.words}",
            f"#define {stem}_OFFSET {s.offset}",
            f"#define {stem}_CRC32 0x{crc:08X}u",
        ]
    lines += [
        "",
        "/* the program: descriptors of 32 words; field = (words[WORD] >> LSB) & (2**BITS - 1) */",
        f"#define BRAMCAST_DESCRIPTOR_WORDS {DESCRIPTOR_WORDS}",
        f"#define BRAMCAST_ADDRESS_BITS {ADDRESS_BITS}",
        f"#define BRAMCAST_OP_INPUT {OP_INPUT}",
        f"#define BRAMCAST_OP_NEST {OP_NEST}",
        *_c_fields("INPUT"),
        *_c_fields("NEST"),
        "",
    ]
    arrays = [
        _c_array(
            f"bramcast_{s.name}",
            np.frombuffer(data, "<u4", s.bytes // 4, s.offset).astype(np.uint32),
        )
        for s in sections(core)
    ]
    network = [
        "",
        "/* static const bramcast_network_t network = BRAMCAST_NETWORK;   (bramcast_driver.h) */",
        *_c_network(core),
        "",
        "#endif",
        "",
    ]
    parts = ["\n".join(lines).encode(), *arrays, "\n".join(network).encode()]
    return b"\n".join(parts)


# ---------------------------------------------------------------------------------------- reading


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; repack the bundle") from None


def _words_from_digits(digits: NDArray[np.uint8], bits: int) -> Words | None:
    """Words from ASCII hex columns [n, ceil(bits / 4)]; None if a digit is wrong or too large."""
    nibbles = np.take(_NIBBLES, digits)
    if np.any(nibbles == _BAD):
        return None
    n, width = nibbles.shape
    even = np.zeros((n, -(-bits // 8) * 2), np.uint8)
    even[:, even.shape[1] - width :] = nibbles
    data = np.ascontiguousarray((even[:, ::2] << 4 | even[:, 1::2])[:, ::-1])
    if bits % 8 and np.any(data[:, -1] >> (bits % 8)):
        return None
    return Words(bits, data)


def _blame_digits(place: str, text: str, bits: int, what: str) -> None:
    """Raise for the first thing that is wrong with one word's digits; return if nothing is."""
    width = -(-bits // 4)
    if len(text) != width:
        raise InputError(f"{place}: expected {width} hex digits ({what}), got {len(text)}")
    for column, char in enumerate(text):
        if char not in "0123456789ABCDEF":
            hint = "; digits are upper case here" if char in "abcdef" else ""
            raise InputError(f"{place}: {char!r} in column {column + 1} is not a hex digit{hint}")
    if int(text, 16) >> bits:
        raise InputError(f"{place}: {text} needs more than {bits} bits ({what})")


def _blame_lines(
    path: Path,
    raw: bytes,
    expected: int,
    check: Callable[[str, int, str], None],
) -> None:
    """Find the first wrong line of a text file.

    Args:
        expected: lines that the file must have.
        check: called with "path:line", the line's index and its text; raises if it is wrong.
    """
    if b"\r" in raw:
        line = raw[: raw.index(b"\r")].count(b"\n") + 1
        raise InputError(
            f"{path}:{line}: carriage return; lines end in a single line feed here "
            "(was the file changed by an editor or git on Windows?)"
        )
    lines = raw.split(b"\n")
    for index, line_bytes in enumerate(lines[:-1][:expected]):
        check(f"{path}:{index + 1}", index, line_bytes.decode("ascii", "backslashreplace"))
    if lines[-1] and len(lines) <= expected:
        raise InputError(
            f"{path}:{len(lines)}: the last line does not end in a line feed; the file is cut off"
        )
    if lines[-1]:
        lines.append(b"")
    if len(lines) - 1 != expected:
        raise InputError(f"{path}: {len(lines) - 1} lines, expected {expected}; repack the bundle")


def read_mem(path: Path, bits: int, depth: int, what: str = "") -> Words:
    """Read a .mem file strictly: ``depth`` lines of ceil(bits / 4) upper-case hex digits.

    Args:
        what: how the word is divided, for the message, e.g. "16 lanes of 8 bits".

    Raises:
        InputError: names the file and the first wrong line.
    """
    raw = _read(path)
    what = what or f"{bits} bits"
    width = -(-bits // 4)
    if len(raw) == depth * (width + 1):
        table = np.frombuffer(raw, np.uint8).reshape(depth, width + 1)
        if np.all(table[:, -1] == _LF):
            words = _words_from_digits(table[:, :-1], bits)
            if words is not None:
                return words
    _blame_lines(path, raw, depth, lambda place, _, text: _blame_digits(place, text, bits, what))
    raise AssertionError(f"{path}: the fast reader refused a file without a wrong line")


def _read_framed(
    path: Path, head: bytes, tail: bytes, rows: NDArray[np.uint8], at: slice, bits: int
) -> Words:
    """Read words at columns ``at`` of a text whose every other byte is known.

    Args:
        rows: the body as the writer makes it, the digits of the words aside: uint8 [depth, width].
    """
    raw = _read(path)
    depth, width = rows.shape
    if len(raw) == len(head) + rows.size + len(tail):
        body = np.frombuffer(raw, np.uint8, rows.size, len(head)).reshape(depth, width)
        same = body == rows
        same[:, at] = True
        if raw.startswith(head) and raw.endswith(tail) and bool(np.all(same)):
            words = _words_from_digits(body[:, at], bits)
            if words is not None:
                return words
    head_lines = head.decode().split("\n")[:-1]
    tail_lines = tail.decode().split("\n")[:-1]

    def check(place: str, index: int, text: str) -> None:
        row = index - len(head_lines)
        if 0 <= row < depth:
            pattern = rows[row].tobytes().decode()[:-1]
            before, after = pattern[: at.start], pattern[at.stop :]
            digits = text.removeprefix(before).removesuffix(after)
            if before + digits + after != text or not re.fullmatch(r"\w*", digits):
                shown = before + "0" * (at.stop - at.start) + after
                raise InputError(f"{place}: expected a line like {shown!r}, got {text!r}")
            _blame_digits(place, digits, bits, f"{bits} bits")
            return
        expected = head_lines[index] if row < 0 else tail_lines[row - depth]
        if text != expected:
            raise InputError(f"{place}: expected {expected!r}, got {text!r}")

    _blame_lines(path, raw, len(head_lines) + depth + len(tail_lines), check)
    raise AssertionError(f"{path}: the fast reader refused a file without a wrong line")


def read_coe(path: Path, bits: int, depth: int) -> Words:
    """Read a .coe file exactly as ``coe_text`` writes it.

    Raises:
        InputError: names the file and the first wrong line.
    """
    width = -(-bits // 4)
    rows = _rows(depth, b"0" * width, b",\n")
    rows[-1, -2] = ord(";")
    return _read_framed(path, _COE_HEAD, b"", rows, slice(0, width), bits)


def read_mif(path: Path, bits: int, depth: int) -> Words:
    """Read a Quartus .mif file exactly as ``mif_text`` writes it.

    Raises:
        InputError: names the file and the first wrong line.
    """
    width = -(-bits // 4)
    addresses = _mif_addresses(depth)
    rows = _rows(depth, addresses, b" : ", b"0" * width, b";\n")
    start = addresses.shape[1] + 3
    at = slice(start, start + width)
    return _read_framed(path, _mif_head(bits, depth), _MIF_END, rows, at, bits)


def read_bin(path: Path, core: Core) -> dict[str, Words]:
    """Read images.bin for a core.

    Raises:
        InputError: wrong length, or fill bits that are not zero; names the image and word.
    """
    return _split_bin(path, _read(path), core)


def _split_bin(path: Path, raw: bytes, core: Core) -> dict[str, Words]:
    layout = sections(core)
    size = sum(s.bytes for s in layout)
    if len(raw) != size:
        raise InputError(f"{path}: {len(raw)} bytes, expected {size}; repack the bundle")
    images = {}
    for s in layout:
        values = np.frombuffer(raw, "<u4", s.bytes // 4, s.offset).reshape(s.words, s.axi_words)
        try:
            images[s.name] = from_axi(values.astype(np.uint32), s.bits)
        except ValueError as error:
            raise InputError(f"{path}: {s.name} at byte {s.offset}: {error}") from None
    return images


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
    infos = {info.name: info for info in manifest.images}
    images: dict[str, Words] = {}
    for section in sections(core):
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
        path = bundle / f"{section.name}.mem"
        what = word_layout(section.name, core)
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
    raw = path.read_bytes()
    if sha256(raw) != recorded:
        return None
    packed = _split_bin(path, raw, manifest.core)[name]
    different = np.flatnonzero(np.any(packed.data != words.data, axis=1))
    return int(different[0]) + 1 if different.size else None


# ---------------------------------------------------------------------------------------- writing

_TEXT: dict[str, Callable[[Words, int], bytes]] = {
    "mem": mem_text,
    "coe": coe_text,
    "mif": mif_text,
}


def write_image_files(
    folder: Path, images: Mapping[str, Words], core: Core, formats: Sequence[str]
) -> list[ImageInfo]:
    """Write all images into an existing folder, each filled up to the core's depth with zeros.

    .mem, images.bin, the C header and the C driver are always written.

    Args:
        images: by name; one that is missing is all zeros.
        formats: further formats, a choice of ``FORMATS``.

    Returns:
        An entry for each image whose depth is not 0; images.bin and the C files are listed among
        the files of the first one, the program.

    Raises:
        RecipeError: an unknown format, or an image that does not fit the core's memory.
    """
    for name in formats:
        if name not in FORMATS:
            raise RecipeError(f"unknown image format {name!r}; known are {', '.join(FORMATS)}")
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
    common |= {name: (Path(__file__).parent / name).read_bytes() for name in DRIVER_NAMES}
    for section in sections(core):
        words = images.get(section.name, _empty(section))
        files = {
            f"{section.name}.{suffix}": text(words, section.words)
            for suffix, text in _TEXT.items()
            if suffix == "mem" or suffix in formats
        }
        if not infos:
            files |= common
        for file_name, content in files.items():
            (folder / file_name).write_bytes(content)
        sums = {file_name: sha256(content) for file_name, content in files.items()}
        infos.append(
            ImageInfo(
                name=section.name,
                words=section.words,
                used=len(words),
                bits=section.bits,
                sha256=sums[f"{section.name}.mem"],
                files=sums,
            )
        )
    return infos

# SPDX-License-Identifier: Apache-2.0
"""Images as C99: bramcast_images.h of a bundle, and one image as a header of its own."""

import re
import zlib
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.cycles import cycles_of
from bramcast.pack.bundle.formats.binary import bin_bytes, sections
from bramcast.pack.bundle.formats.text import (
    HEX,
    MAX_BITS,
    Content,
    ImageSource,
    check_extent,
    hex_columns,
    split_tokens,
    words_from_tokens,
)
from bramcast.pack.bundle.manifest import FORMAT, IMAGES, Core
from bramcast.pack.bundle.program import (
    ADDRESS_BITS,
    DESCRIPTOR_WORDS,
    INPUT_FIELDS,
    NEST_FIELDS,
    OP_INPUT,
    OP_NEST,
    OPCODE,
    TILED_INPUT_FIELDS,
    TILED_NEST_FIELDS,
    Field,
)
from bramcast.pack.bundle.words import Words, from_axi, to_axi, to_uint32

HEADER_NAME = "bramcast_images.h"


def _c_array(name: str, values: NDArray[np.uint32]) -> bytes:
    """``static const uint32_t NAME[n] = {...};`` with eight numbers a line."""
    n, cell = len(values), b" 0x00000000u,"
    digits = hex_columns(Words(32, values.astype("<u4").view(np.uint8).reshape(-1, 4)))
    lines = np.empty((n // 8, 8 * len(cell) + 1), np.uint8)
    lines[...] = np.frombuffer(cell * 8 + b"\n", np.uint8)
    cells = lines[:, :-1].reshape(-1, 8, len(cell))  # a view
    cells[:, :, 3:11] = digits[: n // 8 * 8].reshape(-1, 8, 8)
    rest = b"".join(b" 0x%su," % row.tobytes() for row in digits[n // 8 * 8 :])
    body = lines.tobytes() + (rest + b"\n" if rest else b"")
    return b"".join(
        [f"static const uint32_t {name}[{n}] = {{\n".encode(), body, b"};\n"],
    )


@cache
def _c_fields(prefix: str, tiled: bool) -> tuple[str, ...]:
    layout: dict[str, Field] = {"opcode": OPCODE}
    if prefix == "INPUT":
        layout |= TILED_INPUT_FIELDS if tiled else INPUT_FIELDS
    else:
        layout |= TILED_NEST_FIELDS if tiled else NEST_FIELDS
    lines = []
    for name, field in layout.items():
        stem = f"BRAMCAST_{prefix}_{name.upper()}"
        lines += [
            f"#define {stem}_WORD {field.word}",
            f"#define {stem}_LSB {field.lsb}",
            f"#define {stem}_BITS {field.bits}",
            f"#define {stem}_SIGNED {int(field.signed)}",
        ]
    return tuple(lines)


def _c_network(core: Core, cycles: int) -> list[str]:
    """BRAMCAST_NETWORK, which initializes the driver's bramcast_network_t."""
    shape = [core.lanes, core.taps, core.rq, core.data_bits, core.weight_bits]
    shape += [int(core.narrow), int(core.gates), core.tiles, int(core.pairs)]
    shape += [core.scratch_depth, cycles]
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
    first, exactly as in images.bin. The arrays serve pack/axi/bramcast_driver.c as
    BRAMCAST_NETWORK.
    """
    data = bin_bytes(images, core)
    cycles = cycles_of(images["program"], core) if "program" in images else 0
    lines = [
        "/* SPDX-License-Identifier: Apache-2.0 */",
        "/* Written by bramcast pack; do not edit. docs/format.md explains every number. */",
        "/* The licence is that of this text; what the arrays hold is under the network's own. */",
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
        *("lanes", "taps", *(("tiles",) if core.tiles > 1 else ())),
        *("data_bits", "weight_bits", "rq"),
        *("program_depth", "weights_depth", "bias_depth", "table_depth", "scratch_depth"),
    ):
        lines.append(f"#define BRAMCAST_{key.upper()} {getattr(core, key)}")
    lines += [
        "",
        "/* clock cycles of a frame; 0: not known */",
        f"#define BRAMCAST_CYCLES {cycles}",
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
        *_c_fields("INPUT", core.tiles > 1),
        *_c_fields("NEST", core.tiles > 1),
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
        *_c_network(core, cycles),
        "",
        "#endif",
        "",
    ]
    parts = ["\n".join(lines).encode(), *arrays, "\n".join(network).encode()]
    return b"\n".join(parts)


def c_text(words: Words, depth: int) -> bytes:
    r"""One image as a header: NAME_BITS, NAME_WORDS and an array, the name being ``image``.

    >>> print(c_text(Words(36, np.array([[1, 0, 0, 0x80, 9]], np.uint8)), 1).decode(), end="")
    /* 1 words of 36 bits, each as 2 uint32_t, least significant first */
    #include <stdint.h>
    #define IMAGE_BITS 36
    #define IMAGE_WORDS 1
    static const uint32_t image[2] = {
     0x80000001u, 0x00000009u,
    };
    """
    parts = -(-words.bits // 32)
    head = (
        f"/* {depth} words of {words.bits} bits, each as {parts} uint32_t, "
        "least significant first */\n"
        f"#include <stdint.h>\n#define IMAGE_BITS {words.bits}\n#define IMAGE_WORDS {depth}\n"
    )
    return head.encode() + _c_array("image", to_axi(words.padded(depth)).reshape(-1))


def c_array(
    source: ImageSource, text: bytes, name: str
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """An array of a header that bramcast wrote: its uint32 elements and the line of each.

    Raises:
        InputError: no such array, another number of elements than it says, or a wrong one.
    """
    match = re.search(rb"static const uint32_t %s\[(\d+)\] = \{" % name.encode(), text)
    end = text.find(b"};", match.end()) if match else -1
    if match is None or end < 0:
        source.fail(0, f"expected 'static const uint32_t {name}[n] = {{ 0x00000000u, .. }};'")
    line = text.count(b"\n", 0, match.end()) + 1
    tokens = split_tokens(text[match.end() : end], line)
    digits = []
    for index, token in enumerate(tokens.texts):
        if len(token) != 12 or token[:2] != b"0x" or token[10:] != b"u,":
            shown = token.decode("latin-1")[:40]
            source.fail(int(tokens.lines[index]), f"expected '0x00000000u,', got {shown!r}")
        digits.append(token[2:10])
    if len(match.group(1)) > 10 or int(match.group(1)) != len(digits):
        stated = match.group(1).decode("ascii")[:40]
        source.fail(line, f"{name} has {len(digits)} elements, its type says {stated}")
    words = words_from_tokens(source, digits, tokens.lines, HEX, 32)
    return to_uint32(words), tokens.lines


def parse_c(source: ImageSource, bits: int | None) -> Content:
    """Read a header that ``c_text`` wrote."""
    text = source.text()
    stated = re.search(rb"#define IMAGE_BITS (\d{1,5})\n", text)
    if stated is None:
        source.fail(0, "expected '#define IMAGE_BITS ..', as 'bramcast images --to h' writes it")
    width = int(stated.group(1))
    if not 1 <= width <= MAX_BITS:
        source.fail(0, f"words of {width} bits; 1..{MAX_BITS} are read")
    if bits is not None and bits != width:
        source.fail(0, f"IMAGE_BITS is {width}, expected {bits}")
    values, lines = c_array(source, text, "image")
    parts = -(-width // 32)
    if len(values) % parts:
        source.fail(0, f"{len(values)} elements are no whole number of words of {parts}")
    check_extent(source, 0, len(values) // parts, width)
    try:
        words = from_axi(values.reshape(-1, parts), width)
    except ValueError as error:
        source.fail(0, str(error))
    return Content(words, lines[::parts], True)

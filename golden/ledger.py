# SPDX-License-Identifier: Apache-2.0
"""What the ledger of a core must hold behind a frame (docs/axi.md, "The ledger").

An entry for each executed nest: the CRC-32 of what it made, and its cycles. Golden twin of
hw/bramcast_ledger.sv.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.groups import Groups
from bramcast.golden.machine import Machine, NestResult, Results
from bramcast.golden.strips import tiles_of
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.program import Nest


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says of one executed nest.

    Attributes:
        crc: CRC-32, 0..2**32 - 1.
        cycles: from its first tap to the next nest's, of the last nest to the last beat, that
            included: those of all nests add up to the frame's.
    """

    crc: int
    cycles: int


def ledgers(machine: Machine, results: Results) -> list[tuple[Entry, ...]]:
    """The ledger behind each frame, its sink always ready.

    Args:
        results: of ``machine.run(frames, keep_layers=True)``.

    Returns:
        For each frame an entry for each executed nest, in order; LOOPs count as unrolled.
    """
    cycles = nest_cycles(machine)
    nests = [d for d in machine.program if isinstance(d, Nest)]
    sums = [
        checksums(kept, nest, machine.core) for nest, kept in zip(nests, results.nests, strict=True)
    ]
    return [
        tuple(Entry(crc, n) for crc, n in zip(of_frame, cycles, strict=True))
        for of_frame in zip(*sums, strict=True)
    ]


def nest_cycles(machine: Machine) -> tuple[int, ...]:
    """Cycles of each executed nest; their sum is that of the frame."""
    predicted = predict(machine.program, machine.core)
    starts = [nest.start for nest in predicted.nests]
    ends = [*starts[1:], predicted.total + 1]
    return tuple(end - start for start, end in zip(starts, ends, strict=True))


def checksums(kept: NestResult, nest: Nest, core: Core) -> list[int]:
    """CRC-32 of what a nest made, for each sample: that of the bytes of ``chunks``.

    With TILES > 1 the xor of those of all tiles that write, tile t's rotated to the left by t.
    """
    tiles = tiles_of(nest, core)
    first = 0 if tiles > 1 or nest.stream or nest.rows is None else nest.bank
    sums = []
    for words in kept.words:
        crc = 0
        for tile, own in enumerate(_by_tile(words, nest, core, tiles)):
            one = zlib.crc32(chunks(own, nest, core).tobytes())
            turn = first + tile
            crc ^= (one << turn | one >> (32 - turn)) & 0xFFFFFFFF
        sums.append(crc)
    return sums


def _by_tile(
    words: NDArray[np.int32], nest: Nest, core: Core, tiles: int
) -> list[NDArray[np.int32]]:
    """The rows of each tile, in its own order."""
    groups = Groups.of(nest, core)
    whole = groups.pixels * (groups.count - 1) * groups.subs
    rows = groups.pixels // tiles * groups.subs
    first = words[:whole].reshape(groups.count - 1, tiles, rows, core.lanes)
    last = words[whole:].reshape(tiles, -1, core.lanes)
    return [np.concatenate([*first[:, t], last[t]]) for t in range(tiles)]


def chunks(words: NDArray[np.int32], nest: Nest, core: Core) -> NDArray[np.uint32]:
    """The results of a nest in the order in which they leave the requantizers, RQ at a time.

    A result is a number of 32 bits: a beat as it is on the stream, one for the scratchpad with
    zeros above its DATA_BITS. A pixel of the last group ends with the chunk of its last valid
    result; lanes behind that are zero.

    Args:
        words: int32 [rows, LANES], as in ``NestResult``; of one tile.

    Returns:
        little-endian uint32 [results].

    >>> nest = Nest((2, 1, 2, 1, 1, 1), 0, (0,) * 6, 0, (0,) * 6, 0, (2, 0, 1), 0, 1, 0, 0, tail=3)
    >>> words = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 0], [12, 13, 14, 0]], np.int32)
    >>> chunks(words, nest, Core(4, 1, 8, 8, 1, 64, 1, 1, 0, 8)).tolist()
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    >>> len(chunks(words, nest, Core(4, 1, 8, 8, 2, 64, 1, 1, 0, 8)))
    16
    """
    groups = Groups.of(nest, core)
    pixels = nest.counts[1] * nest.counts[2]
    whole = pixels * (groups.count - 1) * groups.subs
    used = -(-groups.tail // core.rq) * core.rq
    last = words[whole:].reshape(pixels, -1)[:, :used]
    made = np.concatenate([words[:whole].reshape(-1), last.reshape(-1)])
    return made.astype("<i4").view("<u4")


def c_header(machine: Machine, frame: NDArray[np.integer], entries: Sequence[Entry]) -> str:
    """A frame and the ledger behind it for software in C: ``bramcast_compare()`` takes them.

    Args:
        frame: [beats], in stream order.
        entries: of ``ledgers``, for this frame.
    """
    manifest, bits = machine.manifest, machine.core.data_bits
    assert manifest is not None
    signed = manifest.input.format.signed
    values = [int(element) for element in frame]
    rows = [
        "  " + ", ".join(map(str, values[at : at + 16])) + "," for at in range(0, len(values), 16)
    ]
    names = [manifest.layers[info.layer].name for info in manifest.nests]
    lines = [
        f"  {{0x{entry.crc:08X}u, {entry.cycles}u, {json.dumps(name)}}},"
        for entry, name in zip(entries, names, strict=True)
    ]
    element = f"{'int' if signed else 'uint'}{bits}_t"
    return "\n".join(
        [
            "/* A frame and the ledger behind it; written by bramcast golden. */",
            '#include "bramcast_driver.h"',
            "",
            f"#define BRAMCAST_LEDGER_ELEMENTS {len(values)}",
            f"static const {element} bramcast_ledger_frame[BRAMCAST_LEDGER_ELEMENTS] = {{",
            *rows,
            "};",
            "",
            f"#define BRAMCAST_LEDGER_NESTS {len(lines)}",
            "static const bramcast_expected_t bramcast_expected_ledger[BRAMCAST_LEDGER_NESTS] = {",
            *lines,
            "};",
            "",
        ]
    )

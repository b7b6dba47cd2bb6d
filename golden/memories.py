# SPDX-License-Identifier: Apache-2.0
"""What a machine reads: the images as arrays, and how many samples it takes at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.golden import sizes
from bramcast.golden.chunk import Chunk
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.program import Input, Nest
from bramcast.pack.bundle.words import Words, unpack_bias, unpack_lanes


@dataclass(slots=True)
class Budget:
    """Gather indices and weights that may still be kept ready."""

    left: int


class Memories:
    """The images of a validated program, decoded once; all nests share it.

    Attributes:
        weights: [words, LANES * TAPS], int8 where they fit.
        bias, shift: int64 [entries].
        table: the words of ``table.mem``, uint8 [words, bytes of a word].
        bank_words: words of a bank of the scratchpad; with TILES > 1 the banks lie one behind the
            other.
        zero_word: a word of the scratchpad behind all that the program writes.
        chunk: samples that run at once.
        budget: what nests may still keep ready.
    """

    def __init__(self, images: dict[str, Words], core: Core, program: list[Input | Nest]) -> None:
        self.core = core
        narrow = np.int8 if core.weight_bits <= 8 else np.int16
        self.weights = unpack_lanes(images["weights"], core.weight_bits).astype(narrow)
        self._narrow_weights: dict[int, NDArray[np.int8]] = {0: self.weights.astype(np.int8)}
        self.bias, self.shift = unpack_bias(images["bias"])
        table = images.get("table")
        self.table = np.zeros((0, 1), np.uint8) if table is None else table.data
        self._tables: dict[int, NDArray[np.unsignedinteger]] = {}
        self.bank_words = _words_used(program, core)
        self.zero_word = self.bank_words * core.tiles
        streams = [d for d in program if isinstance(d, Nest) and d.stream]
        sent = sum(d.pixels * core.group(d.lanewise) for d in streams)
        bytes_each = (self.zero_word + 1) * core.word * (core.data_bits // 8)
        bytes_each += sent * 8
        fitting = sizes.CHUNK_BYTES // bytes_each
        self.chunk = max(
            1, 32 if 8 <= fitting < 32 else min(fitting // 64 * 64 or fitting, sizes.MAX_CHUNK)
        )
        self.budget = Budget(sizes.CACHED_ENTRIES)

    def results_of_table(self, number: int) -> NDArray[np.unsignedinteger]:
        """Results for each value's low DATA_BITS bits: uint8 [256] or uint16 [65536]."""
        if number not in self._tables:
            words = self.table[256 * number : 256 * number + 256]
            self._tables[number] = words[:, 0] if self.core.data_bits == 8 else _points(words)
        return self._tables[number]

    def steps(self, nest: Nest) -> NDArray[np.int8]:
        """Weights as a nest reads them: [steps, LANES * TAPS], dense [steps * TAPS, LANES].

        A word holds 2**narrow steps, the first one lowest.
        """
        narrow = nest.narrow
        if narrow not in self._narrow_weights:
            bits = self.core.weight_bits >> narrow
            spare = self.core.weight_bits - bits
            up = np.arange(spare, -1, -bits, dtype=np.int8)[:, None]
            raw = self.weights.astype(np.int8)[:, None, :] << up
            steps = raw >> np.int8(spare)  # arithmetic: keeps the sign
            self._narrow_weights[narrow] = steps.reshape(-1, self.core.word)
        return self._narrow_weights[narrow].reshape(-1, self.core.group(nest.lanewise))

    def readable(self, chunk: Chunk, nest: Nest, lanes: int) -> NDArray[np.integer]:
        """The scratchpad as the nest reads it, signed or unsigned: [n, lanes, samples]."""
        kind = f"{'u' if nest.x_unsigned else 'i'}{self.core.data_bits // 8}"
        return chunk.words.view(kind).reshape(-1, lanes, chunk.samples)


def _points(words: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """All points on 256 lines {slope[15:0], start[15:0]}, words uint8 [256, 4]: uint16 [65536]."""
    start, slope = np.ascontiguousarray(words).view("<i2").T.astype(np.int32)
    rest = np.arange(256, dtype=np.int32)
    points: NDArray[np.int32] = start[:, None] + ((slope[:, None] * rest + 128) >> 8)
    return points.astype(np.uint16).reshape(-1)


def _words_used(program: list[Input | Nest], core: Core) -> int:
    """One more than the highest scratchpad word that the program writes, or a little more.

    With TILES > 1 of a bank.
    """
    top = 0
    for d in program:
        if isinstance(d, Input):
            runs = min(d.runs, d.strip_runs or d.runs)
            top = max(top, d.result_base + runs * d.span(core.word))
        elif not d.stream:
            moves = zip(d.counts[:3], d.result_steps, strict=True)
            subs = d.result_base + sum((c - 1) * s for c, s in moves if s > 0)
            subs += core.group(d.lanewise) // core.lanes
            top = max(top, -(-subs // core.taps))
    return top

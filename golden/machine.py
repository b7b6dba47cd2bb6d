# SPDX-License-Identifier: Apache-2.0
"""The machine that executes a bundle: what the core computes, from the images alone.

``bramcast.golden.load`` reads a bundle and prepares every nest once; ``Machine.run`` executes
frames. Semantics are those of docs/format.md, whose order of nests, blocks and bits is kept;
within a nest all pixels are independent (a rule of the validator), so they are computed many at a
time.

How it gets its speed: the samples of a chunk lie side by side in the last axis of the scratchpad,
``[elements, samples]``, so that every address of the hardware is one contiguous row here, and dense
as well as lane-wise nests become exact matrix products of gathered rows. For a number of samples
the program's addresses become a list of numpy calls on views of one scratchpad, which is kept: as
many frames again cost these calls and little else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bramcast.golden import sizes
from bramcast.golden.arith import Workspace
from bramcast.golden.chunk import Chunk
from bramcast.golden.elementwise import Gate, Maximum
from bramcast.golden.loops import ranges
from bramcast.golden.memories import Memories
from bramcast.golden.products import Dense, LaneWise, Multiply
from bramcast.golden.validate import validate
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.manifest import Core, Manifest
from bramcast.pack.bundle.program import Input, Nest
from bramcast.pack.bundle.words import Words

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class NestResult:
    """What one nest produced, a row for each sub-word; ``Groups`` gives their order.

    Attributes:
        descriptor: index in the program.
        addresses: sub-word of the scratchpad, int64 [rows]; -1 for a stream nest.
        words: int32 [samples, rows, LANES]: the bits in the scratchpad (0..2**DATA_BITS - 1), or
            the numbers on the stream (32 bits signed; lanes that don't leave are 0).
    """

    descriptor: int
    addresses: NDArray[np.int64]
    words: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Results:
    """``beats`` int64 [samples, beats]: the output stream; ``nests`` only with ``keep_layers``."""

    beats: NDArray[np.int64]
    nests: tuple[NestResult, ...]


class Machine:
    """A program and its images, ready to run.

    Attributes:
        core: parameters of the core.
        program: what runs, LOOPs unrolled; the first is the input frame.
        memories: the images as arrays.
        beats_in, beats_out: elements of one frame and of its result.
        manifest: names and formats, for people; None if there is none.
    """

    def __init__(
        self, images: dict[str, Words], core: Core, manifest: Manifest | None = None
    ) -> None:
        """Decode, validate and prepare.

        Raises:
            ProgramError: a rule of docs/format.md is broken; names the line of program.mem.
        """
        self.core, self.manifest = core, manifest
        self.program: list[Input | Nest] = validate(images, core)
        self.memories = Memories(images, core, self.program)
        first = self.program[0]
        assert isinstance(first, Input)
        self.frame = first
        self.beats_in = first.elements
        self.beats_out = 0
        self._nests: list[_Executed] = []
        for index, nest in enumerate(self.program):
            if isinstance(nest, Nest):
                self._nests.append(_kind(nest)(self.memories, index, nest, self.beats_out))
                self.beats_out += self._nests[-1].out.beats
        self._work = Workspace()
        self._chunks: dict[int, Chunk] = {}
        bank = self.memories.bank_words * core.word
        self._elements, self._zeros = input_addresses(first, core, bank)

    def run(
        self,
        frames: NDArray[np.integer],
        keep_layers: bool = False,
        progress: Progress | None = None,
    ) -> Results:
        """Execute the program for each frame.

        Args:
            frames: [samples, beats] in stream order; as in hardware the low DATA_BITS count.
            keep_layers: also return every result sub-word of every nest.
            progress: called with the number of samples that are finished.

        Raises:
            InputError: a frame has the wrong number of elements.
        """
        if frames.ndim != 2 or frames.shape[1] != self.beats_in:
            raise InputError(
                f"a frame has {self.beats_in} elements ({self.frame.runs} runs of "
                f"{self.frame.run}), got an array of shape {frames.shape}"
            )
        samples = len(frames)
        beats = np.empty((samples, self.beats_out), np.int64)
        kept: dict[int, NDArray[np.int32]] = {}
        if keep_layers:
            for nest in self._nests:
                shape = (samples, nest.out.groups.rows, self.core.lanes)
                kept[nest.out.index] = np.empty(shape, np.int32)
        for part in ranges(samples, self.memories.chunk):
            chunk = self._chunk(len(frames[part]), {i: k[part] for i, k in kept.items()})
            if self.frame.strip_runs:
                flat = chunk.words.reshape(-1, chunk.samples)
                flat[self._elements] = frames[part].T.astype(flat.dtype)
            else:
                cut = frames[part].reshape(chunk.frame.shape)
                np.copyto(chunk.frame, cut, casting="unsafe")
            for step in chunk.steps:
                step()
            beats[part] = chunk.beats.T
            if progress is not None:
                progress(part.stop)
        results = []
        for nest in self._nests if keep_layers else []:
            banks = self.core.scratch_depth * self.core.taps
            address = nest.out.groups.addresses(nest.nest, self.core, banks)
            address = np.full_like(address, -1) if nest.nest.stream else address
            results.append(NestResult(nest.out.index, address, kept[nest.out.index]))
        return Results(beats, tuple(results))

    def _chunk(self, samples: int, kept: dict[int, NDArray[np.int32]]) -> Chunk:
        """A scratchpad for so many samples and the program's steps on it."""
        chunk = None if kept else self._chunks.get(samples)
        if chunk is not None:
            return chunk
        width = self.core.word
        raw: type[np.integer] = np.uint8 if self.core.data_bits == 8 else np.uint16
        words: NDArray[np.integer] = np.empty((self.memories.zero_word + 1, width, samples), raw)
        words[self.memories.zero_word] = 0
        subs = words.reshape(-1, self.core.lanes, samples)
        run, runs, lead = self.frame.run, self.frame.runs, self.frame.lead
        per_run = self.frame.span(width)
        beats = np.empty((self.beats_out, samples), np.int64)
        if self.frame.strip_runs:
            chunk = Chunk(words, subs, beats, kept, self._work, samples, words[:0], [])
            if self._zeros.size:
                flat = words.reshape(-1, samples)
                chunk.steps.append(partial(np.put_along_axis, flat, self._zeros[:, None], 0, 0))
        else:
            target = words[self.frame.result_base :][: runs * per_run]
            rows = target.reshape(runs, per_run * width, samples)
            frame = rows[:, lead : lead + run].transpose(2, 0, 1)
            chunk = Chunk(words, subs, beats, kept, self._work, samples, frame, [])
            unit = max(self.core.lanes, self.core.taps)
            # What is behind the last element's word stays as it was.
            for zeros in (rows[:, :lead], rows[:, lead + run : self.frame.span(unit) * unit]):
                if zeros.size:
                    chunk.steps.append(partial(zeros.fill, 0))
        for nest in self._nests:
            chunk.steps.extend(nest.bind(chunk))
        if not kept:
            while len(self._chunks) >= sizes.KEPT_CHUNKS:
                del self._chunks[next(iter(self._chunks))]
            self._chunks[samples] = chunk
        return chunk


def input_addresses(
    frame: Input, core: Core, bank: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where a frame's elements go with TILES > 1, and which elements become zero beside them.

    Args:
        bank: elements from a bank of the scratchpad to the next one.
    """
    unit, per_run = max(core.lanes, core.taps), frame.span(core.word) * core.word
    elements, zeros = [], []
    for run in range(frame.runs if frame.strip_runs else 0):
        strip, number = divmod(run, frame.strip_runs)
        first = strip * bank + frame.result_base * core.word + number * per_run
        start, count = first + frame.lead, frame.last_run if run == frame.runs - 1 else frame.run
        end = first - (-(frame.lead + count) // unit) * unit
        elements.append(np.arange(start, start + count))
        zeros += [np.arange(first, start), np.arange(start + count, end)]
    none = [np.zeros(0, np.int64)]
    return np.concatenate(none + elements), np.concatenate(none + zeros)


_Executed = Multiply | Maximum | Gate


def _kind(nest: Nest) -> Callable[[Memories, int, Nest, int], _Executed]:
    if nest.max:
        return Maximum
    if nest.product:
        return Gate
    return LaneWise if nest.lanewise else Dense

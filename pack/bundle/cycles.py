# SPDX-License-Identifier: Apache-2.0
"""How long the core takes, from the program and the core's parameters alone.

The cycle model of docs/core.md: one tap a cycle; a pixel's last tap waits while the capture
registers are still being emptied or, in a stream nest, while the output FIFO has no room for a
whole group; the next nest starts when its operands are written and its descriptor is here.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from bramcast.pack.bundle.errors import ProgramError
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.program import Descriptor, Input, Nest, split_program, unrolled
from bramcast.pack.bundle.words import Words, to_uint32

BEAT_LATENCY = 15  # from a pixel's last tap to its first beat on the stream
TABLE_LATENCY = {8: 2, 16: 4}  # more with a table, by DATA_BITS
GAP = 13  # from a nest's last tap to the next nest's first, plus the chunks of its last pixel
LOOP = 34  # longer, where a LOOP descriptor stands between
FETCH = 35  # from a nest's first tap to the next one's, at least: its descriptor is read meanwhile
TILED = 2  # more latency and gap with TILES > 1: rows are added to addresses, banks are rotated
TILED_FETCH = 1  # a word more to read
FIFO_CHUNKS = 16  # of RQ lanes each, and at least two groups


@dataclass(frozen=True, slots=True)
class NestCycles:
    """When a nest has its first and its last tap. Cycle 1 is the first with a resident frame."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class CyclePrediction:
    """Cycles of one frame: from the first in which it is resident to the last beat, both counted.

    ``nests[i]`` belongs to descriptor i + 1.
    """

    total: int
    nests: tuple[NestCycles, ...]


def predict(program: Sequence[Descriptor], core: Core) -> CyclePrediction:
    """The cycles that the core takes with a sink that is always ready.

    Args:
        program: without LOOPs: what ``unrolled`` gives.

    >>> fc = Nest((1, 1, 1, 1, 1, 96), 0, (0,) * 6, 0, (0,) * 6, 0, (0,) * 3, -128, 127, 0, 0, 12,
    ...           stream=True, last=True)
    >>> predict([Input(96, 1, 0), fc], Core(16, 1, 8, 8, 2, 64, 96, 8, 0, 8)).total == 96 + 15 + 11
    True
    """
    output = _Output(core)
    start, gap, nests = 1, 0, list[NestCycles]()
    for d in program:
        if not isinstance(d, Nest):
            continue
        if nests:
            word = TILED_FETCH * (core.tiles > 1)
            fetched = nests[-1].start + FETCH + word + (LOOP + word) * d.behind_loop
            start = max(nests[-1].end + gap, fetched)
        end = output.last_tap(d, start) if d.stream else _last_tap(d, core, start)
        nests.append(NestCycles(start, end))
        chunks = -(-d.tail // core.rq)
        short = chunks % (core.lanes // core.rq) != 0  # the last sub-word is written a cycle later
        gap = GAP + chunks + short + _late(d, core)
    return CyclePrediction(output.beat, tuple(nests))


def cycles_of(program: Words, core: Core) -> int:
    """The cycles of a frame, from the program's image; 0 if that is none."""
    try:
        return predict(
            [d for _, d in unrolled(split_program(to_uint32(program), core.tiles > 1))], core
        ).total
    except ProgramError:
        return 0


def cycle_limit(cycles: int) -> int:
    """What register LIMIT gets for a run of so many cycles: an eighth and 1,000 more.

    >>> cycle_limit(1090)
    2226
    """
    return cycles + cycles // 8 + 1000


def _late(d: Nest, core: Core) -> int:
    """Cycles that a nest's results take longer than plain ones: log2(TAPS) to add partial sums."""
    late = core.taps.bit_length() - 1 + TILED * (core.tiles > 1)
    return late + (TABLE_LATENCY[core.data_bits] if d.table else 0)


def _last_tap(d: Nest, core: Core, start: int) -> int:
    """A nest that writes the scratchpad: each pixel takes its taps or the chunks before it."""
    per_group = d.counts[1] * d.counts[2]
    whole_groups = (d.counts[0] - 1) * per_group
    return (
        start
        - 1
        + d.taps
        + whole_groups * max(d.taps, core.group(d.lanewise) // core.rq)
        + (per_group - 1) * max(d.taps, -(-d.tail // core.rq))
    )


class _Output:
    """The output FIFO, with one beat a cycle behind it."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.beat = 0  # cycle of the last beat so far
        widest = core.word // core.rq  # chunks of the largest group
        self.credit = max(FIFO_CHUNKS, 2 * widest) - widest  # free chunks beyond such a group
        self.pops: deque[int] = deque()  # cycles in which chunks leave

    def last_tap(self, d: Nest, start: int) -> int:
        """Send a nest's results; the cycle of its last tap."""
        core = self.core
        late = BEAT_LATENCY + _late(d, core)
        last, drain = start - 1, 0
        for group in range(d.counts[0]):
            lanes = d.tail if group == d.counts[0] - 1 else core.group(d.lanewise)
            chunks = -(-lanes // core.rq)
            for _ in range(d.counts[1] * d.counts[2]):
                last += max(d.taps, drain)
                drain = chunks
                while self.pops and self.pops[0] < last:
                    self.pops.popleft()
                    self.credit += 1
                while self.credit < 0:
                    last = max(last, self.pops.popleft() + 1)
                    self.credit += 1
                self.credit -= chunks
                for i in range(chunks):
                    beats = min(core.rq, lanes - i * core.rq)
                    self.beat = max(self.beat + 1, last + late + i) + beats - 1
                    self.pops.append(self.beat)
        return last


def cycle_bound(program: Sequence[Descriptor], core: Core) -> int:
    """An upper bound on the cycles of one frame, its input included, in exact integers.

    Does not run over pixels, so it judges any program; the sink is always ready.
    """
    total, word = 0, TILED_FETCH * (core.tiles > 1)
    for d in program:
        if isinstance(d, Input):
            total += d.elements
        elif isinstance(d, Nest):
            total += (LOOP + word) * d.behind_loop
            lanes = core.group(d.lanewise)
            late = _late(d, core)
            pixel = max(d.taps, lanes // core.rq)
            if d.stream:  # the FIFO has room for two groups: the one before the last has left
                pixel = max(pixel, lanes, -(-(lanes + BEAT_LATENCY + late) // 2))
            total += d.pixels * pixel
            total += FETCH + word + GAP + BEAT_LATENCY + 2 * late + lanes // core.rq + 1
    return total

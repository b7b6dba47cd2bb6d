# SPDX-License-Identifier: Apache-2.0
"""Compares what the HDL wrote with golden: every result of every nest, bit for bit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.groups import Groups, layer_parts
from bramcast.golden.machine import Machine, Results
from bramcast.golden.strips import tiles_of
from bramcast.pack.bundle.manifest import Core, LayerInfo, NestInfo
from bramcast.pack.bundle.program import Nest
from bramcast.sim.run.hdl_log import BEAT, DONE, START, WORD, HdlLog


@dataclass(frozen=True, slots=True)
class Difference:
    """The first element in which HDL and golden differ, in the network's terms."""

    layer: str
    sample: int
    channel: int
    position: tuple[int, int]
    hdl: str
    golden: str
    where: str

    def __str__(self) -> str:
        y, x = self.position
        return (
            f"{self.layer}[channel {self.channel}, y {y}, x {x}] of sample {self.sample}: "
            f"hdl {self.hdl}, golden {self.golden}, {self.where}"
        )


@dataclass(frozen=True, slots=True)
class LayerVerdict:
    """How many elements of a layer were compared over all samples, and its cycles."""

    name: str
    op: str
    elements: int
    mismatches: int
    cycles: int
    macs: int


@dataclass(slots=True)
class Comparison:
    """The verdict on all layers; ``cycles`` is the first sample's, in simulated clock cycles."""

    layers: list[LayerVerdict]
    cycles: int
    first: Difference | None

    @property
    def elements(self) -> int:
        return sum(layer.elements for layer in self.layers)

    @property
    def mismatches(self) -> int:
        return sum(layer.mismatches for layer in self.layers)


class Compared:
    """What the comparison says of a run, whichever way it ran."""

    __slots__ = ()
    comparison: Comparison
    macs: int
    multipliers: int

    @property
    def equal(self) -> bool:
        return self.comparison.mismatches == 0

    @property
    def utilisation(self) -> float:
        cycles = self.comparison.cycles
        return self.macs / self.multipliers / cycles if cycles else 0.0


@dataclass(slots=True)
class _Tally:
    elements: int = 0
    mismatches: int = 0


def compare(
    machine: Machine, results: Results, log: HdlLog, beats: NDArray[np.int64] | None
) -> Comparison:
    """Compare all runs of a log with golden's results for the same frames.

    Args:
        machine: golden, with its manifest.
        results: of ``machine.run(frames, keep_layers=True)``.
        log: what the HDL wrote for the same frames, in order.
        beats: int64 [frames, beats], what came out of the stream; None if it was not recorded.

    Every lane of every sub-word is compared, padding lanes too; only lanes of real channels are
    counted. A sub-word that is missing, superfluous or at another address counts as a mismatch.
    """
    manifest = machine.manifest
    assert manifest is not None
    tallies = [_Tally() for _ in manifest.layers]
    first: Difference | None = None
    runs = log.runs()
    frames = len(results.beats)
    for sample in range(frames):
        run = runs[sample] if sample < len(runs) else log.select(slice(0, 0))
        beat = 0
        for result in results.nests:
            nest = machine.program[result.descriptor]
            assert isinstance(nest, Nest)
            info = manifest.nests[result.descriptor - 1]
            tally = tallies[info.layer]
            mine = run.select(
                (run.nest == result.descriptor) & (run.kind == (BEAT if nest.stream else WORD))
            )
            part = _NestPart(
                machine.core, nest, result.descriptor, manifest.layers[info.layer], info
            )
            if beats is not None and beats.shape != results.beats.shape:
                beats = None  # the log says what was missing or too much
            if nest.stream:
                count = part.groups.results
                expected = results.beats[sample, beat : beat + count]
                taken = None if beats is None else beats[sample, beat : beat + count]
                wrong, found = part.compare_beats(expected, mine, taken, sample)
                beat += count
                tally.elements += count
            else:
                wrong, found = part.compare_words(
                    result.words[sample], result.addresses, mine, sample
                )
                tally.elements += part.elements
            tally.mismatches += wrong
            first = first or found
    layer_cycles, total = _cycles(machine, runs[0]) if runs else ({}, 0)
    layers = [
        LayerVerdict(
            layer.name, layer.op, t.elements, t.mismatches, layer_cycles.get(i, 0), layer.macs
        )
        for i, (layer, t) in enumerate(zip(manifest.layers, tallies, strict=True))
    ]
    return Comparison(layers, total, first)


def _cycles(machine: Machine, run: HdlLog) -> tuple[dict[int, int], int]:
    """Cycles of each layer (from its first tap to the next layer's) and of the whole run."""
    assert machine.manifest is not None
    done = run.select(run.kind == DONE)
    total = int(done.numbers()[-1]) if len(done.kind) else 0
    starts = run.select(run.kind == START)
    times = [*starts.numbers().tolist(), total]
    result: dict[int, int] = {}
    for nest, begin, end in zip(starts.nest.tolist(), times, times[1:], strict=False):
        if 1 <= nest <= len(machine.manifest.nests):
            layer = machine.manifest.nests[nest - 1].layer
            result[layer] = result.get(layer, 0) + end - begin
    return result, total


class _NestPart:
    """One nest of one sample."""

    def __init__(
        self, core: Core, nest: Nest, descriptor: int, layer: LayerInfo, info: NestInfo
    ) -> None:
        self.core, self.nest, self.descriptor = core, nest, descriptor
        self.layer, self.info = layer, info
        self.groups, self.tiles = Groups.of(nest, core), tiles_of(nest, core)
        parts = layer_parts(nest, info, layer.shape, core.tiles)
        self.elements = sum(part.elements for part in parts)

    def compare_words(
        self, expected: NDArray[np.int32], addresses: NDArray[np.int64], log: HdlLog, sample: int
    ) -> tuple[int, Difference | None]:
        """Result sub-words [rows, LANES] against the log's WORD lines."""
        lanes, name = self.core.lanes, "word" if self.core.taps == 1 else "sub-word"
        if self.tiles > 1:  # as golden has them: tile by tile
            log = log.select(self._by_tile(log.address, addresses))
        got = log.lanes(lanes, self.core.data_bits)
        rows = len(expected)
        common = min(rows, len(got))
        wrong = np.ones((rows, lanes), bool)
        wrong[:common] = got[:common] != expected[:common]
        moved = np.zeros(rows, bool)
        moved[:common] = log.address[:common] != addresses[:common]
        wrong |= moved[:, None]
        count = int(wrong.sum()) + max(0, len(got) - rows) * lanes
        if not count:
            return 0, None
        if not wrong.any():
            place = self._of_row(rows - 1, 0)
            return count, self._describe(*place, sample, f"one {name} too many", "nothing")
        row, lane = (int(v[0]) for v in np.nonzero(wrong))
        want = self._value(int(expected[row, lane]))
        if row >= common:
            found = "no result"
        elif moved[row]:
            found = f"written to {name} {int(log.address[row])}"
            want = f"{name} {int(addresses[row])}"
        else:
            found = self._value(int(got[row, lane]))
        return count, self._describe(*self._of_row(row, lane), sample, found, want)

    def _by_tile(self, found: NDArray[np.int64], expected: NDArray[np.int64]) -> NDArray[np.int64]:
        """The order of golden's rows for lines in which all tiles write a sub-word at a time.

        Lines of a bank keep their order; so do the rows of golden that are written to it.
        """
        bank = self.core.scratch_depth * self.core.taps
        lines = np.argsort(found // bank, kind="stable")
        rows = np.argsort(expected // bank, kind="stable")
        if len(lines) != len(rows):
            return lines
        result = np.empty_like(lines)
        result[rows] = lines
        return result

    def compare_beats(
        self,
        expected: NDArray[np.int64],
        log: HdlLog,
        taken: NDArray[np.int64] | None,
        sample: int,
    ) -> tuple[int, Difference | None]:
        """Stream results against the log's BEAT lines and against what the sink took."""
        raw = log.numbers()
        signed = np.where(raw >= 1 << 31, raw - (1 << 32), raw)
        unknown = np.asarray((log.digits[:, -8:] > 15).any(axis=1))
        count = len(expected)
        common = min(count, len(signed))
        wrong: NDArray[np.bool_] = np.ones(count, np.bool_)
        wrong[:common] = (signed[:common] != expected[:common]) | unknown[:common]
        if taken is not None:
            wrong = np.logical_or(wrong, taken != expected)
        total = int(wrong.sum()) + max(0, len(signed) - count)
        if not total:
            return 0, None
        index = int(np.flatnonzero(wrong)[0]) if wrong.any() else count - 1
        found = self._value(int(signed[index])) if index < common else "no result"
        if index < common and unknown[index]:
            found = "unknown (x)"
        want = self._value(int(expected[index]))
        return total, self._describe(*self._of_beat(index), sample, found, want)

    def _of_row(self, row: int, lane: int) -> tuple[int, int, int]:
        """Group, pixel and lane of the group."""
        group, pixel, sub = self.groups.place(row)
        return group, pixel, sub * self.core.lanes + lane

    def _of_beat(self, index: int) -> tuple[int, int, int]:
        """Group, pixel and lane of the group."""
        per_group = self.groups.width * self.groups.pixels
        group = min(index // per_group, self.groups.count - 1)
        pixel, lane = divmod(index - group * per_group, self.groups.valid(group))
        return group, pixel, lane

    def _value(self, value: int) -> str:
        """An integer in hex and as the real number that it stands for."""
        fmt = self.layer.format.q
        if value == -1 and not self.nest.stream:
            return "unknown (x)"
        bits = 32 if self.nest.stream else fmt.bits
        raw = value & ((1 << bits) - 1)
        signed = raw - (1 << bits) if (fmt.signed and raw >> (bits - 1)) else raw
        return f"0x{raw:0{bits // 4}x} ({signed * fmt.lsb:g})"

    def _describe(
        self, group: int, pixel: int, lane: int, sample: int, hdl: str, golden: str
    ) -> Difference:
        oy, ox = divmod(pixel, self.nest.counts[2])
        origin, stride = self.info.origin, self.info.stride
        place = group * self.groups.width + lane
        column = self.info.columns[place] if self.info.columns else 0
        position = origin[0] + oy * stride[0], origin[1] + ox * stride[1] + column
        channel = self.info.channels[place]
        where = image_lines(self.nest, self.core, self.descriptor, group, lane)
        return Difference(self.layer.name, sample, channel, position, hdl, golden, where)


def image_lines(nest: Nest, core: Core, descriptor: int, group: int, lane: int) -> str:
    """The image lines (counted from 1) that one lane of one group of a nest comes from."""
    parts = []
    if not nest.max:
        reach = [
            (min(0, (n - 1) * s), max(0, (n - 1) * s))
            for n, s in zip(nest.counts[1:], nest.weight_steps[1:], strict=True)
        ]
        base = nest.weight_base + group * nest.weight_steps[0]
        low, high = base + sum(r[0] for r in reach), base + sum(r[1] for r in reach)
        low, high = (low >> nest.narrow) + 1, (high >> nest.narrow) + 1
        span = f"{low}-{high}" if high > low else f"{low}"
        lanes = range(lane, core.word, core.group(nest.lanewise))
        which = f"lanes {' '.join(map(str, lanes))}" if len(lanes) > 1 else f"lane {lane}"
        parts.append(f"weights in weights.mem:{span} {which}")
    line = nest.bias_base + group * nest.bias_step + lane // core.rq + 1
    parts.append(f"bias in bias.mem:{line} entry {lane % core.rq}")
    parts.append(f"descriptor in program.mem:{descriptor * 32 + 1}-{descriptor * 32 + 32}")
    return ", ".join(parts)

"""Compares what the HDL wrote with golden: every result word of every nest, bit for bit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.machine import Machine, Results
from bramcast.pack.descriptor import Nest
from bramcast.pack.manifest import LayerInfo
from bramcast.sim.hdl_log import BEAT, DONE, START, WORD, HdlLog


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

    Every lane of every word is compared, padding lanes too; only lanes of real channels are
    counted. A word that is missing, superfluous or at another address counts as a mismatch.
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
                machine, nest, result.descriptor, manifest.layers[info.layer], info.channels
            )
            if beats is not None and beats.shape != results.beats.shape:
                beats = None  # the log says what was missing or too much
            if nest.stream:
                count = part.beats
                expected = results.beats[sample, beat : beat + count]
                taken = None if beats is None else beats[sample, beat : beat + count]
                wrong, found = part.compare_beats(expected, mine, taken, sample)
                beat += count
                tally.elements += count
            else:
                wrong, found = part.compare_words(
                    result.words[sample], result.addresses, mine, sample
                )
                tally.elements += part.valid * nest.pixels // nest.counts[0]
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
        self, machine: Machine, nest: Nest, descriptor: int, layer: LayerInfo, channels: list[int]
    ) -> None:
        self.machine, self.nest, self.descriptor, self.layer = machine, nest, descriptor, layer
        self.channels = np.array(channels, np.int64)
        self.lanes = machine.core.lanes
        self.valid = int((self.channels >= 0).sum())

    @property
    def beats(self) -> int:
        groups, oy, ox = self.nest.counts[:3]
        return ((groups - 1) * self.lanes + self.nest.tail) * oy * ox

    def compare_words(
        self, expected: NDArray[np.int32], addresses: NDArray[np.int64], log: HdlLog, sample: int
    ) -> tuple[int, Difference | None]:
        """Result words [pixels, LANES] against the log's WORD lines."""
        got = log.lanes(self.lanes, self.machine.core.data_bits)
        pixels = len(expected)
        common = min(pixels, len(got))
        wrong = np.ones((pixels, self.lanes), bool)
        wrong[:common] = got[:common] != expected[:common]
        moved = np.zeros(pixels, bool)
        moved[:common] = log.address[:common] != addresses[:common]
        wrong |= moved[:, None]
        count = int(wrong.sum()) + max(0, len(got) - pixels) * self.lanes
        if not count:
            return 0, None
        if not wrong.any():
            where = self._describe(pixels - 1, 0, sample, "one word too many", "nothing")
            return count, where
        pixel, lane = (int(v[0]) for v in np.nonzero(wrong))
        want = self._value(int(expected[pixel, lane]))
        if pixel >= common:
            found = "no result"
        elif moved[pixel]:
            found = f"written to word {int(log.address[pixel])}"
            want = f"word {int(addresses[pixel])}"
        else:
            found = self._value(int(got[pixel, lane]))
        return count, self._describe(pixel, lane, sample, found, want)

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
        pixel, lane = self._of_beat(index)
        found = self._value(int(signed[index])) if index < common else "no result"
        if index < common and unknown[index]:
            found = "unknown (x)"
        return total, self._describe(pixel, lane, sample, found, self._value(int(expected[index])))

    def _of_beat(self, index: int) -> tuple[int, int]:
        groups, oy, ox = self.nest.counts[:3]
        per_group = self.lanes * oy * ox
        group = min(index // per_group, groups - 1)
        rest = index - group * per_group
        width = self.nest.tail if group == groups - 1 else self.lanes
        return group * oy * ox + rest // width, rest % width

    def _value(self, value: int) -> str:
        """An integer in hex and as the real number that it stands for."""
        fmt = self.layer.format.q
        if value == -1 and not self.nest.stream:
            return "unknown (x)"
        bits = 32 if self.nest.stream else fmt.bits
        raw = value & ((1 << bits) - 1)
        signed = raw - (1 << bits) if (fmt.signed and raw >> (bits - 1)) else raw
        return f"0x{raw:0{bits // 4}x} ({signed * fmt.lsb:g})"

    def _describe(self, pixel: int, lane: int, sample: int, hdl: str, golden: str) -> Difference:
        groups, oy, ox = self.nest.counts[:3]
        group, rest = divmod(pixel, oy * ox)
        position = divmod(rest, ox)
        channel = int(self.channels[group * self.lanes + lane])
        where = image_lines(self.nest, self.machine.core.rq, self.descriptor, group, lane)
        return Difference(
            self.layer.name, sample, channel, (position[0], position[1]), hdl, golden, where
        )


def image_lines(nest: Nest, rq: int, descriptor: int, group: int, lane: int) -> str:
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
        parts.append(f"weights in weights.mem:{span} lane {lane}")
    line = nest.bias_base + group * nest.bias_step + lane // rq + 1
    parts.append(f"bias in bias.mem:{line} entry {lane % rq}")
    parts.append(f"descriptor in program.mem:{descriptor * 32 + 1}-{descriptor * 32 + 32}")
    return ", ".join(parts)

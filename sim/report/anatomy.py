# SPDX-License-Identifier: Apache-2.0
"""Which words of the images and which cycles belong to which layer of a bundle.

Layers that the same descriptors of a LOOP compute, a recurrent network's time steps, are one part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.groups import Groups
from bramcast.golden.load import load
from bramcast.golden.machine import Machine
from bramcast.pack.bundle.cycles import CyclePrediction, predict
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import Core, LayerInfo, Manifest
from bramcast.pack.bundle.program import DESCRIPTOR_WORDS, Nest, split_program
from bramcast.pack.bundle.time_steps import same_descriptors, title
from bramcast.pack.bundle.words import to_uint32

TABLE_ENTRIES = 256


@dataclass(frozen=True, slots=True)
class Span:
    """Words ``first`` up to, and without, ``end``; or cycles."""

    first: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class ReportLayer:
    """One layer, or the same layer in each time step.

    Attributes:
        layers: the manifest's layers, in the order of execution.
        indices: their numbers in the manifest.
        reads: parts whose results it reads, by number; -1 is the input.
        weights: int64 [n], the integers that its lanes multiply by, without those of unused lanes.
        words: what it reads of each image, by the image's name, runs of neighbouring words.
        cycles: each nest's, first tap to last.
        macs: multiply-adds that the network counts, of all its layers.
    """

    layers: tuple[LayerInfo, ...]
    indices: tuple[int, ...]
    reads: tuple[int, ...]
    weights: NDArray[np.int64]
    words: dict[str, list[Span]]
    cycles: tuple[Span, ...]
    macs: int

    @property
    def name(self) -> str:
        """The layer's name, with the number of time steps."""
        return title(self.layers[0].name, len(self.layers))

    @property
    def busy(self) -> int:
        """Cycles of all its nests."""
        return sum(span.end - span.first for span in self.cycles)

    def share(self, multipliers: int) -> float:
        """Share of the multipliers that work meanwhile, 0..1.

        0 also where the program leaves out what the network counts: products with a first state,
        which is zero.
        """
        share = self.macs / (self.busy * multipliers)
        return share if share <= 1 else 0.0


@dataclass(frozen=True, slots=True)
class Resident:
    """A tensor in the scratchpad: where it lies and from when to when it is needed.

    ``words`` are those of each bank in which it lies; a core with one tile has bank 0 alone.
    """

    part: int
    words: Span
    cycles: Span
    banks: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """A bundle taken apart."""

    machine: Machine
    manifest: Manifest
    parts: list[ReportLayer]
    residents: list[Resident]
    prediction: CyclePrediction


def dissect(bundle: Path, allow_modified: bool = False) -> Anatomy:
    """Read a bundle and find out what belongs to which layer.

    Raises:
        UserError: as ``load``.
    """
    machine = load(bundle, allow_modified)
    manifest = machine.manifest
    assert manifest is not None
    program = split_program(
        to_uint32(load_images(bundle, manifest, allow_modified)["program"]), machine.core.tiles > 1
    )
    prediction = predict(machine.program, machine.core)
    nests_of: dict[int, list[int]] = {}
    for nest, info in enumerate(manifest.nests):
        nests_of.setdefault(info.layer, []).append(nest)
    groups = same_descriptors(program, [info.layer for info in manifest.nests])
    part_of = {layer: i for i, layers in enumerate(groups.values()) for layer in layers}
    part_of[-1] = -1
    parts = []
    for descriptors, layers in groups.items():
        infos = tuple(manifest.layers[i] for i in layers)
        first = [_nest(machine, n) for n in nests_of[layers[0]]]
        channels = [manifest.nests[n].channels for n in nests_of[layers[0]]]
        parts.append(
            ReportLayer(
                layers=infos,
                indices=tuple(layers),
                reads=tuple(sorted({part_of[r] for info in infos for r in info.reads})),
                weights=_weights(machine, first, channels),
                words=_words(first, machine.core, descriptors),
                cycles=tuple(
                    Span(prediction.nests[n].start, prediction.nests[n].end + 1)
                    for layer in layers
                    for n in nests_of[layer]
                ),
                macs=sum(info.macs for info in infos),
            )
        )
    residents = _residents(machine, manifest, nests_of, part_of, prediction)
    return Anatomy(machine, manifest, parts, residents, prediction)


def _nest(machine: Machine, number: int) -> Nest:
    nest = machine.program[number + 1]
    assert isinstance(nest, Nest)
    return nest


def _steps(nest: Nest, loops: Sequence[int]) -> NDArray[np.int64]:
    """Offsets of the weight address over the given loops, each once."""
    offsets = np.zeros(1, np.int64)
    for loop in loops:
        count, step = nest.counts[loop], nest.weight_steps[loop]
        if step:
            offsets = np.unique((offsets[:, None] + np.arange(count) * step).reshape(-1))
    return offsets


def _weights(
    machine: Machine, nests: Sequence[Nest], channels: Sequence[list[int]]
) -> NDArray[np.int64]:
    """The integers in the lanes that have a channel."""
    found = [np.zeros(0, np.int64)]
    for nest, channel in zip(nests, channels, strict=True):
        if nest.max or nest.product:
            continue
        width = machine.core.group(nest.lanewise)
        rows = machine.memories.steps(nest)  # [steps * n, width]
        per_step = machine.core.word // width
        valid = np.array(channel).reshape(-1, width) >= 0
        inner = _steps(nest, range(1, 6))
        for group in range(nest.counts[0]):
            steps = nest.weight_base + group * nest.weight_steps[0] + inner
            lines = (steps[:, None] * per_step + np.arange(per_step)).reshape(-1)
            found.append(rows[lines][:, valid[group]].astype(np.int64).reshape(-1))
    return np.concatenate(found)


def _words(nests: Sequence[Nest], core: Core, descriptors: Sequence[int]) -> dict[str, list[Span]]:
    weights, bias, table = [], [], []
    for nest in nests:
        if not (nest.max or nest.product):
            weights.append((nest.weight_base + _steps(nest, range(6))) >> nest.narrow)
        groups = Groups.of(nest, core)
        for group in range(nest.counts[0]):
            start = nest.bias_base + group * nest.bias_step
            bias.append(start + np.arange(-(-groups.valid(group) // core.rq)))
        if nest.table:
            table.append(nest.table_base * TABLE_ENTRIES + np.arange(TABLE_ENTRIES))
    program = [d * DESCRIPTOR_WORDS + np.arange(DESCRIPTOR_WORDS) for d in descriptors]
    images = {"program": program, "weights": weights, "bias": bias, "table": table}
    return {name: _spans(parts) for name, parts in images.items() if parts}


def _spans(addresses: Sequence[NDArray[np.int64]]) -> list[Span]:
    """Runs of neighbouring addresses.

    >>> _spans([np.array([4, 5]), np.array([9, 6])])
    [Span(first=4, end=7), Span(first=9, end=10)]
    """
    flat = np.unique(np.concatenate(addresses))
    breaks = np.flatnonzero(np.diff(flat) != 1)
    firsts = np.concatenate([flat[:1], flat[breaks + 1]])
    lasts = np.concatenate([flat[breaks], flat[-1:]])
    return [Span(int(a), int(b) + 1) for a, b in zip(firsts, lasts, strict=True)]


def _residents(
    machine: Machine,
    manifest: Manifest,
    nests_of: dict[int, list[int]],
    part_of: dict[int, int],
    prediction: CyclePrediction,
) -> list[Resident]:
    """The input frame and every layer that is stored, with the words between its first and last."""
    times = {
        layer: Span(prediction.nests[n[0]].start, prediction.nests[n[-1]].end + 1)
        for layer, n in nests_of.items()
    }
    last_use = {layer: span.end for layer, span in times.items()} | {-1: 1}
    for layer, info in enumerate(manifest.layers):
        for read in info.reads:
            last_use[read] = max(last_use[read], times[layer].end)
    frame = machine.frame
    runs = min(frame.runs, frame.strip_runs or frame.runs)
    base, pitch = frame.result_base, machine.core.scratch_depth * machine.core.taps
    place = Span(base, base + runs * frame.span(machine.core.word))
    banks = tuple(range(-(-frame.runs // runs)))
    residents = [Resident(-1, place, Span(0, last_use[-1]), banks)]
    for layer, nests in nests_of.items():
        stored = [_nest(machine, n) for n in nests]
        stored = [n for n in stored if not n.stream]
        if not stored:
            continue
        groups = [Groups.of(n, machine.core) for n in stored]
        at = np.concatenate(
            [g.addresses(n, machine.core, pitch) for g, n in zip(groups, stored, strict=True)]
        )
        inside = at % pitch // machine.core.taps
        place = Span(int(inside.min()), int(inside.max()) + 1)
        banks = tuple(np.unique(at // pitch).tolist())
        time = Span(times[layer].first, last_use[layer])
        residents.append(Resident(part_of[layer], place, time, banks))
    return residents

# SPDX-License-Identifier: Apache-2.0
"""What golden says about a bundle on given samples, and how two bundles' layers compare."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf, log2

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.frames import Output, frames_of, outputs_from_beats
from bramcast.golden.layers import layer_results
from bramcast.golden.machine import Machine
from bramcast.golden.metrics import classes_of, labelled_accuracy, mean_squared_error
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.samples.inputs import Inputs

LAYER_SAMPLES = 256  # on which the layers are looked at
BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """A bundle's results on all samples: of several outputs those of the one with labels.

    Attributes:
        classes: int64 [N], the largest output of each sample.
        accuracy: 0..1; None without labels.
        error: mean squared difference between output and input of a network that reproduces its
            input (an autoencoder); None for others.
        real: float64 [N, outputs].
        right: bool [N], which samples get the class of their label; None without accuracy.
        errors: float64 [N], each sample's part of ``error``.
        name: of the output, where there are several.
        shape: of the output.
        others: the other outputs in their order; they have neither accuracy nor error.
    """

    classes: NDArray[np.int64]
    accuracy: float | None
    error: float | None
    real: NDArray[np.float64]
    right: NDArray[np.bool_] | None = None
    errors: NDArray[np.float64] | None = None
    name: str = ""
    shape: tuple[int, ...] = ()
    others: tuple["Outputs", ...] = ()


@dataclass(slots=True)
class Range:
    """What a layer's results do with its format, over all samples seen."""

    fmt: QFormat
    low: int = 0
    high: int = 0
    clipped: int = 0
    count: int = 0

    def observe(self, values: NDArray[np.int64]) -> None:
        """Take in results, integers of any shape."""
        self.low, self.high = min(self.low, int(values.min())), max(self.high, int(values.max()))
        at_end = values == self.fmt.max
        if self.fmt.signed:
            at_end |= values == self.fmt.min
        self.clipped += int(at_end.sum())
        self.count += values.size

    @property
    def saturated(self) -> float:
        """Share of the results that stand at an end of the format, 0..1."""
        return self.clipped / self.count if self.count else 0.0

    @property
    def headroom(self) -> float:
        """Bits of the format that the largest result leaves unused.

        >>> r = Range(QFormat(8, 0, signed=False))
        >>> r.observe(np.array([0, 31])); round(r.headroom, 2)
        3.04
        """
        used = max(self.high / self.fmt.max, self.low / self.fmt.min if self.fmt.min else 0.0)
        return max(0.0, -log2(used)) if used > 0 else inf


@dataclass(slots=True)
class Likeness:
    """How far two layers give the same: 2ab / (aa + bb), 1 where they are equal.

    >>> like = Likeness(); like.observe(np.array([3.0, 1.0]), np.array([1.0, 3.0])); like.value
    0.6
    """

    both: float = 0.0
    power: float = 0.0

    def observe(self, old: NDArray[np.float64], new: NDArray[np.float64]) -> None:
        """Take in real results of the same shape."""
        self.both += 2.0 * float((old * new).sum())
        self.power += float((old * old).sum() + (new * new).sum())

    @property
    def value(self) -> float:
        return self.both / self.power if self.power else 1.0


@dataclass(frozen=True, slots=True)
class LayerPair:
    """A layer of the new bundle, and the old one's of the same name where there is one."""

    name: str
    old: Range | None
    new: Range
    like: Likeness | None = field(default=None)


def outputs(machine: Machine, inputs: Inputs, progress: Callable[[int], None]) -> Outputs:
    """Run golden on every sample.

    Raises:
        InputError: samples or labels that don't fit the network.
    """
    assert machine.manifest is not None
    frames = frames_of(inputs.x, machine.manifest)
    beats = machine.run(frames, progress=progress).beats
    labelled, *rest = outputs_from_beats(beats, machine)
    if inputs.y_of:
        rest = [labelled, *rest]
        labelled = rest.pop(inputs.y_of)
    real, signed = labelled.real, labelled.signed
    accuracy, classes = labelled_accuracy(real, inputs.y, signed), classes_of(real, signed)
    flat = real.reshape(len(real), -1).astype(np.float64)
    right = errors = error = None
    if accuracy is not None:
        right = classes == inputs.y
    if inputs.y is None and real[0].size == inputs.x[0].size and not rest:
        wanted = inputs.x.reshape(flat.shape).astype(np.float64)
        error = mean_squared_error(flat, wanted)
        errors = np.square(flat - wanted).mean(axis=1)
    others = tuple(_unlabelled(output) for output in rest)
    shape = real.shape[1:]
    return Outputs(classes, accuracy, error, flat, right, errors, labelled.name, shape, others)


def _unlabelled(output: Output) -> Outputs:
    real = output.real
    classes, flat = classes_of(real, output.signed), real.reshape(len(real), -1)
    return Outputs(classes, None, None, flat, name=output.name, shape=real.shape[1:])


def layer_pairs(old: Machine, new: Machine, inputs: Inputs) -> list[LayerPair]:
    """Look at the layers of two bundles on the same samples."""
    assert old.manifest is not None and new.manifest is not None
    before = {layer.name: Range(layer.format.q) for layer in old.manifest.layers}
    after = {layer.name: Range(layer.format.q) for layer in new.manifest.layers}
    shapes = {layer.name: layer.shape for layer in old.manifest.layers}
    like = {
        layer.name: Likeness()
        for layer in new.manifest.layers
        if shapes.get(layer.name) == layer.shape
    }
    samples = inputs.x[:LAYER_SAMPLES]
    for start in range(0, len(samples), BATCH):
        part = samples[start : start + BATCH]
        mine = {}
        for name, values in _layers(old, part):
            before[name].observe(values)
            if name in like:
                mine[name] = before[name].fmt.real(values)
        for name, values in _layers(new, part):
            after[name].observe(values)
            if name in like:
                like[name].observe(mine[name], after[name].fmt.real(values))
    return [LayerPair(name, before.get(name), seen, like.get(name)) for name, seen in after.items()]


def _layers(
    machine: Machine, samples: NDArray[np.floating]
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    assert machine.manifest is not None
    frames = frames_of(samples, machine.manifest)
    for result in layer_results(machine, machine.run(frames, keep_layers=True)):
        yield result.layer.name, result.values


def suspect(pairs: list[LayerPair]) -> tuple[LayerPair, float] | None:
    """The layer at which the two networks part most, and how alike they were before it."""
    before, found, drop = 1.0, None, 0.0
    for pair in pairs:
        if pair.like is None:
            continue
        here = pair.like.value
        if before - here > drop:
            found, drop = (pair, before), before - here
        before = min(before, here)
    return found

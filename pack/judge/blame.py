# SPDX-License-Identifier: Apache-2.0
"""Whose rounding the output's error is: each layer's share of it, and the input's.

A layer's own signal to noise does not say so: a gate that hardly moves has a bad one and does no
harm, and every layer passes on the errors before it. What counts is what its own rounding does to
the output. To first order that is the product of the layer's own error with the gradient of the
output; the gradient in a random direction of the output stands for all its elements, as the mean
square over directions is the sum over the elements. Imports torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bramcast.pack.bundle.judgement import Moments
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.tensor import FloatArray
from bramcast.pack.passes.two_planes import Planes
from bramcast.pack.quantize.op import QuantizedOp
from bramcast.pack.run import execute
from bramcast.pack.run.calibrate import frame_values, integer_frame

SAMPLES = 32  # each in a random direction of the output


@dataclass(frozen=True, slots=True)
class Blame:
    """Mean squared error of the output, summed over its elements, that each rounding alone brings.

    Of several outputs each is divided by its signal.

    Attributes:
        layers: by operation's name.
        input: of the samples' rounding to the input's format.
        varying: signal to noise of each operation's results in decibels, as the output's is
            counted; None where nothing varies.
    """

    layers: dict[str, float]
    input: float
    varying: dict[str, float | None]

    @property
    def total(self) -> float:
        return self.input + sum(self.layers.values())

    def share(self, error: float) -> float:
        """An error's share of all, 0..1, to three digits; 0 where there is none."""
        return round(error / self.total, 3) if self.total else 0.0

    def worst(self) -> str | None:
        """The layer that brings most; None where none brings anything."""
        name = max(self.layers, key=self.layers.__getitem__)
        return name if self.layers[name] else None


def blame(
    graph: Graph,
    quantized: Mapping[str, QuantizedOp],
    fmt: QFormat,
    planes: Planes | None,
    samples: NDArray[np.floating],
    signals: Sequence[float] = (1.0,),
) -> Blame:
    """Measure on up to SAMPLES of the samples; fewer are taken several times.

    Args:
        signals: of each output; the errors count beside them.
    """
    rng = np.random.default_rng(0)
    some = samples[rng.permutation(len(samples))[:SAMPLES]]
    some = np.concatenate([some] * -(-SAMPLES // len(some)))[:SAMPLES]
    total = dict.fromkeys((op.name for op in graph.ops), 0.0)
    moments = {op.name: Moments(op.out.elements) for op in graph.ops}
    of_input = 0.0
    size = max(1, min(SAMPLES, (1 << 20) // max(t.elements for t in graph.tensors)))
    for batch in execute.batches(some, size):
        results, gradients = _gradients(graph, batch, planes, rng, signals)
        error = _input_error(graph, fmt, planes, batch)
        here = gradients[graph.input.index]
        if planes is not None:  # a feature moves as its coarse plane does
            here = here[:, 0::2]
        of_input += _squares(here, error)
        for name, index, own, got in _own_errors(graph, quantized, fmt, planes, batch):
            total[name] += _squares(gradients[index], own)
            moments[name].observe(_rows(results[index]), _rows(got))
    return Blame(
        {name: value / len(some) for name, value in total.items()},
        of_input / len(some),
        {name: seen.decibels() for name, seen in moments.items()},
    )


def _rows(values: torch.Tensor) -> FloatArray:
    return np.asarray(values.detach().double().flatten(1).numpy())


def _squares(gradient: torch.Tensor, error: torch.Tensor) -> float:
    return float(((gradient.double() * error).flatten(1).sum(dim=1) ** 2).sum())


def _gradients(
    graph: Graph,
    batch: NDArray[np.floating],
    planes: Planes | None,
    rng: np.random.Generator,
    signals: Sequence[float],
) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
    """The real network's results, and the gradients of each sample's output in a direction of its
    own, both by tensor, float32 [N, C, H, W]."""
    frame = frame_values(graph, batch, planes).float().requires_grad_()
    store = {graph.input.index: frame}
    with torch.enable_grad():
        for op in graph.ops:
            operands = [execute.take(graph, store, view) for view in op.views]
            store[op.out.index] = execute.real_compute(op, operands)
        along = 0 * frame.sum()  # results that are steps, a comparison's, have no slope at all
        for result, signal in zip(execute.leaving(graph, store), signals, strict=True):
            signs = rng.choice([-1.0, 1.0], size=tuple(result.shape)) / np.sqrt(signal)
            along = along + (result * torch.from_numpy(signs).to(result.dtype)).sum()
        wanted = [index for index, tensor in store.items() if tensor.requires_grad]
        found = torch.autograd.grad(along, [store[index] for index in wanted], allow_unused=True)
    gradients = {index: torch.zeros_like(tensor) for index, tensor in store.items()}
    # A function without a slope somewhere, a root at zero, has no share there.
    gradients |= {
        i: g.nan_to_num(0, 0, 0) for i, g in zip(wanted, found, strict=True) if g is not None
    }
    return store, gradients


def _input_error(
    graph: Graph, fmt: QFormat, planes: Planes | None, batch: NDArray[np.floating]
) -> torch.Tensor:
    """By how much the sent frame differs from the samples, float64 [N, C, H, W]."""
    real = graph.framed(batch)
    error, t = (planes or fmt).rounded(real) - real, graph.input
    return torch.from_numpy(error).reshape(len(batch), -1, t.height, t.width)


def _own_errors(
    graph: Graph,
    quantized: Mapping[str, QuantizedOp],
    fmt: QFormat,
    planes: Planes | None,
    batch: NDArray[np.floating],
) -> Iterator[tuple[str, int, torch.Tensor, torch.Tensor]]:
    """By how much each operation's results differ from the real operation on the same operands,
    and these results, real numbers: name, tensor, error, results."""
    compute = execute.integer_compute(quantized)
    with torch.no_grad():
        integers = {graph.input.index: integer_frame(graph, fmt, planes, batch)}
        real = {graph.input.index: integers[graph.input.index] * fmt.lsb}
        last = graph.last_readers
        for number, op in enumerate(graph.ops):
            result = compute(op, [execute.take(graph, integers, view) for view in op.views])
            exact = execute.real_compute(op, [execute.take(graph, real, v) for v in op.views])
            index = op.out.index
            integers[index] = result
            real[index] = result.double() * quantized[op.name].out.lsb
            yield op.name, index, real[index] - exact.double(), real[index]
            for unread in [i for i in integers if last.get(i) == number]:
                del integers[unread], real[unread]

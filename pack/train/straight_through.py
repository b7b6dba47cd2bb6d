# SPDX-License-Identifier: Apache-2.0
"""The quantized graph with gradients: integers forward, real numbers backward. Imports torch.

Every result is the integer that the core computes, carried in float32 or float64 where that is
exact. Its gradient is that of the same operation without rounding, zero where the result saturates
(Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", 2013).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.activations import Activation
from bramcast.pack.graph.border import Bands
from bramcast.pack.graph.ops import Op, Weighted
from bramcast.pack.quantize.op import QuantizedOp
from bramcast.pack.run.execute import Compute, combined, looked_up


class _Through(torch.autograd.Function):
    """``exact`` forward, the gradient of ``smooth`` backward."""

    @staticmethod
    def forward(ctx: Any, smooth: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


def through(smooth: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """``exact`` with the gradient of ``smooth``.

    >>> x = torch.tensor([0.4, 2.0], requires_grad=True)
    >>> y = through(x * 3, torch.tensor([1.0, 6.0]))
    >>> y.sum().backward()
    >>> y.detach(), x.grad
    (tensor([1., 6.]), tensor([3., 3.]))
    """
    apply: Any = _Through.apply
    result: torch.Tensor = apply(smooth, exact.to(smooth.dtype))
    return result


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """An operation's real weights and biases with their gradients, float64.

    ``weight`` [.. as Weighted.weight] counts what pack multiplies into the weights before it rounds
    them (gains of pools), ``tap_bias`` is as Weighted.tap_bias; None for a constant, as that of a
    copy.
    """

    weight: torch.Tensor | None
    bias: torch.Tensor | None
    tap_bias: torch.Tensor | None = None


def quantized_input(real: torch.Tensor, fmt: QFormat) -> torch.Tensor:
    """``QFormat.quantize`` of a float64 tensor, with a gradient."""
    scaled = real * 2.0**fmt.frac
    exact = torch.floor(scaled.detach() + 0.5).clamp(fmt.min, fmt.max)
    return through(scaled.clamp(fmt.min, fmt.max), exact)


def through_compute(
    quantized: Mapping[str, QuantizedOp],
    seen: Mapping[str, QFormat],
    operand: Mapping[str, QFormat],
    live: Mapping[str, Live],
) -> Compute:
    """One operation in integers with gradients, for ``execute.run``.

    Args:
        seen: by operation, the format of the clamp's result.
        operand: by operation with weights, the format whose LSB its weights multiply.
        live: the operations whose weights or biases are trained.
    """

    def compute(op: Op, operands: list[torch.Tensor]) -> torch.Tensor:
        q = quantized[op.name]
        carrier = torch.float32 if q.bound < 1 << 24 else torch.float64
        operands = [x.to(carrier) for x in operands]
        weight = torch.from_numpy(q.weight).to(carrier)
        bias = torch.from_numpy(q.bias).double()[:, None, None]
        if q.border.size:
            assert isinstance(op, Weighted)
            bias = bias + torch.from_numpy(Bands.of(op).picture(q.border)).double()
        if op.name in live:
            # The accumulator's LSB in each channel is 2**-(shift + frac of what leaves).
            fraction = q.shift + seen[op.name].frac
            scale = torch.from_numpy(np.exp2(fraction.astype(np.float64)))
            real = live[op.name]
            assert isinstance(op, Weighted)
            smooth = _real_bias(op, real)
            if smooth is not None:
                bias = through(smooth * scale[:, None, None], bias)
            if real.weight is not None:
                scale = scale / 2.0 ** operand[op.name].frac
                smooth = real.weight * scale[:, None, None, None]
                weight = through(smooth.to(carrier), weight)
        acc = combined(op, operands, weight)
        clamped = _requantized(acc, bias, q)
        if q.table is None:
            return clamped
        return _looked_up(op, clamped, seen[op.name], q)

    return compute


def _real_bias(op: Weighted, live: Live) -> torch.Tensor | None:
    """What is added to each result, float64 [C, 1, 1] or [C, OY, OX]; None for constants."""
    if live.bias is None and live.tap_bias is None:
        return None
    bias = torch.from_numpy(op.bias) if live.bias is None else live.bias
    if not op.tap_bias.size:
        return bias[:, None, None]
    taps = torch.from_numpy(op.tap_bias) if live.tap_bias is None else live.tap_bias
    rows, columns = (torch.from_numpy(met) for met in Bands.of(op).met)
    return bias[:, None, None] + rows @ taps @ columns.T


def _requantized(acc: torch.Tensor, bias: torch.Tensor, q: QuantizedOp) -> torch.Tensor:
    """clamp((acc + bias + half) >> shift, lo, hi), where nothing is shifted without half."""
    half = np.where(q.shift > 0, 0.5, 0.0)
    largest = q.bound + int((half * np.exp2(q.shift)).max(initial=0))
    carrier = torch.float32 if largest < 1 << 24 else torch.float64

    def channels(values: torch.Tensor) -> torch.Tensor:
        return values.to(carrier)[:, None, None]

    total = acc.to(carrier) + bias.to(carrier)
    scaled = total * channels(torch.from_numpy(np.exp2(-q.shift.astype(np.float64))))
    exact = torch.floor(scaled.detach() + channels(torch.from_numpy(half))).clamp(q.lo, q.hi)
    result = through(scaled.clamp(q.lo, q.hi), exact)
    return result if q.out.bits > 16 else result.float()


def _looked_up(op: Op, value: torch.Tensor, seen: QFormat, q: QuantizedOp) -> torch.Tensor:
    """The table's entry, with the gradient of the activation itself."""
    assert op.activation is not None and q.table is not None
    exact = looked_up(torch.from_numpy(q.table), value.detach().long())
    smooth = _without_rounding(op.activation).apply(value * seen.lsb, torch) / q.out.lsb
    return through(smooth.clamp(q.out.min, q.out.max), exact)


def _without_rounding(activation: Activation) -> Activation:
    return Activation(tuple(f for f in activation.functions if f.name != "round"))

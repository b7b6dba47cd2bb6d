# SPDX-License-Identifier: Apache-2.0
"""Rescales the channels of activations so that each fills its grid: cross-layer equalization.

    V act(W x + b)     ->     (V / f) act((f W) x + f b)        f > 0, one factor for each channel

A format is a power of two and one for a whole tensor; a channel that stays small uses few of its
steps. ReLU, leaky ReLU and linear layers are positively homogeneous: a channel may be multiplied by
any positive factor where it is computed if every reader divides its weights by it (Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", 2019). Tensors that are
added up are scaled alike. The real network stays what it is.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil, inf, log2

import numpy as np

from bramcast.pack.graph.classes import Classes
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Add, AvgPool, MaxPool, Op, Weighted
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, Tensor

_Passing = MaxPool | AvgPool


def equalize(
    graph: Graph,
    maxima: Mapping[int, FloatArray],
    power: float,
    largest_factor: float = 16.0,
    keep: frozenset[int] = frozenset(),
    sums: bool = True,
) -> Graph:
    """The same network with rescaled channels.

    Args:
        maxima: the largest magnitude of each channel, by tensor (calibrate.channel_maxima).
        power: 1 brings each channel's maximum to the top of the grid, 0.5 half the way (in
            powers of two), 0 does nothing.
        largest_factor: a channel that would need more is left smaller.
        keep: tensors whose channels stay as they are.
        sums: also those that are added up.

    Returns:
        A graph whose operations have other weights and biases, and the same results.
    """
    factors: dict[int, FloatArray] = {}  # by tensor
    weights = [op.weight.tobytes() for op in graph.ops if isinstance(op, Weighted)]
    joined = _streams(graph)
    spoilt = {graph.input.index, *keep}  # tensors that stay as they are, and so do their streams
    for op in graph.ops:
        makes = (
            isinstance(op, Weighted)
            and _homogeneous(op)
            and weights.count(op.weight.tobytes()) == 1
        )
        adds = sums and _sums(graph, op)
        if not (makes or adds) or not can_absorb(graph, op.out, sums):
            spoilt.add(op.out.index)
    still = {joined.find(index) for index in spoilt}
    largest: dict[int, FloatArray] = {}  # by stream
    for op in graph.ops:
        root = joined.find(op.out.index)
        if root not in still:
            here = maxima[op.out.index]
            largest[root] = np.maximum(largest.get(root, here), here)
    for op in graph.ops:
        root = joined.find(op.out.index)
        if root in largest and largest[root].max() > 0:
            factors[op.out.index] = _factors(largest[root], power, largest_factor)
        elif isinstance(op, _Passing):
            source = _of_view(graph, op.view, factors)
            if source is not None and (source != 1.0).any():
                factors[op.out.index] = source
    return graph.with_ops([rescaled(graph, op, factors) for op in graph.ops])


def _homogeneous(op: Weighted) -> bool:
    """Whether a channel of the result may be scaled where it is computed."""
    return not op.exact and not op.uniform and _scales_along(op)


def _scales_along(op: Op) -> bool:
    """Whether what follows the sum only scales where that does."""
    clips = op.clamp.hi != inf or op.clamp.lo not in (0.0, -inf)
    functions = () if op.activation is None else op.activation.functions
    smooth = any(f.name != "leaky_relu" for f in functions)
    return not clips and not smooth and op.rounds is None


def _sums(graph: Graph, op: Op) -> bool:
    """Whether an operation adds whole tensors, channel by channel: a residual stream."""
    if not isinstance(op, Add) or op.bias.any() or not _scales_along(op):
        return False
    owners = [graph.owners(view) for view in op.views]
    if any(len(tensors) != 1 for tensors in owners):
        return False
    return all(np.array_equal(t.ids, view) for (t,), view in zip(owners, op.views, strict=True))


def _streams(graph: Graph) -> Classes:
    """Tensors whose channels are added up, which are scaled alike or not at all."""
    joined = Classes(len(graph.tensors))
    for op in graph.ops:
        if isinstance(op, Add):
            joined.join([op.out.index, *graph.operands(op)])
    return joined


def can_absorb(graph: Graph, tensor: Tensor, sums: bool = False) -> bool:
    """Whether every reader can divide its weights by the channels' factors.

    Args:
        sums: adding whole tensors is no obstacle, as the other one is scaled alike.
    """
    if graph.is_output(tensor):
        return False
    for op in graph.consumers(tensor):
        if isinstance(op, Weighted) and op.uniform:  # and stays so, whatever the weights are
            return False
        if isinstance(op, Weighted) and not op.exact:
            if not all(_one_channel_each(graph, tensor, view) for view in op.views):
                return False
        elif isinstance(op, _Passing):
            same = bool(tensor.mine(op.view).all())
            whole = same and _one_channel_each(graph, tensor, op.view)
            whole &= op.rounds is None
            if not whole or op.activation is not None or op.clamp.hi != inf:
                return False
            if not can_absorb(graph, op.out, sums):
                return False
        elif sums and _sums(graph, op):
            continue  # its result is of the same stream
        else:
            return False
    return True


def _one_channel_each(graph: Graph, tensor: Tensor, view: IntArray) -> bool:
    """Whether each channel of a view shows elements of one channel of ``tensor`` only, if any."""
    flat = view.reshape(len(view), -1)
    mine = tensor.mine(flat)
    if (mine.any(axis=1) & ~(mine | (flat == ZERO)).all(axis=1)).any():
        return False
    channel = (flat - tensor.first) // (tensor.height * tensor.width)
    low = np.where(mine, channel, tensor.channels).min(axis=1)
    high = np.where(mine, channel, -1).max(axis=1)
    return bool((~mine.any(axis=1) | (low == high)).all())


def _factors(largest: FloatArray, power: float, largest_factor: float) -> FloatArray:
    top = 2.0 ** ceil(log2(float(largest.max()))) * 255 / 256
    top = max(top, float(largest.max()))
    alive = largest > float(largest.max()) * 1e-9
    wanted = np.where(alive, top / np.where(alive, largest, 1.0), 1.0)
    return np.asarray(np.clip(wanted, 1.0, largest_factor) ** power)


def _of_view(graph: Graph, view: IntArray, factors: Mapping[int, FloatArray]) -> FloatArray | None:
    """The factor of each channel of a view, float64 [C]."""
    result = np.ones(len(view))
    flat = view.reshape(len(view), -1)
    for tensor in graph.owners(view):
        if tensor.index not in factors:
            continue
        mine = tensor.mine(flat)
        row, column = np.nonzero(mine)
        channel = (flat[row, column] - tensor.first) // (tensor.height * tensor.width)
        result[row] = factors[tensor.index][channel]
    return result


def rescaled(graph: Graph, op: Op, factors: Mapping[int, FloatArray]) -> Op:
    """The operation on channels, by tensor, that are larger by factors."""
    if not isinstance(op, Weighted):
        return op
    weight = op.weight
    reads = _of_view(graph, op.view, factors)
    assert reads is not None
    if (reads != 1.0).any():
        weight = weight / reads[op.inputs][:, :, None, None]
    bias, taps = op.bias, op.tap_bias
    if op.out.index in factors:
        mine = factors[op.out.index]
        weight, bias = weight * mine[:, None, None, None], bias * mine
        taps = taps * mine[:, None, None] if taps.size else taps
    if weight is op.weight and bias is op.bias:
        return op
    return replace(op, weight=weight, bias=bias, tap_bias=taps)

# SPDX-License-Identifier: Apache-2.0
"""What an operation is with a scale behind it, through its clamp, its table and its rounding.

    g (W x + b) + o         ->  (g W) x + (g b + o)
    g max(W x + b, 0)       ->  max((g W) x + g b, 0)                   for g > 0
    g f(W x + b) + o        ->  f'(W x + b), f' = g f + o               where f is a table
    round(g clip(x) + o)    ->  clip'(round(g x + o))                   for g > 0, rounded limits
    2**s round(x) + o       ->  round'(2**s x + o)                      steps 2**s times as wide

An Op with ``rounds`` = r gives integer multiples of 2**-r, ties towards +inf as in the core, so its
tensor's fraction length is r and nothing is approximated. Rounding never changes the order of
numbers, so a clamp may stand on either side of it, with rounded limits.
"""

from dataclasses import replace
from math import inf

import numpy as np

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.grid import on_grid, power_of_two, round_half_up, uniform
from bramcast.pack.graph.ops import Add, AvgPool, Clip, Op, Scale, Weighted
from bramcast.pack.graph.window import NO_CLAMP, Clamp


def scaled(source: Op, scale: Scale) -> Op | None:
    """``source`` with the scale behind it multiplied into its weights or table, if it can be."""
    if source.activation is not None:
        same = uniform(scale)
        if same is None:
            return None
        functions: tuple[Function, ...] = (Function("scale", same),)
        if scale.rounds is not None:
            functions += (Function("round", (2.0**scale.rounds,)),)
        return replace(source, activation=source.activation.then(Activation(functions)))
    if source.clamp != NO_CLAMP and source.rounds is None and scale.rounds is None:
        return _times(source, scale) if _passes(source.clamp, scale) else None
    linear = _times(source, scale)
    return None if linear is None else _around_rounding(source, scale, linear)


def _passes(clamp: Clamp, scale: Scale) -> bool:
    """Whether a scale may as well stand before a clamp: positive gains before a ReLU."""
    along = clamp.hi == inf and clamp.lo in (0.0, -inf)
    return along and bool((scale.weight > 0).all()) and not scale.bias.any()


def _times(source: Op, scale: Scale) -> Op | None:
    """``source`` with the scale multiplied into its weights and bias, all else as it is."""
    if isinstance(source, Clip) and scale.rounds is not None:
        ones = np.ones(source.view.shape)
        source = Scale(**source.common, weight=ones, bias=np.zeros(ones.shape))
    order = scale.view.ravel() - source.out.first
    inverse = np.argsort(order)
    weight, bias = scale.weight.ravel()[inverse], scale.bias.ravel()[inverse]
    if isinstance(source, Scale):
        shape = source.weight.shape
        factor, offset = weight.reshape(shape), bias.reshape(shape)
        return replace(source, weight=source.weight * factor, bias=source.bias * factor + offset)
    rounds = scale.rounds is not None or source.rounds is not None
    if isinstance(source, Add | AvgPool) and rounds:
        return _rounded_sum(source, scale)
    if not isinstance(source, Weighted) or source.tap_bias.size:
        return None  # padding's share comes last of all
    rows = weight.reshape(source.out.channels, -1), bias.reshape(source.out.channels, -1)
    if any((r != r[:, :1]).any() for r in rows):
        return None
    factor, offset = rows[0][:, 0], rows[1][:, 0]
    return replace(
        source,
        weight=source.weight * factor[:, None, None, None],
        bias=source.bias * factor + offset,
    )


def _rounded_sum(source: Add | AvgPool, scale: Scale) -> Op | None:
    """An add or an average with the scale of the rounding behind it."""
    same = uniform(scale)
    if same is None or same[0] <= 0 or (isinstance(source, Add) and power_of_two(same[0]) is None):
        return None
    factor, offset = same
    bias = source.bias if source.bias.size else np.zeros(source.out.channels)
    return replace(source, weight=source.weight * factor, bias=bias * factor + offset)


def _around_rounding(source: Op, scale: Scale, linear: Op) -> Op | None:
    """``source`` with the scale behind it, where one of them rounds or ``source`` does not clamp.

    Args:
        linear: ``source`` whose weights and bias have taken the scale's, all else as it was.
    """
    same = uniform(scale)
    if source.rounds is None:
        if source.clamp == NO_CLAMP:
            return replace(linear, rounds=scale.rounds)
        if scale.rounds is None or same is None or same[0] <= 0:
            return None
        limits = [
            round_half_up(v * same[0] + same[1], scale.rounds)
            for v in (source.clamp.lo, source.clamp.hi)
        ]
        return replace(linear, clamp=Clamp(*limits), rounds=scale.rounds)
    if scale.rounds is not None or same is None:
        return None
    factor, offset = same
    step = power_of_two(factor)
    if step is None or not on_grid(offset, source.rounds - step):
        return None
    clamp = Clamp(source.clamp.lo * factor + offset, source.clamp.hi * factor + offset)
    return replace(linear, clamp=clamp, rounds=source.rounds - step)

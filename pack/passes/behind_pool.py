# SPDX-License-Identifier: Apache-2.0
"""A scale in front of a pool goes behind it: fewer elements, and layers that may take it.

max(g x + o)   ->  g max(x) + o       for g > 0
mean(g x + o)  ->  g mean(x) + o      where padding does not count
"""

from dataclasses import replace

import numpy as np

from bramcast.pack.graph.border import Bands
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.ops import AvgPool, MaxPool, Op, Scale
from bramcast.pack.graph.tensor import ZERO, seen_through
from bramcast.pack.graph.window import NO_CLAMP
from bramcast.pack.passes.absorb import by_channel


def is_plain(op: Op) -> bool:
    """Whether nothing follows an operation: a scale is a gain and an offset for each element."""
    return op.clamp == NO_CLAMP and op.activation is None and op.rounds is None


def behind_pool(draft: Draft, scale: Scale) -> bool:
    """A plain scale behind the pool that alone reads it; False if it has to stay."""
    if draft.is_output(scale.out):
        return False
    readers = draft.consumers(scale.out)
    pool = readers[0] if len(readers) == 1 else None
    if not isinstance(pool, AvgPool | MaxPool) or not is_plain(pool):
        return False
    if draft.owners(pool.view) != [scale.out] or (pool.view == ZERO).any():
        return False
    channels = by_channel(scale, pool.view, zeros=False)
    if channels is None:
        return False
    if isinstance(pool, MaxPool) and not (np.asarray(channels[0]) > 0).all():
        return False
    if isinstance(pool, AvgPool) and not _averages(pool):
        return False
    raw = draft.new_tensor(pool.out.name, *pool.out.ids.shape)
    gain, offset = (np.broadcast_to(v[:, None, None], raw.ids.shape) for v in channels)
    pooled = replace(pool, views=(seen_through(pool.view, scale.out, scale.view),), out=raw)
    behind = replace(scale, views=(raw.ids,), out=pool.out, weight=gain, bias=offset)
    draft.put(pool, pooled, behind)
    draft.remove(scale)
    return True


def _averages(pool: AvgPool) -> bool:
    """Whether a pool of ones is ones: its divisors count elements, not padding."""
    bands = Bands.over((pool.view.shape[1], pool.view.shape[2]), pool.window)
    elements = bands.picture(bands.totals(np.ones(pool.window.kernel)))
    return bool((np.abs(pool.weight[0] * elements - 1.0) < 1e-12).all())

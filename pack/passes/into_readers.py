# SPDX-License-Identifier: Apache-2.0
"""A scale goes into the layers that read it; it stays for those that can't take it.

    s = g x + o,  W s + b,  s + y  ->  (W g) x + (b + W o),  s + y

Beside others in a concat, whose parts share a format, x must be of their size: a power of two of
the gains goes back into what makes x, through its ReLU.

    x = max(V u, 0),  W (g x | y)  ->  x' = max(2**e V u, 0),  (W g / 2**e) x' | W y
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from math import inf

import numpy as np

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.ops import Op, Scale, Weighted
from bramcast.pack.graph.tensor import is_whole
from bramcast.pack.passes.absorb import absorbed


def into_readers(draft: Draft, scale: Scale) -> bool:
    """A plain scale into its readers; False if none takes it."""
    readers = draft.consumers(scale.out)
    alone = [op for op in readers if draft.owners(op.view) == [scale.out]]
    mixed = any(op not in alone and absorbed(draft, op, scale) is not None for op in readers)
    source = _can_even(draft, scale) if mixed else None
    if source is not None:
        scale = _even(draft, source, scale)
    takers = alone if source is None else readers
    made = [(op, absorbed(draft, op, scale)) for op in takers]
    taken = [(op, other) for op, other in made if other is not None]
    stays = draft.is_output(scale.out) or len(taken) < len(readers)
    if not taken or (stays and _unrolled(draft, (scale, *readers))):
        return False
    for op, other in taken:
        draft.put(op, other)
    if not stays:
        draft.remove(scale)
    return True


def _unrolled(draft: Draft, ops: Iterable[Op]) -> bool:
    """Whether there are time steps among operations: these share what is folded into them."""
    steps = Counter(twin for op in draft.ops for twin in op.twins)
    return any(steps[twin] > 1 for op in ops for twin in op.twins)


def _can_even(draft: Draft, scale: Scale) -> Weighted | None:
    """What makes a scale's operand, if it can take a power of two for it alone."""
    owners = draft.owners(scale.view)
    source = draft.producer(owners[0])
    if not isinstance(source, Weighted) or len(owners) > 1 or not is_whole(scale.view, owners[0]):
        return None
    alone = draft.consumers(owners[0]) == [scale] and not draft.is_output(owners[0])
    free = source.clamp.hi == inf and source.clamp.lo in (0.0, -inf)
    free = free and source.activation is None and source.rounds is None and not source.exact
    shared = sum((op.layer or op.name) == (source.layer or source.name) for op in draft.ops) > 1
    even = alone and free and not shared and not _unrolled(draft, (source, scale))
    return source if even else None


def _even(draft: Draft, source: Weighted, scale: Scale) -> Scale:
    """The scale with gains around 1: what makes its operand is as much larger."""
    gains = np.abs(np.asarray(scale.weight))
    exponent = int(np.round(np.median(np.log2(gains[gains > 0])))) if gains.any() else 0
    factor = 2.0**exponent
    larger = replace(
        source,
        weight=source.weight * factor,
        bias=source.bias * factor,
        tap_bias=source.tap_bias * factor,
    )
    smaller = replace(scale, weight=scale.weight * (1.0 / factor))
    draft.put(source, larger)
    draft.put(scale, smaller)
    return smaller

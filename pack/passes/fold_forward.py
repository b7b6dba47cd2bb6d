# SPDX-License-Identifier: Apache-2.0
"""Scales go forwards: what nothing before a normalisation can take, the layers behind it do.

    pool(g x + o)    ->  g pool(x) + o            behind_pool.py
    W (g x + o) + b  ->  (W g) x + (b + W o)      into_readers.py

A BatchNorm behind a ReLU or a residual add is a gain and an offset for each channel.
"""

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Scale
from bramcast.pack.passes.behind_pool import behind_pool, is_plain
from bramcast.pack.passes.into_readers import into_readers


def fold_forward(graph: Graph) -> Graph:
    """Every scale into what reads it, and behind a pool whose readers may take it; from the first
    again behind each change."""
    draft = Draft(graph)
    while any(behind_pool(draft, op) or into_readers(draft, op) for op in _scales(draft)):
        pass
    return draft.done()


def _scales(draft: Draft) -> list[Scale]:
    return [op for op in draft.ops if isinstance(op, Scale) and is_plain(op)]

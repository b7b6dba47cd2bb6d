# SPDX-License-Identifier: Apache-2.0
"""Folds what costs nothing into what computes: BatchNorm and constants into weights, activations
into clamps and tables; the input and the output get their final shape.

After ``fold`` every operation is dense, depthwise, avgpool, maxpool, add or product.
"""

from bramcast.pack.graph.graph import Graph
from bramcast.pack.passes.table import FOLDING, Watch, run_passes, unwatched


def fold(graph: Graph, watch: Watch = unwatched) -> Graph:
    """A captured graph folded.

    Raises:
        UnsupportedLayer: rounding or an output that the core can't give.
    """
    return run_passes(graph, FOLDING, watch)

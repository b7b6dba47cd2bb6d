# SPDX-License-Identifier: Apache-2.0
"""Passes by name, and in which order a captured graph is folded.

Behind FOLDING every operation is dense, depthwise, avgpool, maxpool, add or product.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.verify import verify
from bramcast.pack.passes.clear_idle_weights import clear_idle_weights
from bramcast.pack.passes.drop_dead import drop_dead
from bramcast.pack.passes.fold_back import fold_back
from bramcast.pack.passes.fold_forward import fold_forward
from bramcast.pack.passes.fold_self_products import fold_self_products
from bramcast.pack.passes.join_functions import join_functions
from bramcast.pack.passes.join_products import join_products
from bramcast.pack.passes.make_depthwise import make_depthwise
from bramcast.pack.passes.merge_repeats import merge_repeats
from bramcast.pack.passes.own_output import own_output
from bramcast.pack.passes.settle_rounding import settle_rounding
from bramcast.pack.passes.shape_input import shape_input
from bramcast.pack.passes.split_bands import split_bands
from bramcast.pack.passes.split_by_use import split_by_use
from bramcast.pack.passes.stored_order import stored_order
from bramcast.pack.passes.whole_tensors import whole_tensors

Rewrite = Callable[[Graph], Graph]
# Of a stage: its name, the graph before and behind it; None where there is no graph yet.
Watch = Callable[[str, Graph | None, Graph | None], object]
VERIFY = "BRAMCAST_VERIFY"  # set: each graph that a pass makes is verified


@dataclass(frozen=True, slots=True)
class Pass:
    """A rewrite: it gives another graph, or the very one that it took if it changes nothing."""

    name: str
    rewrite: Rewrite


def until_settled(*rewrites: Rewrite) -> Rewrite:
    """Rewrites as one: from the first again whenever one has changed something, until none does."""

    def settled(graph: Graph) -> Graph:
        while True:
            for rewrite in rewrites:
                made = rewrite(graph)
                if made is not graph:
                    break
            else:
                return graph
            graph = made

    return settled


def unwatched(name: str, before: Graph | None, after: Graph | None) -> None:
    """Nobody looks on."""


def passed(name: str, before: Graph, after: Graph, watch: Watch) -> Graph:
    """What a pass has made, looked at, and verified where the environment asks for it.

    Raises:
        IllegalGraph: names the pass.
    """
    if os.environ.get(VERIFY):
        verify(after, name, folded=name not in _EARLY)
    watch(name, before, after)
    return after


def run_passes(graph: Graph, passes: Sequence[Pass], watch: Watch = unwatched) -> Graph:
    """What the passes make of a graph, one after the other.

    Args:
        watch: called behind each pass.
    """
    for each in passes:
        graph = passed(each.name, graph, each.rewrite(graph), watch)
    return graph


FOLDING = (
    Pass("stored_order", stored_order),  # f(x[order]) -> f(x)[order]
    Pass("whole_tensors", whole_tensors),  # f(x[part]) -> f(x)[part]
    Pass("settle_rounding", settle_rounding),  # round(x) -> x where x is a multiple already
    Pass("fold_self_products", fold_self_products),  # x * f(x) -> g(x)
    Pass("join_functions", join_functions),  # f(x) + g(x) -> h(x)
    Pass("split_bands", split_bands),  # g[band] W x -> one for each band of rows
    Pass("fold_back or split_by_use", until_settled(fold_back, split_by_use)),  # f(W x) -> fW x
    Pass("settle_rounding", settle_rounding),  # what a sum's rounding has left to round
    Pass("fold_forward", fold_forward),  # W (g x + o) -> (W g) x + W o
    Pass("make_depthwise", make_depthwise),  # what is left of g x + o, of clamps and functions
    Pass("join_products", join_products),  # a b, c d, their sum -> a b + c d
    Pass("clear_idle_weights", clear_idle_weights),  # W[c] -> 0 where x[c] is padding
    Pass("merge_repeats", merge_repeats),  # V x + W x -> (V + W) x
    Pass("shape_input", shape_input),  # the frame as its first reader takes it
    Pass("own_output", own_output),  # the result alone, read by nobody
    Pass("drop_dead", drop_dead),  # what nothing reads
)

_EARLY = {"capture", *(each.name for each in FOLDING[:-1])}  # their graphs are not folded yet

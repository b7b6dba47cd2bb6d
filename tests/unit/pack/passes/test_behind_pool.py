# SPDX-License-Identifier: Apache-2.0
"""pool(g x + o) -> g pool(x) + o."""

import numpy as np
import pytest
from graphs import Made, kinds, same

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.ops import AvgPool, MaxPool
from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.behind_pool import behind_pool

GAINS, OFFSETS = [[[2.0]], [[3.0]]], [[[10.0]], [[100.0]]]


def moved(kind, gains=GAINS, offsets=OFFSETS, **fields):
    """Whether a scale goes behind a pool of 2x2, and the graph then."""
    made = Made(2, 2, 2)
    y = made.scale("norm", made.x, gains, offsets)
    graph = made.graph(made.pool(kind, "pool", y, **fields))
    draft = Draft(graph)
    done = behind_pool(draft, draft.ops[0])
    assert (draft.done() is graph) == (not done)
    return done, draft.done()


@pytest.mark.parametrize("kind", [MaxPool, AvgPool])
def test_a_scale_goes_behind_a_pool(kind):
    done, graph = moved(kind)
    assert done and kinds(graph) == [f"pool {kind.__name__}", "norm Scale"]
    pool, norm = graph.ops
    same(pool.view, graph.input.ids)
    same(norm.view, pool.out.ids)
    same(norm.weight, GAINS)
    same(norm.bias, OFFSETS)
    same(graph.output, norm.out.ids)


def test_a_largest_value_can_not_be_turned():
    assert not moved(MaxPool, [[[2.0]], [[-3.0]]])[0]
    assert moved(AvgPool, [[[2.0]], [[-3.0]]])[0]


def test_an_average_that_counts_padding_or_divides_by_another_number_stays():
    shape = {"padding": (1, 1, 1, 1)}  # each of four windows meets one element
    assert not moved(AvgPool, weight=np.full((1, 2, 2), 0.25), **shape)[0]
    assert moved(AvgPool, weight=np.ones((1, 2, 2)), **shape)[0]
    assert not moved(AvgPool, weight=np.full((1, 1, 1), 0.5))[0]


def test_constants_that_differ_within_a_channel_stay():
    assert not moved(MaxPool, [[[2.0, 3.0]], [[2.0, 3.0]]])[0]


def test_a_pool_with_a_clamp_stays():
    assert not moved(MaxPool, clamp=Clamp(lo=0.0))[0]


def test_what_others_read_stays():
    made = Made(2, 2, 2)
    y = made.scale("norm", made.x, GAINS)
    p = made.pool(MaxPool, "pool", y)
    q = made.pool(AvgPool, "average", y)
    draft = Draft(made.graph(made.sum("sum", p, q)))
    assert not behind_pool(draft, draft.ops[0])

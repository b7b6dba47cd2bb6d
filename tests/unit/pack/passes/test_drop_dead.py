# SPDX-License-Identifier: Apache-2.0
"""What leads to no output goes."""

from graphs import Made, kinds, rewritten

from bramcast.pack.passes.drop_dead import drop_dead


def test_a_chain_that_nothing_reads_goes_whole():
    made = Made(1)
    y = made.dense("kept", made.x, [[1.0]])
    dead = made.dense("dead", y, [[1.0]])
    z = made.dense("last", y, [[1.0]])
    made.dense("dead too", dead, [[1.0]])
    graph = made.graph(z)
    assert kinds(rewritten(drop_dead, graph)) == ["kept Dense", "last Dense"]
    assert drop_dead(graph).tensors == graph.tensors


def test_what_the_output_shows_beside_others_stays():
    made = Made(1)
    y = made.dense("a", made.x, [[1.0], [1.0]])
    made.dense("b", y, [[1.0, 1.0]])
    graph = made.graph(y[:1])
    assert kinds(drop_dead(graph)) == ["a Dense"]


def test_a_graph_without_dead_ones_stays():
    made = Made(1)
    graph = made.graph(made.dense("a", made.x, [[1.0]]))
    assert drop_dead(graph) is graph

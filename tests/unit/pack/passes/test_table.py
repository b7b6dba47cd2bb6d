# SPDX-License-Identifier: Apache-2.0
"""Passes run by name, one behind the other, and fold's table of them."""

from graphs import Made, kinds

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.ops import Apply
from bramcast.pack.passes import table
from bramcast.pack.passes.fold import fold
from bramcast.pack.passes.table import FOLDING, Pass, run_passes, until_settled


def network():
    made = Made(1)
    return made.graph(made.dense("fc", made.x, [[1.0]]))


def test_passes_run_in_their_order_and_are_watched():
    graphs = [network() for _ in range(3)]
    passes = [Pass("one", lambda g: graphs[1]), Pass("two", lambda g: graphs[2])]
    seen = []
    assert run_passes(graphs[0], passes, lambda *event: seen.append(event)) is graphs[2]
    assert seen == [("one", graphs[0], graphs[1]), ("two", graphs[1], graphs[2])]


def test_rewrites_alternate_until_none_changes_anything():
    graphs = [network() for _ in range(4)]
    asked = []

    def rewrite(name, *steps):
        def made(graph):
            asked.append(name)
            at = graphs.index(graph)
            return graphs[at + 1] if at in steps else graph

        return made

    settled = until_settled(rewrite("a", 0, 2), rewrite("b", 1))
    assert settled(graphs[0]) is graphs[3]
    # 0 -a-> 1, a can't, 1 -b-> 2, from the first again: 2 -a-> 3, and then neither can
    assert "".join(asked) == "aabaab"


def test_the_folding_passes_are_called_as_their_functions():
    for each in FOLDING:
        assert all(callable(getattr(table, name)) for name in each.name.split(" or "))


def test_a_folded_graph_is_folded_to_itself():
    made = Made(2)
    y = made.dense("fc", made.x, [[1.0, 2.0]])
    y = made.scale("norm", y, 3.0)
    y = made.add(Apply, "tanh", y, activation=Activation((Function("tanh"),)))
    folded = fold(made.graph(y))
    assert kinds(folded) == ["fc Dense"]
    assert fold(folded) is folded

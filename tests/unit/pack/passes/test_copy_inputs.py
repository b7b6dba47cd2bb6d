# SPDX-License-Identifier: Apache-2.0
"""A feature beside a state is scaled to -1..1 and read several times, with a part of its weight."""

import numpy as np
import pytest
from graphs import Made, kinds, named, same

from bramcast.pack.bundle.errors import RecipeError
from bramcast.pack.graph.verify import verify
from bramcast.pack.passes.copy_inputs import copy_inputs

SAMPLES = np.array([[-7.0, 0.0, 1.0], [9.0, 2.0, -1.0]])
LARGEST = {0: 9.0, 1: 1.0, 2: 1.0}


def cell():
    """A layer over two features and the state that another layer makes of a third one."""
    made = Made(3)
    state = made.dense("state", made.x[2:], [[1]])
    both = np.concatenate([made.x[:2], state])
    return made.graph(made.dense("cell", both, [[4.0, 1.0, 0.5]], [3.0]))


def test_the_cell_reads_copies_and_computes_the_same():
    graph = cell()
    copied = copy_inputs(graph, SAMPLES, LARGEST, {"cell.input": 5}, "recipe")
    verify(copied.graph, "copy_inputs")
    assert kinds(copied.graph) == ["state Dense", "cell.input Dense", "cell Dense"]
    (scale,) = copied.copies
    assert scale is named(copied.graph, "cell.input") and len(scale.weight) == 5
    reader = copied.graph.last
    same(reader.view[:5], scale.out.ids)
    assert reader.copies.count(0) == 4 and reader.copies == (0, 0, 0, 0, 1, -1)
    x = np.array([2.5, -0.75])
    copies = scale.weight[:, :, 0, 0] @ x + scale.bias
    got = reader.weight[0, :, 0, 0] @ np.append(copies, 0.25) + reader.bias
    assert got == pytest.approx(4 * 2.5 - 0.75 + 0.5 * 0.25 + 3)


def test_weights_choose_where_nothing_is_given():
    copied = copy_inputs(cell(), SAMPLES, LARGEST)
    # Feature 0 reaches 8: 4 * 8 are ten times and more what six times the state's weight may be.
    assert copied.graph.last.copies == (*[0] * 11, 1, -1)


def test_without_a_state_nothing_is_copied():
    made = Made(2)
    graph = made.graph(made.dense("fc", made.x, [[1, 1]]))
    copied = copy_inputs(graph, SAMPLES, LARGEST)
    assert copied.graph is graph and copied.copies == ()


@pytest.mark.parametrize("given, said", [({"cell.input": 1}, "one for each"), ({"a": 9}, "no rec")])
def test_copies_that_can_not_be_are_refused(given, said):
    with pytest.raises(RecipeError, match=said):
        copy_inputs(cell(), SAMPLES, LARGEST, given, "recipe")

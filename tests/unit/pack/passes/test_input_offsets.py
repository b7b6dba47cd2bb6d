# SPDX-License-Identifier: Apache-2.0
"""Features come less a number, and the first layers' biases make up for it."""

import numpy as np
import pytest
from graphs import Made, rewritten, same

from bramcast.pack.bundle.errors import RecipeError
from bramcast.pack.passes.input_offsets import drift, find_obstacle, offset_input

SAMPLES = np.array([[300.0, 1.0], [301.0, -1.0], [299.0, 0.5]])


def one_layer():
    made = Made(2)
    return made.graph(made.dense("fc", made.x, [[2, 3]], [1]))


def moved(graph, wanted):
    return offset_input(graph, wanted, SAMPLES, "recipe.toml")


@pytest.mark.parametrize("wanted", ["auto", [300.0, 0.0]])
def test_the_bias_takes_what_the_features_lack(wanted):
    made = rewritten(lambda graph: moved(graph, wanted), one_layer())
    same(made.input_offsets, [300, 0])
    same(made.last.bias, [1 + 2 * 300])
    same(made.framed(SAMPLES), [[0, 1], [1, -1], [-1, 0.5]])


def test_one_number_is_for_all():
    same(moved(one_layer(), 2.0).last.bias, [1 + 2 * 2 + 3 * 2])


def test_offsets_of_zero_change_nothing():
    graph = one_layer()
    assert moved(graph, 0.0) is graph


def test_what_has_no_bias_is_an_obstacle():
    made = Made(2)
    graph = made.graph(made.sum("twice", made.x, made.x))
    obstacle = find_obstacle(graph, np.array([300.0, 0.0]))
    assert (obstacle.op.name, obstacle.features, obstacle.pads) == ("twice", (0,), False)
    assert drift(graph, SAMPLES).able.tolist() == [0.0, 0.0]
    with pytest.raises(RecipeError, match="layer 'twice'"):
        moved(graph, [300.0, 0.0])

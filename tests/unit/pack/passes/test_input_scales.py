# SPDX-License-Identifier: Apache-2.0
"""Features come multiplied by powers of two, and the first layers divide their weights."""

import numpy as np
import pytest
from graphs import Made, rewritten, same

from bramcast.pack.bundle.errors import RecipeError
from bramcast.pack.passes.input_scales import scale_input, shared_features

SAMPLES = np.array([[16.0, 1.0], [-8.0, 0.5]])


def one_layer():
    made = Made(2)
    return made.graph(made.dense("fc", made.x, [[1, 8]], [2]))


def scaled(graph, wanted):
    return scale_input(graph, wanted, SAMPLES, "recipe.toml")


def test_exponents_bring_features_up_to_the_largest():
    made = rewritten(lambda graph: scaled(graph, "auto"), one_layer())
    same(made.input_exponents, [0, 4])
    same(made.last.weight.ravel(), [1, 0.5])
    same(made.framed(SAMPLES), [[16, 16], [-8, 8]])


def test_exponents_of_zero_change_nothing():
    graph = one_layer()
    assert scaled(graph, [0, 0]) is graph


@pytest.mark.parametrize("wanted", [[1], [1, 2, 3]])
def test_another_number_of_features_is_refused(wanted):
    with pytest.raises(RecipeError, match="the network has 2 input features"):
        scaled(one_layer(), wanted)


def test_a_sum_has_no_weights_for_each_feature():
    made = Made(2)
    with pytest.raises(RecipeError, match="layer 'twice'"):
        scaled(made.graph(made.sum("twice", made.x, made.x)), "auto")


def test_features_that_share_weights_are_one_group():
    made = Made(4)
    steps = [made.dense(name, made.x[n : n + 2], [[1, 2]]) for name, n in (("a", 0), ("b", 2))]
    assert shared_features(made.graph(made.sum("sum", *steps))) == [[0, 2], [1, 3]]

# SPDX-License-Identifier: Apache-2.0
"""Which layers the same descriptors compute."""

from bramcast.pack.bundle.program import Input, Loop, Nest
from bramcast.pack.bundle.time_steps import same_descriptors, title

NEST = Nest((1,) * 6, 0, (0,) * 6, 0, (0,) * 6, 0, (0,) * 3, 0, 1, 0, 0, 1)
FRAME = Input(1, 1, 0)


def test_layers_of_a_loop_are_grouped_by_their_descriptors():
    # Descriptors 0 frame, 1 nest, 2 loop of 3 x (3, 4, 5), 6 nest. In each round 3 and 4 are one
    # layer, 5 another.
    program = [FRAME, NEST, Loop(3, 3), NEST, NEST, NEST, NEST]
    layer_of = [0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7]
    assert same_descriptors(program, layer_of) == {
        (1,): [0], (3, 4): [1, 3, 5], (5,): [2, 4, 6], (6,): [7]
    }  # fmt: skip


def test_a_layer_of_all_rounds_is_one_by_itself():
    program = [FRAME, Loop(2, 1), NEST]
    assert same_descriptors(program, [0, 0]) == {(2, 2): [0]}


def test_a_title_counts_steps_where_there_are_some():
    assert (title("h", 1), title("h", 2)) == ("h", "h x 2")

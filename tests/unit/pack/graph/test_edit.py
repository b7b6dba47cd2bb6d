# SPDX-License-Identifier: Apache-2.0
"""Operations that rewrites put in do what they replace."""

import numpy as np
from graphs import Made, same

from bramcast.pack.graph.edit import without_repeats


def test_weights_of_equal_channels_are_added_in_the_order_of_the_first():
    made = Made(3)
    made.dense("fc", made.x[[2, 0, 2, 1, 2]], [[1, 2, 4, 8, 16], [3, 5, 7, 11, 13]])
    found = without_repeats(made.draft.ops[0])
    same(found.view, made.x[[2, 0, 1]])
    same(found.weight[:, :, 0, 0], [[21.0, 2.0, 8.0], [23.0, 5.0, 11.0]])


def test_groups_that_read_one_channel_are_joined_with_zeros_between():
    made = Made(3)
    made.dense("fc", made.x[[0, 1, 1, 2]], [[1, 2], [3, 4]], groups=2)
    found = without_repeats(made.draft.ops[0])
    assert found.groups == 1
    same(found.view, made.x)
    same(found.weight[:, :, 0, 0], [[1.0, 2.0, 0.0], [0.0, 3.0, 4.0]])


def test_what_reads_each_channel_once_stays():
    made = Made(3)
    made.dense("fc", made.x[[2, 0, 1]], np.ones((1, 3)))
    assert without_repeats(made.draft.ops[0]) is made.draft.ops[0]

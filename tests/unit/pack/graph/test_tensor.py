# SPDX-License-Identifier: Apache-2.0
"""Numbers of elements and views of them."""

import numpy as np
from graphs import same

from bramcast.pack.graph.tensor import ZERO, Tensor, is_whole, seen_through, strip_zeros

FRAME = Tensor(0, "input", 2, 2, 3, 0)
OTHER = Tensor(1, "other", 1, 2, 2, 12)


def test_numbers_run_through_rows_then_columns_behind_the_tensor_before():
    assert (FRAME.elements, FRAME.end, OTHER.end) == (12, 12, 16)
    same(FRAME.ids, [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]])
    same(OTHER.ids, [[[12, 13], [14, 15]]])


def test_a_tensor_knows_its_own_elements():
    view = np.array([ZERO, 0, 11, 12, 15, 16])
    same(FRAME.mine(view), [False, True, True, False, False, False])
    same(OTHER.mine(view), [False, False, False, True, True, False])


def test_a_view_is_seen_through_what_takes_the_tensors_place():
    view = np.array([[[15, ZERO], [3, 12]]])
    seen = seen_through(view, OTHER, np.array([[[20, 21], [ZERO, 23]]]))
    same(seen, [[[23, ZERO], [3, 20]]])
    same(view, [[[15, ZERO], [3, 12]]])  # is no other
    of_the_other = FRAME.ids
    assert seen_through(of_the_other, OTHER, OTHER.ids + 5) is of_the_other


def test_a_whole_tensor_is_each_element_once_in_any_order():
    assert is_whole(OTHER.ids, OTHER)
    assert is_whole(np.array([15, 12, 14, 13]), OTHER)
    assert not is_whole(np.array([12, 13, 14]), OTHER)
    assert not is_whole(np.array([12, 13, 14, 14]), OTHER)
    assert not is_whole(np.array([12, 13, 14, ZERO]), OTHER)
    assert not is_whole(np.array([13, 14, 15, 16]), OTHER)
    assert not is_whole(FRAME.ids.ravel()[:4], OTHER)


def test_a_border_of_zeros_is_cut_off_on_each_side_by_itself():
    view = np.full((2, 6, 7), ZERO)
    view[0, 1:3, 2:5] = FRAME.ids[0]
    view[1, 2, 3] = 9  # the same border for all channels; zeros within it stay
    inner, border = strip_zeros(view)
    assert border == (1, 2, 3, 2)
    same(inner, [[[0, 1, 2], [3, 4, 5]], [[ZERO] * 3, [ZERO, 9, ZERO]]])


def test_a_view_of_nothing_but_zeros_and_one_without_any_stay():
    for view in (np.full((1, 2, 2), ZERO), FRAME.ids):
        inner, border = strip_zeros(view)
        assert border == (0, 0, 0, 0)
        same(inner, view)

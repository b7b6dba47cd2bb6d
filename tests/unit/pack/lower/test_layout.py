# SPDX-License-Identifier: Apache-2.0
"""Layouts that take copies: each operation gets the few that it needs, and no more."""

import numpy as np
import pytest
from graphs import Made, named

from bramcast.pack.graph.edit import copy_op, gather_op
from bramcast.pack.graph.ops import Add, Product, is_exact
from bramcast.pack.lower.beside import Unfit
from bramcast.pack.lower.layout import _settled, make_layout


@pytest.mark.parametrize("kind", [Add, Product])
@pytest.mark.parametrize("lanes, taps", [(4, 1), (16, 1), (4, 4)])
@pytest.mark.parametrize("swapped", [False, True])
def test_two_copies_of_which_one_lies_in_wider_pixels(kind, lanes, taps, swapped):
    """The picture lies beside the result, as both are one later: that one is copied, once."""
    made = Made(3, 4, 6)
    a = made.dense("a", made.x, np.ones((12, 3)))
    picture = gather_op(made.draft, a[:, ::-1, ::-1], "picture", "here")
    b = made.dense("b", made.x, np.ones((12, 3)))
    own = copy_op(made.draft, b, "own", "here")
    made.draft.ops += [picture, own]
    views = picture.out.ids, own.out.ids
    fields = {"weight": np.ones(2)} if kind is Add else {}
    y = made.add(kind, "y", *views[:: -1 if swapped else 1], **fields)
    both = made.dense("both", np.concatenate([y, picture.out.ids]), np.ones((5, 24)))
    graph = made.graph(both)
    laid = make_layout(graph, lanes, taps).graph
    new = [op.name for op in laid.ops if is_exact(op) and op not in graph.ops]
    assert new == ["y.copy1"]
    assert {t.name for v in named(laid, "y").views for t in laid.owners(v)} == {"own", "y.copy1"}


@pytest.mark.parametrize("lanes, taps", [(4, 1), (16, 1), (4, 4)])
def test_a_sum_with_a_copied_pixel_that_stands_for_all(lanes, taps):
    """Copying the other one does not help, however often."""
    made = Made(3, 4, 6)
    a = made.dense("a", made.x, np.ones((12, 3)))
    pixel = gather_op(made.draft, a[::-1, :1, :1], "pixel", "here")
    made.draft.ops.append(pixel)
    y = made.sum("y", a, np.broadcast_to(pixel.out.ids, a.shape).copy())
    graph = made.graph(y)
    laid = make_layout(graph, lanes, taps).graph
    new = [op.name for op in laid.ops if is_exact(op) and op not in graph.ops]
    assert new == ["y.copy1"]


@pytest.mark.parametrize("width", [16, 20])
@pytest.mark.parametrize("lanes, taps", [(8, 1), (16, 1), (16, 2)])
def test_a_sum_of_what_is_no_row_of_pixels_side_by_side(width, lanes, taps):
    """The frame's pixels and a copy's lie apart, and so must the sum's: it moves no lane."""
    made = Made(1, 1, width)
    turned = gather_op(made.draft, made.x[:, :, ::-1], "turned", "here")
    made.draft.ops.append(turned)
    y = made.sum("y", made.x, turned.out.ids)
    graph = made.graph(made.dense("z", y, np.ones((1, 1, 1, 2))))
    with pytest.raises(Unfit):
        _settled(graph, (lanes, taps, 1, False), {named(graph, "y").out.index: 8}, frozenset())

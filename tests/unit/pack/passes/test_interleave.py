# SPDX-License-Identifier: Apache-2.0
"""A picture whose pixels belong to several channels in turn becomes one tensor for each place."""

import numpy as np
from graphs import Made, kinds, named, rewritten, same

from bramcast.pack.passes.interleave import interleave, interleaving_of


def shuffled(view):
    """[4, H, W] as one picture [1, 2 H, 2 W]: channel 2 y + x is the pixels at (y, x)."""
    channels, height, width = view.shape
    assert channels == 4
    return view.reshape(2, 2, height, width).transpose(2, 0, 3, 1).reshape(1, 2 * height, 2 * width)


def test_a_layer_becomes_one_for_each_row_of_places():
    made = Made(1, 2, 2)
    up = made.dense("up", made.x, [[1], [2], [3], [4]], [5, 6, 7, 8])
    graph = made.graph(made.dense("read", shuffled(up), np.ones((1, 1, 3, 3))))
    woven = rewritten(interleave, graph)
    assert kinds(woven) == ["up.phase1 Dense", "up.phase2 Dense", "read Dense"]
    assert [(op.weight.ravel().tolist(), op.bias.tolist()) for op in woven.ops[:2]] == [
        ([1, 2], [5, 6]), ([3, 4], [7, 8]),
    ]  # fmt: skip
    found = interleaving_of(woven, woven.last.view)
    assert found.steps == (2, 2) and found.across == 2
    assert found.tensors == tuple(op.out.index for op in woven.ops[:2])


def test_places_of_one_row_are_put_in_order():
    made = Made(1, 2, 2)
    up = made.dense("up", made.x, [[1], [2], [3], [4]], [5, 6, 7, 8])
    row = up.reshape(2, 2, 2, 2).transpose(0, 2, 3, 1).reshape(2, 2, 4)
    graph = made.graph(made.dense("read", row, np.ones((1, 2, 1, 3))))
    woven = rewritten(interleave, graph)
    assert kinds(woven) == ["up.phase1 Dense", "read Dense"]
    assert woven.ops[0].bias.tolist() == [5, 7, 6, 8]  # place 0 of both channels, then place 1
    assert interleaving_of(woven, woven.last.view).across == 2
    assert interleave(woven) is woven


def test_repeated_pixels_become_copies_before_the_first_reader():
    made = Made(1, 2, 2)
    low = made.dense("low", made.x, [[1]])
    high = low.repeat(2, axis=1).repeat(2, axis=2)
    first = made.dense("first", high, [[1]])
    second = made.dense("second", high, [[2]])
    woven = rewritten(interleave, made.graph(made.sum("sum", first, second)))
    copies = [f"first.phase{n} Depthwise" for n in (1, 2, 3, 4)]
    assert kinds(woven) == ["low Dense", *copies, "first Dense", "second Dense", "sum Add"]
    same(named(woven, "second").view, named(woven, "first").view)
    assert interleaving_of(woven, named(woven, "first").view).steps == (2, 2)


def test_what_reads_lane_by_lane_gets_a_picture():
    made = Made(1, 2, 2)
    up = made.dense("up", made.x, [[1], [2], [3], [4]])
    graph = made.graph(made.sum("sum", shuffled(up), shuffled(up)))
    woven = rewritten(interleave, graph)
    assert kinds(woven)[-2:] == ["sum.picture Dense", "sum Add"]
    picture = named(woven, "sum.picture").out.ids
    same(woven.last.views, [picture, picture])


def test_an_output_that_is_woven_is_copied():
    made = Made(1, 2, 2)
    graph = made.graph(shuffled(made.dense("up", made.x, [[1], [2], [3], [4]])))
    woven = rewritten(interleave, graph)
    assert kinds(woven)[-1] == "output Dense" and woven.output.shape == (1, 4, 4)
    same(woven.output, woven.last.out.ids)


def test_plain_pictures_stay():
    made = Made(1, 4, 4)
    graph = made.graph(made.dense("conv", made.x, np.ones((2, 1, 3, 3))))
    assert interleave(graph) is graph

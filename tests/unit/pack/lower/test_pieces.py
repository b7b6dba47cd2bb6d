# SPDX-License-Identifier: Apache-2.0
"""Copies in any order: each element of the view is read once, where it lies."""

import numpy as np
import pytest
from graphs import Made

from bramcast.pack.graph.edit import gather_op, rearrange, shown_by
from bramcast.pack.graph.ops import Rearranged
from bramcast.pack.graph.tensor import ZERO
from bramcast.pack.lower.layout import make_layout
from bramcast.pack.lower.pieces import pieces_of

VIEWS = {
    "rolled": lambda y: np.roll(y, (2, 3), (1, 2)),
    "random": lambda y: np.random.default_rng(0).permutation(y.ravel()).reshape(y.shape),
    "repeated": lambda y: y[:, [0, 0, 1, 3], :][:, :, [2, 2, 1]],
    "zeros": lambda y: np.where(np.indices(y.shape).sum(axis=0) % 3 == 0, ZERO, y),
    "zeros in a column": lambda y: np.where(np.arange(y.shape[2]) == 1, ZERO, y[:, ::-1]),
    "reshaped": lambda y: y.reshape(y.shape[0], y.shape[2], y.shape[1]),
    "halves": lambda y: np.concatenate([y[:, :, 3:], y[:, :, :2]], axis=2),
}


def copied(*views, by_channel=False):
    """A layer's results, which views of 5 x 4 x 6 elements show beside each other, copied."""
    made = Made(5, 4, 6)
    y = made.dense("conv", made.x, np.ones((5, 5)))
    z = made.dense("other", made.x, np.ones((5, 5)))
    view = np.concatenate([show(y, z) for show in views])
    copy = gather_op(made.draft, view, "copy", "here")
    made.draft.ops.append(copy)
    assert (shown_by(copy) == view).all()
    made.draft.ops.append(gather_op(made.draft, copy.out.ids, "last", "here"))
    rearrange(made.draft, copy, view, by_channel)
    return made.graph(made.draft.ops[-1].out.ids), view


def addresses(graph, layout, op):
    """What each element of a copy's result comes from: element offsets, [C, H, W], zeros -1."""
    found = np.full(op.view.shape, -2)
    for piece in pieces_of(graph, layout, op):
        walk, taps = piece.walk, layout.taps
        _, oy, ox, *inner = walk.counts
        _, move_y, move_x, *steps = walk.steps
        assert not any(n % taps for n in (walk.base, move_y, move_x, *steps)), "whole blocks"
        pixels = walk.base + np.add.outer(np.arange(oy) * move_y, np.arange(ox) * move_x)
        blocks = np.zeros(1, np.int64)
        for count, step in zip(inner, steps, strict=True):
            blocks = np.add.outer(blocks, np.arange(count) * step).ravel()
        y = walk.origin[0] + np.arange(oy) * walk.stride[0]
        x = walk.origin[1] + np.arange(ox) * walk.stride[1]
        for channel, slot in zip(piece.channels, piece.slots, strict=True):
            assert (found[channel][np.ix_(y, x)] == -2).all(), "two nests make one element"
            element = np.full_like(pixels, -1)
            if slot >= 0:
                element = pixels + blocks[slot // taps] + slot % taps
            found[channel][np.ix_(y, x)] = element
    return found


def lies(graph, layout, view):
    """Where each element of a view of one tensor lies, -1 for zeros."""
    tensor = graph.owners(view)[0]
    place = layout.placements[tensor.index]
    numbers = np.where(view == ZERO, tensor.first, view) - tensor.first
    channel, pixel = np.divmod(numbers, tensor.height * tensor.width)
    return np.where(view == ZERO, -1, place.pixels(pixel) + place.position[channel])


def copies_of(graph):
    return [op for op in graph.ops if isinstance(op, Rearranged)]


@pytest.mark.parametrize("lanes, taps", [(16, 1), (4, 4), (2, 8), (1, 1), (64, 4)])
@pytest.mark.parametrize("name", VIEWS)
def test_every_element_comes_from_where_it_lies(name, lanes, taps):
    graph, view = copied(lambda y, z: VIEWS[name](y))
    laid = make_layout(graph, lanes, taps)
    for op in copies_of(laid.graph):
        assert (
            addresses(laid.graph, laid.layout, op) == lies(laid.graph, laid.layout, op.view)
        ).all()
    assert sum(op.view.size for op in copies_of(laid.graph)) == view.size


def test_what_lies_alike_is_one_nest():
    graph, _ = copied(lambda y, z: np.roll(y, 1, 2))
    laid = make_layout(graph, 16, 1)
    assert [len(pieces_of(laid.graph, laid.layout, op)) for op in copies_of(laid.graph)] == [2]


def test_each_pixel_of_a_copy_is_of_one_tensor():
    graph, view = copied(
        lambda y, z: y[:2],  # one tensor
        lambda y, z: np.concatenate([y[2:4, :, :3], z[2:4, :, 3:]], axis=2),  # two, side by side
        lambda y, z: z[4:],
        lambda y, z: np.concatenate([z[:1, :, :3], y[:1, :, 3:]], axis=2),  # the other way round
    )
    shapes = [op.view.shape for op in copies_of(graph)]
    assert shapes == [(2, 4, 6), (1, 4, 6), (1, 4, 6), (1, 4, 6), (1, 4, 6)]
    made = {op.out.index: op.view for op in copies_of(graph)}
    last = graph.ops[-1]
    seen = [made[graph.owners(row)[0].index] for row in last.view]
    assert [[v.tolist()] for v in seen[:2]] == [[view[:2].tolist()]] * 2
    assert (np.concatenate(seen[2:]) == view[2:]).all()


def test_by_channel_each_is_a_copy():
    graph, view = copied(lambda y, z: y, by_channel=True)
    assert [op.view.tolist() for op in copies_of(graph)] == [row[None].tolist() for row in view]

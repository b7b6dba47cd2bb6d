# SPDX-License-Identifier: Apache-2.0
"""How nests read: every result's taps, walked one by one, meet the weights that they must."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from graphs import Made, named, same

from bramcast.pack.graph.ops import Dense
from bramcast.pack.graph.tensor import ZERO
from bramcast.pack.graph.window import Window
from bramcast.pack.lower.dense import dense_walks
from bramcast.pack.lower.walks import (
    Layout,
    Placement,
    Walk,
    element_offsets,
    groups_per_nest,
    nest_inputs,
    progression,
    read_view,
    round_up,
)


def laid_out(graph, lanes, taps, by_row=False):
    """The input pixel by pixel or row by row, results behind it; all in buffer 0."""
    layout, at = Layout(lanes, taps), 0
    layout.buffer_elements = [0]
    for tensor in graph.tensors:
        unit, rows = layout.unit, by_row and tensor is graph.input
        pitch = tensor.channels if rows else round_up(tensor.channels, unit)
        row_pitch = round_up(pitch * tensor.width, unit if rows else pitch)
        runs = tensor.height * (1 if rows else tensor.width)
        span = row_pitch if rows else pitch
        layout.placements[tensor.index] = Placement(
            0, at, pitch, row_pitch, tensor.width, np.arange(tensor.channels), runs, span
        )
        layout.born[tensor.index] = tensor.index - 1
        at += round_up(row_pitch * tensor.height, layout.word)
    layout.buffer_elements[0] = at
    return layout


def met(op, walks, inputs, taps):
    """{(oy, ox): {(channel, ky, kx): address}} of every weight of every result, one by one."""
    found = {}
    for dense in walks:
        walk, c = dense.walk, SimpleNamespace(**dense.walk.coordinates)
        for oy, ox in np.ndindex(*walk.counts[1:3]):
            mine = found.setdefault(
                (walk.origin[0] + oy * walk.stride[0], walk.origin[1] + ox * walk.stride[1]), {}
            )
            assert not mine, "two nests make one result"
            for tap, (ky, kx, ci) in enumerate(np.ndindex(*walk.counts[3:])):
                if walk.coordinates:
                    y = c.y_start + oy * c.y_step_oy + ky * c.y_step_ky
                    x = c.x_start + ox * c.x_step_ox + kx * c.x_step_kx
                    if not (0 <= y < c.y_limit and 0 <= x < c.x_limit):
                        continue
                loops = (0, oy, ox, ky, kx, ci)
                at = walk.base + sum(i * s for i, s in zip(loops, walk.steps, strict=True))
                slots = np.broadcast_to(dense.slots, (len(dense.used), *op.window.kernel))
                for i, wy, wx in np.argwhere(slots // taps == tap):
                    if slots[i, wy, wx] >= 0:
                        key = int(dense.used[i]), int(wy), int(wx)
                        assert key not in mine
                        mine[key] = at + int(slots[i, wy, wx]) % taps
    return found


def expected(graph, layout, op, view):
    """The same from the view: where each element lies that a weight meets."""
    _, flat = element_offsets(graph, layout, view)
    lies, found = flat.reshape(view.shape), {}
    (sy, sx), (dy, dx), (top, left, _, _) = op.window.stride, op.window.dilation, op.window.padding
    for oy, ox in np.ndindex(op.out.height, op.out.width):
        mine = found[oy, ox] = {}
        for i, ky, kx in np.ndindex(len(view), *op.window.kernel):
            y, x = oy * sy + ky * dy - top, ox * sx + kx * dx - left
            if 0 <= y < view.shape[1] and 0 <= x < view.shape[2] and lies[i, y, x] >= 0:
                mine[i, ky, kx] = int(lies[i, y, x])
    return found


PADDED = {"padding": (1, 1, 1, 1)}
CASES = {
    "plain": (Window((2, 3)), False),
    "padded": (Window((3, 3), **PADDED), False),
    "strides": (Window((3, 2), (2, 1), padding=(0, 1, 1, 0)), False),
    "dilated": (Window((2, 2), (1, 1), (2, 2)), False),
    "rows": (Window((3, 3), **PADDED), True),
    "rows with strides": (Window((3, 2), (1, 2)), True),
    "rows of columns": (Window((2, 1), (1, 3), padding=(0, 1, 0, 1)), True),
    "rows with much padding": (Window((1, 5), padding=(0, 4, 0, 4)), True),
}


def convolution(channels, window, view=lambda x: x):
    made = Made(channels, 5, 6)
    seen = view(made.x)
    weight = np.ones((2, len(seen), *window.kernel))
    (ky, kx), (sy, sx), (dy, dx) = window.kernel, window.stride, window.dilation
    top, left, bottom, right = window.padding
    rows = (seen.shape[1] + top + bottom - dy * (ky - 1) - 1) // sy + 1
    columns = (seen.shape[2] + left + right - dx * (kx - 1) - 1) // sx + 1
    y = made.add(
        Dense, "conv", seen, out=(2, rows, columns), weight=weight, bias=np.zeros(2), window=window
    )
    graph = made.graph(y)
    return graph, named(graph, "conv")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("taps", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_weight_meets_its_element_once(name, taps, channels):
    window, by_row = CASES[name]
    graph, op = convolution(channels, window)
    layout = laid_out(graph, 2, taps, by_row)
    walks = dense_walks(graph, layout, op, slice(0, channels))
    got, wanted = met(op, walks, slice(0, channels), taps), expected(graph, layout, op, op.view)
    assert set(got) == set(wanted)
    for result, mine in wanted.items():
        outside = {k: a for k, a in got[result].items() if k not in mine}
        assert {k: a for k, a in got[result].items() if k in mine} == mine
        # What stands for the padding of a row is zero: the rest of the row's first or last block.
        for at in outside.values():
            lies = element_offsets(graph, layout, graph.input.ids)[1]
            assert at not in lies


@pytest.mark.parametrize("name", ["plain", "padded", "strides", "dilated"])
@pytest.mark.parametrize("taps", [1, 2, 4])
def test_parts_of_a_pixel_count_as_pixels(name, taps):
    """Four channels, room for twelve more, three channels, room for thirteen."""
    window = CASES[name][0]
    graph, op = convolution(7, window)
    layout = laid_out(graph, 16, taps)
    place = Placement(
        0, 0, 32, 32 * 6, 6, np.array([0, 1, 2, 3, 16, 17, 18]), 5 * 6, 32
    )  # fmt: skip
    layout.placements[0], layout.buffer_elements[0] = place, 32 * 5 * 6
    (walk,) = dense_walks(graph, layout, op, slice(0, 7))
    (ky, kx), apart = window.kernel, window.dilation[1]
    parted = ky * (2 * apart * (kx - 1) + 2) * -(-4 // taps)
    # With four taps each part is one block: two of them, evenly spaced, in any pixel.
    assert walk.walk.taps == (parted if taps < 4 else ky * kx * 2)
    assert met(op, [walk], slice(0, 7), taps) == expected(graph, layout, op, op.view)


@pytest.mark.parametrize("columns, taps", [(1, 2 * 4), (3, 3 * 19)])
def test_parts_that_are_not_written_yet_are_not_read(columns, taps):
    """A third part comes later: it lies between the parts that a window of three columns reads."""
    graph, op = convolution(7, Window((1, columns)))
    layout, position = laid_out(graph, 16, 1), np.array([0, 1, 2, 3, 16, 17, 18])
    layout.placements[0] = Placement(0, 0, 48, 48 * 6, 6, position, 5 * 6, 32)
    layout.buffer_elements[0] = 48 * 5 * 6
    (walk,) = dense_walks(graph, layout, op, slice(0, 7))
    assert walk.walk.taps == taps


@pytest.mark.parametrize("taps", [1, 2, 4])
def test_a_linear_layer_reads_elements_wherever_they_lie(taps):
    made = Made(3, 2, 4)
    view = made.x[:, :, ::2].reshape(-1, 1, 1)[[7, 2, 0, 11, 5]]
    graph = made.graph(made.dense("fc", view, np.ones((2, 5))))
    op, layout = named(graph, "fc"), laid_out(graph, 2, taps)
    (walk,) = dense_walks(graph, layout, op, slice(0, 5))
    got = met(op, [walk], slice(0, 5), taps)
    assert got == expected(graph, layout, op, view)


def test_offsets_of_elements_are_those_of_their_tensors():
    made = Made(2, 2, 3)
    y = made.dense("fc", made.x, [[1.0, 0.0]])
    graph = made.graph(y)
    layout = laid_out(graph, 4, 1)  # pixels of 4 elements, rows of 12; ``fc`` from 24 on
    view = np.array([made.x[1, 1, 2], ZERO, y[0, 1, 0], made.x[0, 0, 1]])
    buffer, offsets = element_offsets(graph, layout, view)
    assert buffer == 0
    same(offsets, [1 + 12 + 8, -1, 24 + 12, 4])


def test_a_view_is_walked_with_even_steps_or_not_at_all():
    made = Made(3, 4, 6)
    graph = made.graph(made.dense("fc", made.x, np.ones((1, 3))))
    layout = laid_out(graph, 4, 1)  # pixels of 4, rows of 24 elements
    view = np.full((3, 4, 3), ZERO)
    view[[0, 2], :2, 1:] = made.x[[2, 0], 1::2, 4:1:-2]
    reading = read_view(graph, layout, view)
    assert (reading.sy, reading.sx, reading.height, reading.width) == (48, -8, 2, 2)
    same(reading.offsets, [24 + 16 + 2, -1, 24 + 16])
    assert reading.border == (0, 1, 2, 0)
    for channel in (0, 1):
        torn = made.x.copy()
        torn[channel, 0, 0] = made.x[channel, 1, 1]
        assert read_view(graph, layout, torn) is None


def test_rows_as_channels_are_walked_over_columns():
    made = Made(1, 3, 5)
    graph = made.graph(made.dense("fc", made.x, [[1.0]]))
    layout = laid_out(graph, 2, 1)
    reading = read_view(graph, layout, made.x[0][:, None, :])  # [rows, 1, columns]
    assert (reading.sy, reading.sx) == (0, 2)
    same(reading.offsets, [0, 10, 20])


def test_a_cut_walk_makes_the_same_results_of_a_part():
    coordinates = {
        "y_start": -1, "y_limit": 9, "y_step_oy": 3, "y_step_ky": 1,
        "x_start": 2, "x_limit": 9, "x_step_ox": 1, "x_step_kx": 1,
    }  # fmt: skip
    walk = Walk(0, 100, (1, 4, 5, 1, 1, 1), (0, 50, 7, 0, 0, 0), coordinates, (1, 0), (2, 3))

    def results(part):
        c = part.coordinates
        return {
            (part.origin[0] + oy * part.stride[0], part.origin[1] + ox * part.stride[1]): (
                part.base + oy * part.steps[1] + ox * part.steps[2],
                c["y_start"] + oy * c["y_step_oy"],
                c["x_start"] + ox * c["x_step_ox"],
            )
            for oy, ox in np.ndindex(*part.counts[1:3])
        }

    whole = results(walk)  # rows 1 3 5 7, columns 0 3 6 9 12
    for rows, columns in itertools.product([(0, 9), (2, 6), (3, 4), (4, 5)], [(0, 13), (1, 7)]):
        wanted = {
            at: what
            for at, what in whole.items()
            if rows[0] <= at[0] < rows[1] and columns[0] <= at[1] < columns[1]
        }
        part = walk.cut(rows, columns)
        assert ({} if part is None else results(part)) == wanted


def test_progressions_and_groups():
    assert progression(np.array([9])) == (9, 1, 1)
    assert progression(np.array([12, 4, 20, 4])) == (4, 8, 3)
    assert progression(np.array([-3, 3])) == (-3, 6, 2)
    made = Made(6)
    made.dense("groups", made.x, np.ones((12, 1)), groups=6)
    made.dense("wide", made.x, np.ones((16, 3)), groups=2)
    made.dense("one", made.x, np.ones((3, 6)))
    groups, wide, one = made.draft.ops
    # 2 outputs in each group: 4 lanes take two of them side by side, 16 all six.
    assert [groups_per_nest(groups, lanes) for lanes in (1, 4, 5, 16)] == [1, 2, 2, 6]
    assert nest_inputs(groups, 8) == [slice(0, 4), slice(4, 6)]
    assert nest_inputs(wide, 8) == [slice(0, 3), slice(3, 6)]
    assert nest_inputs(one, 16) == [slice(0, 6)]

# SPDX-License-Identifier: Apache-2.0
"""Operations on arrays, in real numbers and in integers, against plain loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from graphs import Made, named

from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.graph import LeftOut
from bramcast.pack.graph.ops import AvgPool, Dense, Depthwise, MaxPool, Product
from bramcast.pack.graph.tensor import ZERO
from bramcast.pack.graph.window import Clamp, Window
from bramcast.pack.quantize.op import QuantizedOp
from bramcast.pack.run import execute

WINDOW = Window((2, 3), (2, 1), (1, 1), (1, 0, 0, 2))


def windows(x, window, fill):
    """{(oy, ox): [C, KY, KX]} of a picture [C, H, W]."""
    top, left, bottom, right = window.padding
    x = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=fill)
    (ky, kx), (sy, sx) = window.kernel, window.stride
    rows, columns = (x.shape[1] - ky) // sy + 1, (x.shape[2] - kx) // sx + 1
    return {
        (y, c): x[:, y * sy : y * sy + ky, c * sx : c * sx + kx]
        for y in range(rows)
        for c in range(columns)
    }


def by_loops(kind, x, weight, window):
    """Sums and maxima of one picture by the definition, [O, OY, OX]."""
    seen = windows(x, window, -np.inf if kind is MaxPool else 0.0)
    rows, columns = (n + 1 for n in max(seen))
    made = {
        MaxPool: lambda part, at: part.max(axis=(1, 2)),
        AvgPool: lambda part, at: part.sum(axis=(1, 2)) * weight[0, at[0], at[1]],
        Dense: lambda part, at: (weight * part).sum(axis=(1, 2, 3)),
        Depthwise: lambda part, at: (
            weight[:, 0] * part.repeat(len(weight) // len(part), axis=0)
        ).sum(axis=(1, 2)),
    }[kind]
    values = np.array([made(part, at) for at, part in seen.items()])
    return values.T.reshape(-1, rows, columns)


WEIGHTS = {Dense: (3, 2, 2, 3), Depthwise: (4, 1, 2, 3), AvgPool: (1, 2, 6), MaxPool: (0,)}


def operation(kind, **fields):
    """One operation of integers on 2 channels of 4x6, with its weights."""
    made, rng = Made(2, 4, 6), np.random.default_rng(3)
    weight = rng.integers(-9, 10, WEIGHTS[kind]).astype(float)
    outputs = {Dense: 3, Depthwise: 4}.get(kind, 2)
    if kind is not MaxPool:
        fields["weight"] = weight
    if kind in (Dense, Depthwise):
        fields["bias"] = rng.integers(-20, 20, outputs).astype(float)
    made.add(kind, "op", made.x, out=(outputs, 2, 6), window=WINDOW, **fields)
    return made.draft.ops[0], weight


PICTURES = np.random.default_rng(4).integers(-50, 50, (2, 2, 4, 6)).astype(float)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_real_sums_and_maxima_of_windows(kind):
    op, weight = operation(kind, clamp=Clamp(-300.0, 400.0))
    got = execute.real_compute(op, [torch.from_numpy(PICTURES)]).numpy()
    for mine, picture in zip(got, PICTURES, strict=True):
        expected = by_loops(kind, picture, weight, WINDOW)
        if kind in (Dense, Depthwise):
            expected += op.bias[:, None, None]
        np.testing.assert_array_equal(mine, np.clip(expected, -300.0, 400.0))


def test_the_padding_has_no_part_of_a_taps_bias():
    made = Made(1, 3, 3)
    window = Window((3, 1), padding=(1, 0, 1, 0))
    taps = np.array([[[100.0], [10.0], [1.0]]])
    made.add(
        Dense, "op", made.x, out=(1, 3, 3), weight=np.ones((1, 1, 3, 1)), bias=np.array([1000.0]),
        tap_bias=taps, window=window,
    )  # fmt: skip
    got = execute.real_compute(made.draft.ops[0], [torch.zeros(1, 1, 3, 3).double()])
    assert got[0, 0, :, 0].tolist() == [1011.0, 1111.0, 1110.0]


def test_results_are_rounded_with_ties_up_before_they_are_clamped():
    made = Made(1)
    made.dense("op", made.x, [[0.25]], rounds=1, clamp=Clamp(hi=1.0))
    x = torch.tensor([-1.0, 1.0, 3.0, 9.0]).double().reshape(4, 1, 1, 1)  # -1/4, 1/4, 3/4, 9/4
    got = execute.real_compute(made.draft.ops[0], [x])
    assert got.ravel().tolist() == [0.0, 0.5, 1.0, 1.0]


def test_sums_and_products_of_operands():
    made = Made(1, 1, 2)
    made.sum("sum", made.x, made.x, (1.0, -2.0))
    made.product("two", made.x, made.x)
    made.add(Product, "four", made.x, made.x, made.x, made.x)
    add, two, four = made.draft.ops
    a, b, c, d = (torch.tensor(v).double().reshape(1, 1, 1, 2) for v in (
        [3.0, -4.0], [5.0, 6.0], [7.0, 8.0], [-9.0, 2.0]))  # fmt: skip
    assert execute.real_compute(add, [a, b]).ravel().tolist() == [-7.0, -16.0]
    assert execute.real_compute(two, [a, b]).ravel().tolist() == [15.0, -24.0]
    assert execute.real_compute(four, [a, b, c, d]).ravel().tolist() == [-48.0, -8.0]


def quantized(op, weight, **fields):
    rng = np.random.default_rng(5)
    outputs = op.out.channels
    defaults = {
        "weight": weight.astype(np.int64), "bias": rng.integers(-200, 200, outputs),
        "shift": rng.integers(0, 6, outputs), "lo": -100, "hi": 90, "out": QFormat(8, 0),
        "bound": 60_000,
    }  # fmt: skip
    return QuantizedOp(**(defaults | fields))


@pytest.mark.parametrize("bound", [60_000, 2**24, 2**30])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_integers_are_shifted_with_ties_up_and_clamped(kind, bound):
    op, weight = operation(kind)
    q = quantized(op, weight, bound=bound)
    (got,) = execute.integer_compute({"op": q})(op, [torch.from_numpy(PICTURES[:1])])
    sums = by_loops(kind, PICTURES[0], weight, WINDOW).astype(int)
    for (c, y, x), total in np.ndenumerate(sums):
        shift = int(q.shift[c])
        expected = (int(total) + int(q.bias[c]) + ((1 << shift) >> 1)) >> shift
        assert int(got[c, y, x]) == min(max(expected, -100), 90)


def test_sums_beyond_24_bits_lose_nothing():
    made = Made(2)
    made.dense("op", made.x, [[1.0, 1.0]])
    q = quantized(made.draft.ops[0], np.array([[2**15, 1]])[:, :, None, None],
                  bias=np.array([1]), shift=np.array([0]), lo=-(2**31), hi=2**31 - 1,
                  bound=2**30 + 2**15, out=QFormat(32, 0))  # fmt: skip
    x = torch.tensor([[2.0**15 - 1, 1.0]]).reshape(1, 2, 1, 1)
    (got,) = execute.integer_compute({"op": q})(made.draft.ops[0], [x]).ravel().tolist()
    assert got == (2**15 - 1) * 2**15 + 1 + 1


def test_tables_of_entries_and_of_lines():
    values = torch.tensor([-128, -1, 0, 1, 127])
    entries = torch.arange(256) * 3
    assert execute.looked_up(entries, values).tolist() == [384, 765, 0, 3, 381]
    lines = torch.zeros(256, 2, dtype=torch.int64)
    lines[0], lines[1], lines[255] = (
        torch.tensor(line) for line in ([1000, 256], [7, -3], [-5, 128])
    )
    values = torch.tensor([0, 9, 256, 256 + 42, 256 + 43, 511, -256, -255, -1])
    # -3 * 42 / 256 = -0.49 and -3 * 43 / 256 = -0.504; 128 / 256 is half: up.
    assert execute.looked_up(lines, values).tolist() == [1000, 1009, 7, 7, 6, 4, -5, -4, 123]


def test_views_take_elements_of_several_tensors_and_zeros():
    made = Made(2, 1, 2)
    y = made.scale("y", made.x, 10.0)
    graph = made.graph(y)
    store = {
        0: torch.arange(4.0).reshape(1, 2, 1, 2),
        1: torch.arange(10.0, 14).reshape(1, 2, 1, 2),
    }
    view = np.array([[[y[1, 0, 1], ZERO]], [[made.x[0, 0, 1], y[0, 0, 0]]]])
    assert execute.take(graph, store, view)[0, :, 0].tolist() == [[13.0, 0.0], [1.0, 10.0]]
    padded = np.full((2, 2, 3), ZERO)
    padded[:, 1:, :2] = made.x
    assert execute.take(graph, store, padded)[0].tolist() == [
        [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0], [2.0, 3.0, 0.0]]
    ]  # fmt: skip


def test_results_are_freed_behind_their_last_reader():
    made = Made(1)
    a = made.dense("a", made.x, [[2.0]])
    b = made.dense("b", a, [[3.0]])
    graph = made.graph(made.sum("c", a, b))
    store = {0: torch.ones(1, 1, 1, 1).double()}
    seen = [
        (step.op.name, step.result.item(), sorted(store))
        for step in execute.resume(graph, store, 0, execute.real_compute)
    ]
    assert seen == [("a", 2.0, [0, 1]), ("b", 6.0, [1, 2]), ("c", 8.0, [1, 2, 3])]
    assert sorted(store) == [3]
    stopped = {0: torch.ones(1, 1, 1, 1).double()}
    names = [s.op.name for s in execute.resume(graph, stopped, 0, execute.real_compute, 1)]
    assert names == ["a"] and sorted(stopped) == [1]


@pytest.mark.parametrize("kind", ["softmax", "log_softmax"])
def test_a_softmax_that_was_left_out_is_over_its_groups(kind):
    made = Made(4)
    graph = made.graph(made.scale("y", made.x, 1.0))
    graph = replace(graph, left_out=(LeftOut(kind, "softmax", np.array([[0, 2], [3, 1]])),))
    x = torch.tensor([[0.0, 1.0, 2.0, 3.0]]).double()
    e = np.exp([0.0, 1.0, 2.0, 3.0])
    shares = np.array([e[0] / (e[0] + e[2]), e[1] / (e[1] + e[3]), e[2] / (e[0] + e[2]),
                       e[3] / (e[1] + e[3])])  # fmt: skip
    expected = shares if kind == "softmax" else np.log(shares)
    np.testing.assert_allclose(execute.with_softmax(graph, x).numpy()[0], expected, rtol=1e-12)


def test_the_output_has_the_authors_order():
    made = Made(3)
    graph = made.graph(made.scale("y", made.x, 1.0)[[2, 0, 1]].reshape(1, 3))
    assert named(graph, "y") is graph.last
    got = execute.output_array(graph, [torch.tensor([10.0, 11.0, 12.0]).reshape(1, 3, 1, 1)])
    assert got.tolist() == [[[12.0, 10.0, 11.0]]]

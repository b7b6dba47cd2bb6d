# SPDX-License-Identifier: Apache-2.0
"""A legal graph passes; each rule, broken in it, is named with the pass and the operation."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import Made

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Add, AvgPool, Clip, Dense, Product
from bramcast.pack.graph.tensor import Tensor
from bramcast.pack.graph.verify import IllegalGraph, verify
from bramcast.pack.graph.window import Window


def legal():
    """input [2, 4, 4] -> conv 3x3, padded -> average over 2x2 -> sum with itself [3, 2, 2]."""
    frame = Tensor(0, "input", 2, 4, 4, 0)
    draft = Draft(Graph("net", (frame,), (), frame.ids, (2, 4, 4)))
    conv, pool, total = (
        draft.new_tensor(name, 3, size, size)
        for name, size in (("conv", 4), ("pool", 2), ("total", 2))
    )
    draft.ops = [
        Dense(
            name="conv", label="Conv2d", source="model.py:1", views=(frame.ids,), out=conv,
            weight=np.ones((3, 2, 3, 3)), bias=np.zeros(3), window=Window((3, 3), padding=(1,) * 4),
        ),
        AvgPool(
            name="pool", label="AvgPool2d", source="model.py:2", views=(conv.ids,), out=pool,
            weight=np.full((1, 2, 2), 0.25), window=Window((2, 2), (2, 2)),
        ),
        Add(
            name="total", label="add", source="model.py:3", views=(pool.ids, pool.ids), out=total,
            weight=np.ones(2),
        ),
    ]  # fmt: skip
    draft.output = total.ids
    return draft.done()


def changed(number, **fields):
    """The legal graph with other fields in one operation."""
    ops = list(legal().ops)
    ops[number] = replace(ops[number], **fields)
    return legal().with_ops(ops)


def with_op(number, op):
    ops = list(legal().ops)
    ops[number] = op
    return legal().with_ops(ops)


CONV, POOL, TOTAL = legal().ops


def test_a_legal_graph_is_legal():
    verify(legal(), "test", folded=True)


@pytest.mark.parametrize(
    "graph, fault",
    [
        (replace(legal(), tensors=legal().tensors[::-1]), "'total' has the number 3"),
        (
            replace(legal(), tensors=(*legal().tensors, Tensor(4, "gap", 1, 1, 1, 999))),
            "tensor 'gap' begins at element 999, not at 104",
        ),
        (legal().with_ops((POOL, CONV, TOTAL)), "'pool': reads 'conv', which is not made"),
        (legal().with_ops((CONV, CONV, POOL, TOTAL)), "makes 'conv', which is there already"),
        (changed(1, name="conv"), "2 operations are called 'conv'"),
        (changed(0, out=replace(CONV.out, channels=4)), "'conv', which is no tensor of the graph"),
        (changed(0, views=(CONV.view + 104,)), "Dense 'conv': a view shows elements of no tensor"),
        (changed(0, views=(CONV.view.astype(np.int32),)), "a view is int32 with 3 axes"),
        (changed(0, views=(CONV.view.reshape(2, 16),)), "a view is int64 with 2 axes"),
        (changed(0, weight=np.ones((3, 2, 3, 1))), "weights (3, 2, 3, 1), its view and window"),
        (changed(0, groups=2), "2 to 3 channels in 2 groups"),
        (changed(0, bias=np.zeros(2)), "a bias (2,) for 3 channels"),
        (changed(0, tap_bias=np.zeros((3, 3))), "a tap_bias (3, 3) for (3, 3, 3)"),
        (changed(0, copies=(0,)), "1 copies for 2 channels"),
        (changed(0, passed=1), "passed is 1 of 0 twins"),
        (changed(1, window=Window((2, 2))), "(3, 4, 4) gives (3, 3, 3), not (3, 2, 2)"),
        (changed(1, weight=np.ones((1, 2, 3))), "divisors (1, 2, 3) for results (3, 2, 2)"),
        (changed(1, bias=np.ones(2)), "a bias (2,) for results (3, 2, 2)"),
        (changed(2, views=(POOL.out.ids,)), "Add 'total': has 1 operands"),
        (changed(2, weight=np.ones(3)), "weights (3,) and bias (0,) of a sum of two"),
        (changed(2, views=(POOL.out.ids, CONV.out.ids)), "operands [(3, 2, 2), (3, 4, 4)]"),
        (
            with_op(2, Product(**replace(TOTAL, views=(POOL.out.ids,) * 3).common)),
            "Product 'total': has 3 operands",
        ),
        (
            with_op(2, Clip(**replace(TOTAL, views=(POOL.out.ids,)).common)),
            "Clip 'total': is no kind of a folded graph",
        ),
        (legal().with_ops((CONV, POOL)), "the output shows 'total', which nothing makes"),
        (replace(legal(), output=TOTAL.out.ids[:2]), "the output is not one whole tensor"),
        (replace(legal(), output=POOL.out.ids), "the output is not one whole tensor"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named_with_its_pass(graph, fault):
    with pytest.raises(IllegalGraph) as raised:
        verify(graph, "some pass", folded=True)
    assert str(raised.value).startswith("behind pass 'some pass': ") and fault in str(raised.value)


def test_captured_kinds_are_legal_before_the_folding():
    verify(with_op(2, Clip(**replace(TOTAL, views=(POOL.out.ids,)).common)), "capture")


def test_several_results_are_made_one_by_one_in_their_order():
    made = Made(2)
    late, first = (made.dense(name, made.x, [[1.0, 2.0]]) for name in ("late", "first"))
    verify(made.graph(late, first), "some pass", folded=True)
    with pytest.raises(IllegalGraph, match="the results are not made one by one in their order"):
        verify(made.graph(first, late), "some pass", folded=True)
    short = replace(made.graph(late, first), output=late.ravel())
    with pytest.raises(IllegalGraph, match=r"results of 2 elements in an output of shape \(1,\)"):
        verify(short, "some pass")

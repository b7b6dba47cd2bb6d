# SPDX-License-Identifier: Apache-2.0
"""Small graphs made by hand, for tests of single passes."""

import numpy as np

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph, Part
from bramcast.pack.graph.ops import Add, AvgPool, Dense, Product, Scale
from bramcast.pack.graph.tensor import Tensor
from bramcast.pack.graph.verify import verify
from bramcast.pack.graph.window import Window


class Made:
    """A graph in the making: every method adds an operation and returns its result's ids."""

    def __init__(self, channels, height=1, width=1):
        frame = Tensor(0, "input", channels, height, width, 0)
        shape = (channels, height, width)
        self.draft = Draft(Graph("net", (frame,), (), frame.ids, shape))
        self.x = frame.ids

    def add(self, kind, name, *views, out=None, **fields):
        """An operation of any kind, by default with a result of its operand's shape."""
        tensor = self.draft.new_tensor(name, *(views[0].shape if out is None else out))
        self.draft.ops.append(
            kind(name=name, label="", source="model.py:1", views=views, out=tensor, **fields)
        )
        return tensor.ids

    def dense(self, name, view, weight, bias=None, **fields):
        """A 1x1 layer of weight [O][I], or one with a window and weight [O][I][KY][KX]."""
        weight = np.array(weight, np.float64)
        if weight.ndim == 2:
            weight = weight[:, :, None, None]
        bias = np.zeros(len(weight)) if bias is None else np.array(bias, np.float64)
        window = fields.setdefault("window", Window(weight.shape[2:]))
        top, left, bottom, right = window.padding
        rows = view.shape[1] + top + bottom - window.kernel[0] + 1
        columns = view.shape[2] + left + right - window.kernel[1] + 1
        out = (len(weight), rows, columns)
        return self.add(Dense, name, view, out=out, weight=weight, bias=bias, **fields)

    def scale(self, name, view, weight, bias=0.0, **fields):
        """Factors and offsets that broadcast to the view's shape."""
        weight, bias = (
            np.broadcast_to(np.array(v, np.float64), view.shape).copy() for v in (weight, bias)
        )
        return self.add(Scale, name, view, weight=weight, bias=bias, **fields)

    def sum(self, name, left, right, weight=(1.0, 1.0)):
        return self.add(Add, name, left, right, weight=np.array(weight))

    def product(self, name, left, right):
        return self.add(Product, name, left, right)

    def pool(self, kind, name, view, padding=(0, 0, 0, 0), **fields):
        """A pool of 2x2 in steps of 2; an average divides by 4."""
        rows, columns = ((n + 2 * padding[0]) // 2 for n in view.shape[1:])
        out = (len(view), rows, columns)
        if kind is AvgPool:
            fields.setdefault("weight", np.full((1, rows, columns), 0.25))
        window = Window((2, 2), (2, 2), padding=padding)
        return self.add(kind, name, view, out=out, window=window, **fields)

    def graph(self, *outputs) -> Graph:
        """The graph with this output, or with these several, which is legal."""
        self.draft.output = outputs[0]
        if len(outputs) > 1:
            self.draft.parts = tuple(Part(f"o{i}", view.shape) for i, view in enumerate(outputs))
            self.draft.put_results(outputs)
        made = self.draft.done()
        verify(made, "the test's own hand")
        return made


def rewritten(rewrite, graph):
    """What a pass makes of a graph: another one, which is legal."""
    made = rewrite(graph)
    assert made is not graph
    verify(made, rewrite.__name__)
    return made


def kinds(graph):
    """Names and kinds of the operations in their order: ``["fc Dense"]``."""
    return [f"{op.name} {type(op).__name__}" for op in graph.ops]


def named(graph, name):
    (found,) = (op for op in graph.ops if op.name == name)
    return found


def same(array, expected):
    """Equal numbers and shapes."""
    np.testing.assert_array_equal(array, np.array(expected))
    assert np.shape(array) == np.shape(expected)

# SPDX-License-Identifier: Apache-2.0
"""Runs a Graph with torch: in real numbers for calibration, in integers as the quantized graph.

The quantized graph is one of the three executions that must agree. It works layer by layer on
[N, C, H, W] arrays and knows nothing of words, lanes or addresses. Imports torch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bramcast.pack.graph.border import Bands
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import (
    Add,
    AvgPool,
    Dense,
    MaxPool,
    Op,
    Product,
    Weighted,
    Windowed,
    biases_of,
    weights_of,
)
from bramcast.pack.graph.tensor import ZERO, IntArray, strip_zeros
from bramcast.pack.quantize.op import QuantizedOp

Compute = Callable[[Op, list[torch.Tensor]], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Executed:
    """One executed operation: its stored result [N, C, H, W]."""

    op: Op
    result: torch.Tensor


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, whatever the machine: the same images everywhere. More threads would
    not be faster on tensors as small as these.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def input_tensor(graph: Graph, samples: NDArray[np.floating]) -> torch.Tensor:
    """Samples [N, *shape] as the input frame [N, C, H, W] in the order of the stored tensor."""
    return frame_tensor(graph, graph.framed(samples))


def frame_tensor(graph: Graph, elements: NDArray[np.float64]) -> torch.Tensor:
    """Elements of the stored input [N, C * H * W] as [N, C, H, W]."""
    t = graph.input
    return torch.from_numpy(elements).reshape(len(elements), t.channels, t.height, t.width)


def run(graph: Graph, frame: torch.Tensor, compute: Compute) -> Iterator[Executed]:
    """Execute all operations in order; results are freed when nobody reads them any more."""
    return resume(graph, {graph.input.index: frame}, 0, compute)


def resume(
    graph: Graph,
    store: dict[int, torch.Tensor],
    first: int,
    compute: Compute,
    stop: int | None = None,
) -> Iterator[Executed]:
    """Execute the operations from number ``first`` on, up to the one before ``stop``.

    Args:
        store: what they read of the results before, by tensor; kept up to date, and what nobody
            reads any more is removed. The tensors themselves are not written.
    """
    last = graph.last_readers
    for number, op in enumerate(graph.ops[first:stop], first):
        operands = [take(graph, store, view) for view in op.views]
        result = compute(op, operands)
        store[op.out.index] = result
        yield Executed(op, result)
        for index in [i for i in store if last.get(i) == number]:
            del store[index]


def outputs(graph: Graph, frame: torch.Tensor, compute: Compute) -> list[torch.Tensor]:
    """Execute all operations; the results that leave, [N, C, H, W] each, in their order."""
    store = {graph.input.index: frame}
    for _ in resume(graph, store, 0, compute):
        pass
    return leaving(graph, store)


def leaving(graph: Graph, store: Mapping[int, torch.Tensor]) -> list[torch.Tensor]:
    """The results that leave, of all that were computed."""
    return [store[tensor.index] for tensor in graph.sent]


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    """How a view is read: a whole tensor within a border of zeros, or elements of some tensors.

    Attributes:
        view: kept, so that no other one has its identity.
        whole: index of the tensor.
        parts: index, its elements and their places in the view, for each tensor.
    """

    view: IntArray
    whole: int | None
    border: tuple[int, int, int, int] = (0, 0, 0, 0)
    parts: tuple[tuple[int, torch.Tensor, torch.Tensor], ...] = ()


# Every operation is executed many times; its views never change.
_TAKEN: WeakKeyDictionary[Graph, dict[int, _Taken]] = WeakKeyDictionary()


def take(graph: Graph, store: dict[int, torch.Tensor], view: IntArray) -> torch.Tensor:
    """The elements of a [C, H, W] view, [N, C, H, W]."""
    known = _TAKEN.setdefault(graph, {})
    taken = known.get(id(view))
    if taken is None:
        taken = known[id(view)] = _taken(graph, view)
    if taken.whole is not None:
        return _padded(store[taken.whole], taken.border)
    batch = next(iter(store.values())).shape[0]
    dtype = reduce(torch.promote_types, [store[index].dtype for index, _, _ in taken.parts])
    result = torch.zeros((batch, view.size), dtype=dtype)
    for index, source, mine in taken.parts:
        result[:, mine] = store[index].reshape(batch, -1)[:, source].to(dtype)
    return result.reshape(batch, *view.shape)


def _taken(graph: Graph, view: IntArray) -> _Taken:
    inner, border = strip_zeros(view)
    owners = graph.owners(inner)
    if len(owners) == 1 and np.array_equal(inner, owners[0].ids):
        return _Taken(view, owners[0].index, border)
    numbers, parts = view.ravel(), []
    for tensor in owners:
        mine = np.flatnonzero(tensor.mine(numbers))
        source = torch.from_numpy(numbers[mine] - tensor.first)
        parts.append((tensor.index, source, torch.from_numpy(mine)))
    return _Taken(view, None, parts=tuple(parts))


def _padded(x: torch.Tensor, border: tuple[int, int, int, int], fill: float = 0.0) -> torch.Tensor:
    """With a border (top, left, bottom, right); the tensor itself where there is none."""
    top, left, bottom, right = border
    return F.pad(x, (left, right, top, bottom), value=fill) if any(border) else x


def linear_part(op: Windowed, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The multiply-add or maximum of one operation, without bias and activation."""
    window = op.window
    x = _padded(x, window.padding, float("-inf") if isinstance(op, MaxPool) else 0.0)
    if isinstance(op, MaxPool):
        return F.max_pool2d(x, window.kernel, window.stride, 0, window.dilation)
    if isinstance(op, AvgPool):
        total = F.avg_pool2d(x, window.kernel, window.stride, divisor_override=1)
        return total * weight
    assert isinstance(op, Weighted)
    if isinstance(op, Dense) and x.shape[2:] == (1, 1) and weight.shape[2:] == (1, 1):
        if op.groups == 1:
            return F.linear(x[:, :, 0, 0], weight[:, :, 0, 0])[:, :, None, None]
    return F.conv2d(x, weight, None, window.stride, 0, window.dilation, op.split)


def products(operands: list[torch.Tensor]) -> torch.Tensor:
    """a * b, or a * b + c * d."""
    result = operands[0] * operands[1]
    return result if len(operands) == 2 else result + operands[2] * operands[3]


def real_compute(op: Op, operands: list[torch.Tensor]) -> torch.Tensor:
    """One operation in real numbers (the dtype of the operands)."""
    return activated(op, real_clamped(op, operands))


def activated(op: Op, clamped: torch.Tensor) -> torch.Tensor:
    """What an operation's activation makes of the clamp's result."""
    if op.activation is None:
        return clamped
    result: torch.Tensor = op.activation.apply(clamped, torch)
    return result


def real_clamped(op: Op, operands: list[torch.Tensor]) -> torch.Tensor:
    """One operation up to its clamp: what its activation sees."""
    result = real_sum(op, operands)
    if op.rounds is not None:
        result = torch.floor(result * 2.0**op.rounds + 0.5) * 2.0**-op.rounds
    return torch.clamp(result, op.clamp.lo, op.clamp.hi)


def real_sum(op: Op, operands: list[torch.Tensor]) -> torch.Tensor:
    """One operation before it is rounded and clamped."""
    weight = torch.from_numpy(weights_of(op)).to(operands[0].dtype)
    result = combined(op, operands, weight)
    bias = biases_of(op)
    if bias.size:
        result = result + torch.from_numpy(bias).to(result.dtype)[:, None, None]
    if isinstance(op, Weighted) and op.tap_bias.size:
        bands = Bands.of(op)
        border = bands.picture(bands.totals(op.tap_bias))
        result = result + torch.from_numpy(border).to(result.dtype)
    return result


def combined(op: Op, operands: list[torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    """One operation without bias and activation, of real numbers or of integers."""
    if isinstance(op, Product):
        return products(operands)
    if isinstance(op, Add):
        return weight[0] * operands[0] + weight[1] * operands[1]
    assert isinstance(op, Windowed)
    return linear_part(op, operands[0], weight)


def integer_compute(quantized: Mapping[str, QuantizedOp]) -> Compute:
    """One operation in integers; tensors carry them as float64, or float32 where that is exact."""

    def compute(op: Op, operands: list[torch.Tensor]) -> torch.Tensor:
        return narrowed(quantized[op.name], accumulated(op, quantized[op.name], operands))

    return compute


def accumulated(op: Op, q: QuantizedOp, operands: list[torch.Tensor]) -> torch.Tensor:
    """Accumulators and biases, before shift, clamp and table."""
    half = 1 << int(q.shift.max()) >> 1
    carrier = torch.float32 if q.bound + half < 1 << 24 else torch.float64
    weight = torch.from_numpy(q.weight).to(carrier)
    operands = [x.to(carrier) for x in operands]
    acc = combined(op, operands, weight)
    if q.border.size:
        assert isinstance(op, Weighted)
        acc = acc + torch.from_numpy(Bands.of(op).picture(q.border)).to(carrier)
    return acc + torch.from_numpy(q.bias).to(carrier)[:, None, None] if q.bias.any() else acc


def narrowed(q: QuantizedOp, total: torch.Tensor) -> torch.Tensor:
    """Accumulators rounded (ties towards +inf), clamped, and looked up in the table."""
    if q.shift.any():
        # Exact: below 2**24 or 2**53 both, and a power of two moves the exponent only.
        half = torch.from_numpy(1 << q.shift >> 1).to(total.dtype)[:, None, None]
        lsb = torch.from_numpy(2.0**-q.shift).to(total.dtype)[:, None, None]
        total = torch.floor((total + half) * lsb)
    value = torch.clamp(total, q.lo, q.hi)
    if q.table is None:
        return value
    return looked_up(torch.from_numpy(q.table), value.to(torch.int64)).to(value.dtype)


def looked_up(table: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """An activation of 8-bit values, or of 16-bit ones by the start and the slope of their line."""
    if table.ndim == 1:
        return table[value & 255]
    start, slope = table[torch.bitwise_right_shift(value, 8) & 255].unbind(-1)
    return start + torch.bitwise_right_shift(slope * (value & 255) + 128, 8)


def batches(samples: NDArray[np.floating], size: int) -> Iterator[NDArray[np.floating]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def with_softmax(graph: Graph, results: torch.Tensor) -> torch.Tensor:
    """Results [N, *shape] behind the softmax that was left out at the end, if there was one."""
    for left in graph.left_out:
        order = torch.from_numpy(left.groups)
        flat = results.reshape(len(results), -1)
        parts = flat[:, order]
        parts = parts.softmax(-1) if left.kind == "softmax" else parts.log_softmax(-1)
        numbers, back = np.unique(left.groups, return_index=True)
        mine = parts.reshape(len(results), -1)[:, torch.from_numpy(back)]
        places = torch.from_numpy(numbers).expand(len(results), -1)
        results = flat.scatter(1, places, mine).reshape(results.shape)
    return results


def output_array(graph: Graph, results: Sequence[torch.Tensor]) -> NDArray[np.float64]:
    """The results that leave, [N, C, H, W] each, in the author's order, [N, *shape]; of several
    one vector behind the other, [N, elements].
    """
    assert not (graph.output == ZERO).any()
    flat = [
        result.reshape(len(result), -1).numpy()[:, view.ravel() - tensor.first]
        for view, tensor, result in zip(graph.results, graph.sent, results, strict=True)
    ]
    return np.concatenate(flat, axis=1).reshape(len(flat[0]), *graph.output.shape)


def real_numbers(
    graph: Graph, quantized: Mapping[str, QuantizedOp], results: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """What integers that leave stand for, float64."""
    lsbs = {op.out.index: quantized[op.name].out.lsb for op in graph.ops if graph.leaves(op)}
    return [r.double() * lsbs[t.index] for t, r in zip(graph.sent, results, strict=True)]

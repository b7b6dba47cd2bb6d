# SPDX-License-Identifier: Apache-2.0
"""Pictures whose pixels belong to several tensors in turn: transposed convolutions, pixel shuffle
and nearest upsampling in the middle of a network.

    pixels (y % sy, x % sx) of a picture     ->     one tensor for each of the sy * sx places

The first two are one operation with sy * sx times the channels, whose readers see channels of one
pixel as neighbouring pixels; upsampling is a view that repeats elements. Here each *phase*, the
pixels (y % sy, x % sx), becomes a tensor of its own; of dense layers those of a row stay together,
with the channels (x % sx, channel), so that they may be computed side by side. The layout puts the
phases into one another, so that a dense reader walks them as one picture; any other reader gets a
dense copy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.edit import copy_op, gather_op, results_in_order
from bramcast.pack.graph.graph import Graph, Questions, same_objects
from bramcast.pack.graph.ops import Dense, Op, Weighted, is_exact
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, Tensor, as_pixels, strip_zeros
from bramcast.pack.graph.views import is_flat, pixel_view
from bramcast.pack.graph.window import Window

Steps = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Interleaving:
    """Pixel (y, x) is pixel (y // sy, x // sx) of tensor number y % sy * sx + x % sx.

    With ``across`` = sx it is that of tensor number y % sy, whose channels are (x % sx, channel).
    """

    steps: Steps
    tensors: tuple[int, ...]
    across: int = 1


def interleave(graph: Graph) -> Graph:
    """Give each phase a tensor of its own."""
    draft = Draft(graph)
    _straight_output(draft)
    while any(_split(draft, tensor) for tensor in draft.tensors[1:]):
        pass
    for change in (_repeat, _copy):
        at = 0
        while at < len(draft.ops):
            for operand in range(len(draft.ops[at].views)):
                at += change(draft, draft.ops[at], operand)
            at += 1
    return draft.done()


def interleaving_of(graph: Questions, view: IntArray) -> Interleaving | None:
    """The interleaving that a [C, H, W] view shows, beside a border of zeros, if it shows one.

    Rows or columns of single pixels are no interleaving: those are tensors one behind the other.
    """
    inner = strip_zeros(view)[0]
    owners = [] if (inner == ZERO).any() else graph.owners(inner)
    if not owners:
        return None
    tall, wide = owners[0].height, owners[0].width
    steps = -(-inner.shape[1] // tall), -(-inner.shape[2] // wide)
    across = steps[0] * steps[1] // len(owners)
    if steps == (1, 1) or across not in (1, steps[1]) or not _between(steps, owners[0]):
        return None
    if len(owners) * across != steps[0] * steps[1]:
        return None
    found: list[int] = []
    for number, phase in enumerate(_phases(inner, steps)):
        tensor, place = graph.owners(phase)[0], number % across * len(phase)
        if (tensor.height, tensor.width) != (tall, wide):
            return None
        if tensor.channels != across * len(phase):
            return None
        ids = tensor.ids[place : place + len(phase), : phase.shape[1], : phase.shape[2]]
        if not np.array_equal(phase, ids):
            return None
        found.append(tensor.index)
    rows = tuple(found[::across])
    return Interleaving(steps, rows, across) if len(set(rows)) == len(owners) else None


def _between(steps: Steps, tensor: Tensor) -> bool:
    """Whether pixels of other phases lie between those of a tensor, not just behind them."""
    sizes = (tensor.height, tensor.width)
    return all(step == 1 or size > 1 for step, size in zip(steps, sizes, strict=True))


def _phases(view: IntArray, steps: Steps) -> list[IntArray]:
    return [view[:, y :: steps[0], x :: steps[1]] for y in range(steps[0]) for x in range(steps[1])]


def _straight_output(draft: Draft) -> None:
    """Results leave in the order of their pixels: an interleaving is copied."""
    results = draft.results
    for number, result in enumerate(results):
        tensor = draft.owners(result)[0]
        op = draft.producer(tensor)
        if op is None or result.ndim > 3:
            continue
        view = result.reshape(as_pixels(result.shape))
        if _channels(tensor, view) is not None:
            copy = gather_op(draft, view, draft.result_name(number), op.source)
            draft.ops.append(copy)
            results[number] = copy.out.ids.reshape(result.shape)
            draft.put_results(results)
    results_in_order(draft)


# --- one tensor that is read as an interleaving of its channels --------------------------------


def _split(draft: Draft, tensor: Tensor) -> bool:
    """An operation for each phase, if all readers see this tensor as one interleaving.

    Of dense layers one for each row of phases.
    """
    op = draft.producer(tensor)
    if draft.is_output(tensor) or not isinstance(op, Weighted):
        return False
    seen = [
        _channels(tensor, rows)
        for reader in draft.consumers(tensor)
        for view in reader.views
        for rows in _rows_of(tensor, strip_zeros(view)[0])
    ]
    channels = seen[0] if seen else None
    if channels is None or any(s is None or not np.array_equal(s, channels) for s in seen):
        return False
    if not np.array_equal(np.sort(channels.ravel()), np.arange(tensor.channels)):
        return False
    if isinstance(op, Dense) and op.groups == 1:
        channels = channels.reshape(len(channels), -1)  # those of a row of phases
        if len(channels) == 1 and np.array_equal(channels[0], np.arange(tensor.channels)):
            return False
    else:
        channels = channels.reshape(-1, channels.shape[2])
    if not all(_selectable(op, chosen) for chosen in channels):
        return False
    parts, numbers = [], np.empty((tensor.channels, tensor.height, tensor.width), np.int64)
    for number, chosen in enumerate(channels, 1):
        name = draft.unique_name(f"{op.name}.phase{number}")
        out = draft.new_tensor(name, len(chosen), tensor.height, tensor.width)
        numbers[chosen] = out.ids
        made = replace(
            op.of_outputs(chosen), name=name, out=out,
            macs=op.macs // len(channels), layer=op.layer or op.name,
            twins=tuple(f"{twin} phase {number}" for twin in op.twins),
        )  # fmt: skip
        parts.append(_trimmed(made))
    draft.put(op, *parts)
    draft.substitute(tensor, numbers)
    return True


def _rows_of(tensor: Tensor, view: IntArray) -> Iterator[IntArray]:
    """The channels of a view that show elements of a tensor, if any do."""
    rows = view[tensor.mine(view).any(axis=(1, 2))]
    if len(rows):
        yield rows


def _channels(tensor: Tensor, rows: IntArray) -> IntArray | None:
    """Which channel each phase of an interleaving shows in each row, int64 [sy, sx, rows]."""
    steps = -(-rows.shape[1] // tensor.height), -(-rows.shape[2] // tensor.width)
    if steps == (1, 1) or steps[0] * steps[1] * len(rows) != tensor.channels:
        return None
    if not _between(steps, tensor):
        return None
    result = []
    for phase in _phases(rows, steps):
        channel = (phase[:, 0, 0] - tensor.first) // (tensor.height * tensor.width)
        if channel.min() < 0 or channel.max() >= tensor.channels:
            return None
        if not np.array_equal(phase, tensor.ids[channel][:, : phase.shape[1], : phase.shape[2]]):
            return None
        result.append(channel)
    return np.array(result).reshape(*steps, -1)


def _selectable(op: Weighted, chosen: IntArray) -> bool:
    """Whether these channels are a layer of the same kind: as many of each group, in order."""
    group = chosen * op.split // op.out.channels
    return bool(np.array_equal(group, np.repeat(np.arange(op.split), len(chosen) // op.split)))


def _trimmed(op: Weighted) -> Weighted:
    """Without the rows and columns of the window in which all weights are zero."""
    used: NDArray[np.bool_] = (np.asarray(op.weight) != 0).any(axis=(0, 1))
    edges = []
    for axis in (1, 0):
        filled = np.flatnonzero(used.any(axis=axis))
        edges.append((int(filled[0]), int(filled[-1]) + 1) if filled.size else (0, 1))
    (top, bottom), (left, right) = edges
    window = op.window
    (above, before, below, behind), (dy, dx) = window.padding, window.dilation
    above, below = above - top * dy, below - (window.kernel[0] - bottom) * dy
    before, behind = before - left * dx, behind - (window.kernel[1] - right) * dx
    if window.stride != (1, 1):
        return op
    height, width = op.view.shape[1:]
    view = op.view[
        :, max(0, -above) : height - max(0, -below), max(0, -before) : width - max(0, -behind)
    ]
    padding = (max(0, above), max(0, before), max(0, below), max(0, behind))
    weight: FloatArray = op.weight[:, :, top:bottom, left:right]
    taps = op.tap_bias[:, top:bottom, left:right] if op.tap_bias.size else op.tap_bias
    kernel = (bottom - top, right - left)
    smaller = Window(kernel, (1, 1), window.dilation, padding)
    return replace(op, views=(view,), weight=weight, tap_bias=taps, window=smaller)


# --- elements that are repeated ----------------------------------------------------------------


def _repeat(draft: Draft, op: Op, operand: int) -> int:
    """A view that repeats pixels becomes an interleaving of copies: how many are put in."""
    if is_flat(op) or is_exact(op) or pixel_view(draft, op.views[operand]) is not None:
        return 0
    inner, before = strip_zeros(op.views[operand])[0], 0
    for rows in _runs(draft, inner):
        part = inner[rows]
        steps = _repeats(part)
        base = part[:, :: steps[0], :: steps[1]]
        if steps == (1, 1) or pixel_view(draft, part) is not None:
            continue
        copies, numbers = [], part.copy()
        for number, phase in enumerate(_phases(numbers, steps), 1):
            copy = copy_op(draft, base, f"{op.name}.phase{number}", op.source)
            copies.append(copy)
            phase[:] = copy.out.ids
        _replace_rows(draft, part, numbers, copies)
        before += len(copies)
    return before


def _repeats(view: IntArray) -> Steps:
    """How often each pixel of a view is repeated along y and x, evenly."""
    steps = []
    for axis in (1, 2):
        moved = np.moveaxis(view, axis, 0)
        changes = np.flatnonzero((moved[1:] != moved[:-1]).any(axis=(1, 2))) + 1
        step = int(changes[0]) if changes.size else 1
        whole = len(moved) % step == 0 and bool((changes % step == 0).all())
        steps.append(step if whole else 1)
    return steps[0], steps[1]


def _runs(draft: Draft, view: IntArray) -> Iterator[slice]:
    """Neighbouring channels of a view that show elements of the same tensors."""
    owner = np.searchsorted(draft.firsts, view.reshape(len(view), -1), side="right") - 1
    ends = np.stack([owner.min(axis=1), owner.max(axis=1)])
    edges = np.flatnonzero((ends[:, 1:] != ends[:, :-1]).any(axis=0)) + 1
    for start, end in zip([0, *edges.tolist()], [*edges.tolist(), len(view)], strict=True):
        yield slice(start, end)


def _replace_rows(draft: Draft, old: IntArray, new: IntArray, copies: Sequence[Op]) -> None:
    """Every reader of these channels reads others; copies are made before the first of them."""

    def moved(view: IntArray) -> IntArray:
        inner, (top, left, _, _) = strip_zeros(view)
        if inner.shape[1:] != old.shape[1:]:
            return view
        for start in np.flatnonzero(inner[:, 0, 0] == old[0, 0, 0]).tolist():
            if np.array_equal(inner[start : start + len(old)], old):
                view = view.copy()
                rows = slice(start, start + len(old))
                view[rows, top : top + old.shape[1], left : left + old.shape[2]] = new
        return view

    first = None
    for number, op in enumerate(draft.ops):
        views = op.views if is_flat(op) else tuple(moved(view) for view in op.views)
        if not same_objects(views, op.views):
            draft.ops[number] = replace(op, views=views)
            first = number if first is None else first
    assert first is not None, "somebody reads these channels"
    draft.ops[first:first] = copies


# --- readers that can't walk an interleaving -------------------------------------------------


def _copy(draft: Draft, op: Op, operand: int) -> int:
    """A copy of an interleaving for what reads it lane by lane or beside other channels."""
    view, before = op.views[operand], 0
    if is_flat(op) or pixel_view(draft, view) is not None:
        return 0
    if isinstance(op, Dense) and interleaving_of(draft, view) is not None:
        return 0
    inner = strip_zeros(view)[0]
    for rows in _runs(draft, inner):
        part = inner[rows]
        if interleaving_of(draft, part) is not None:
            copy = gather_op(draft, part, f"{op.name}.picture", op.source)
            _replace_rows(draft, part, copy.out.ids, [copy])
            before += 1
    return before

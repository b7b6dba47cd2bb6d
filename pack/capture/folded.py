# SPDX-License-Identifier: Apache-2.0
"""Operators on data whose batch is not the first axis, or is one axis with another. Imports torch.

    x [N, T, C, H, W]    reshape [N * T, C, H, W]    conv    reshape [N, T, O, H', W']

The example batch has two samples. Of an axis that holds samples and something else, here called
the *fold*, the first sample's places are taken; the operator is translated for these alone: at
once where it takes each place by itself, else place by place, with the same weights. The second
sample's results are the first one's, in the second one's places.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from bramcast.pack.bundle.errors import UnsupportedLayer
from bramcast.pack.capture.aten import is_tagged, map_leaves
from bramcast.pack.capture.elementwise import ELEMENTWISE
from bramcast.pack.capture.moves import BATCH_STEP, doubled, undoubled
from bramcast.pack.capture.pairs import PAIRS
from bramcast.pack.capture.state import MIXES, Call, Capture, Mixed, Site, Turned
from bramcast.pack.graph.tensor import ZERO, IntArray

ON_LAST_AXIS = {"linear", "matmul", "mm", "addmm"}
OVER_AXES = {"mean", "sum", "amax", "amin", "max", "min"}
# Axis 1 has weights of its own, and the places of the fold may be rows of a picture.
BY_CHANNEL = {
    "batch_norm", "prelu", "conv1d", "max_pool1d", "avg_pool1d", "max_pool1d_with_indices",
}  # fmt: skip
RNNS = {"gru", "lstm", "rnn_tanh", "rnn_relu"}

Shape = tuple[int, ...]
Compute = Callable[[Call, Shape], Any]


def is_folded(value: Any) -> bool:
    return isinstance(value, (Turned, Mixed))


@dataclass(frozen=True, slots=True, eq=False)
class _Fold:
    """An axis, and where on it the places of either sample lie, in the same order.

    ``alone``: it holds nothing else, and is left out of what is translated.
    """

    axis: int
    first: IntArray
    second: IntArray
    site: Site

    @property
    def alone(self) -> bool:
        return len(self.first) == 1

    def of(self, numbers: Any) -> Any:
        """The first sample's part of an array (numpy or torch)."""
        index: list[Any] = [slice(None)] * numbers.ndim
        index[self.axis] = int(self.first[0]) if self.alone else self.first
        part = numbers[tuple(index)]
        return np.ascontiguousarray(part) if isinstance(part, np.ndarray) else part.contiguous()

    def whole(self, result: Any, shape: Shape, axis: int) -> Any:
        """Both samples' results of that shape, in which the fold is ``axis``."""
        if isinstance(result, torch.Tensor):  # a constant, with a batch of one
            return self._spread(result[0].numpy(), shape, axis, 0, torch.from_numpy)
        return self._spread(result, shape, axis, BATCH_STEP, self._simplest)

    def _spread(
        self, part: Any, shape: Shape, axis: int, step: int, as_value: Callable[[Any], Any]
    ) -> Any:
        if self.alone:
            part = np.expand_dims(part, axis)
        full = np.empty(shape, part.dtype)
        places = np.moveaxis(full, axis, 0)
        moved = np.moveaxis(part, axis, 0)
        places[self.first] = moved
        places[self.second] = np.where(moved == ZERO, ZERO, moved + step) if step else moved
        return as_value(full)

    def _simplest(self, numbers: IntArray) -> Any:
        return undoubled(torch.from_numpy(numbers), self.site)


def on_folded(
    state: Capture, site: Site, call: Call, shapes: tuple[Shape, ...], compute: Compute
) -> Any:
    """An operator with some operands that are folded.

    Args:
        shapes: of its results, with both samples.
        compute: translates a call on the first sample's data; the shape of its first result.

    Raises:
        UnsupportedLayer: it mixes samples.
    """
    if call.kind in RNNS:
        return _rnn(state, site, call, shapes, compute)
    pointwise = is_tagged(call.target) or call.kind in {*ELEMENTWISE, *PAIRS}
    if call.kind in BY_CHANNEL:
        return _by_channel(state, site, call, shapes[0], compute)
    if pointwise and call.kind != "glu":
        return _pointwise(state, site, call, shapes[0], compute)
    if call.kind in ON_LAST_AXIS:
        (fold,) = _folds(site, [_data(call)[0]], _data(call)[0].ndim - 1)
        made = compute(_mapped(call, fold.of), _without(shapes[0], fold))
        return fold.whole(made, shapes[0], fold.axis)
    if call.kind in OVER_AXES:
        return _over_axes(site, call, shapes[0], compute)
    return _row_by_row(state, site, call, shapes, compute)


def _data(call: Call) -> list[IntArray]:
    """The numbers of its data with both samples."""
    found: list[IntArray] = []

    def of_leaf(value: Any) -> None:
        if isinstance(value, (np.ndarray, Turned, Mixed)):
            found.append(doubled(value).numpy())

    map_leaves(call.arguments, of_leaf)
    map_leaves([v for _, v in sorted(call.keywords.items())], of_leaf)
    return found


def _mapped(call: Call, change: Callable[[IntArray], Any]) -> Call:
    """A call with other data."""

    def of_leaf(value: Any) -> Any:
        data = isinstance(value, (np.ndarray, Turned, Mixed))
        return change(doubled(value).numpy()) if data else value

    arguments = tuple(_with_leaves(a, of_leaf) for a in call.arguments)
    keywords = {k: _with_leaves(v, of_leaf) for k, v in call.keywords.items()}
    return replace(call, arguments=arguments, keywords=keywords)


def _with_leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_with_leaves(v, change) for v in value)
    return change(value)


def _without(shape: Shape, fold: _Fold) -> Shape:
    """A shape with one sample's places on the fold."""
    kept = () if fold.alone else (len(fold.first),)
    return (*shape[: fold.axis], *kept, *shape[fold.axis + 1 :])


def _folds(site: Site, arrays: list[IntArray], axes: int) -> tuple[_Fold, ...]:
    """The fold that all arrays have on one of their first axes, as a tuple of one.

    Raises:
        UnsupportedLayer: there is none.
    """
    for axis in range(axes):
        kinds = []
        for numbers in arrays:
            flat = np.moveaxis(numbers, axis, 0).reshape(numbers.shape[axis], -1)
            second = (flat >= BATCH_STEP).any(axis=1)
            first = ((flat != ZERO) & (flat < BATCH_STEP)).any(axis=1)
            kinds.append(np.where(first & second, 2, np.where(second, 1, np.where(first, 0, -1))))
        known = np.max(kinds, axis=0)
        one, two = np.flatnonzero(known == 0), np.flatnonzero(known == 1)
        if len(one) + len(two) != len(known) or len(one) != len(two):
            continue
        found = _Fold(axis, one, two, site)
        pairs = ((np.take(numbers, one, axis), np.take(numbers, two, axis)) for numbers in arrays)
        if all(np.array_equal(np.where(a == ZERO, ZERO, a + BATCH_STEP), b) for a, b in pairs):
            return (found,)
    raise site.refuse(MIXES)


def _pointwise(state: Capture, site: Site, call: Call, shape: Shape, compute: Compute) -> Any:
    """Each element by itself: at once, where the places are of one tensor; constants broadcast as
    they did."""
    data = [np.broadcast_to(numbers, shape) for numbers in _data(call)]
    (fold,) = _folds(site, data, len(shape))

    def of_fold(mine: _Fold) -> Any:
        mapped = _mapped(call, lambda numbers: mine.of(np.broadcast_to(numbers, shape)))

        def constant(value: Any) -> Any:
            return _constant_of(site, mine, value, len(shape))

        arguments = tuple(_with_leaves(a, constant) for a in mapped.arguments)
        keywords = {k: _with_leaves(v, constant) for k, v in mapped.keywords.items()}
        mapped = replace(mapped, arguments=arguments, keywords=keywords)
        return compute(mapped, _without(shape, mine))

    if _apart(state, fold, data):
        return _together(fold, _each_place(state, fold, of_fold), (shape,), fold.axis)
    return fold.whole(of_fold(fold), shape, fold.axis)


def _constant_of(site: Site, fold: _Fold, value: Any, count: int) -> Any:
    """The part of a constant that meets one sample's places.

    Args:
        count: axes of the data.
    """
    if not isinstance(value, torch.Tensor) or value.ndim == 0:
        return value
    missing = count - value.ndim
    if fold.axis < missing:
        return value
    mine = replace(fold, axis=fold.axis - missing)
    if value.shape[mine.axis] == 1:
        return value.squeeze(mine.axis) if fold.alone else value
    if not torch.equal(mine.of(value), replace(mine, first=fold.second).of(value)):
        raise site.refuse(f"a constant that differs between samples: {MIXES}")
    return mine.of(value)


def _apart(state: Capture, fold: _Fold, data: list[IntArray]) -> bool:
    """Whether each place shows tensors of its own: then what makes them can take an operation."""
    if fold.alone:
        return False
    for numbers in data:
        seen: set[int] = set()
        for place in np.moveaxis(fold.of(numbers), fold.axis, 0):
            owners = {t.index for t in state.draft.owners(place)}
            if not owners or owners & seen:
                return False
            seen |= owners
    return True


def _each_place(state: Capture, fold: _Fold, compute: Callable[[_Fold], Any]) -> list[Any]:
    """An operator for each place by itself: twins, as time steps are."""
    made, anchor, offset = [], state.anchor, state.offset
    for number in range(len(fold.first)):
        here = slice(number, number + 1)
        state.anchor, state.offset, state.count = anchor, offset, 0
        made.append(compute(replace(fold, first=fold.first[here], second=fold.second[here])))
    return made


def _by_channel(state: Capture, site: Site, call: Call, shape: Shape, compute: Compute) -> Any:
    """Of places [K, C, ..] the channels come first: [C, K, ..]."""
    data = [_data(call)[0]]
    (fold,) = _folds(site, data, 1)
    assert not fold.alone, "that were no fold"
    if _apart(state, fold, data):
        return _row_by_row(state, site, call, (shape,), compute)
    mapped = _mapped(call, lambda v: np.ascontiguousarray(fold.of(v).swapaxes(0, 1)))
    made = compute(mapped, (shape[1], len(fold.first), *shape[2:]))
    made = made[0] if isinstance(made, list) else made  # a maximum's indices are not known
    if isinstance(made, torch.Tensor):
        made = made.transpose(1, 2)
    else:
        made = np.ascontiguousarray(made.swapaxes(0, 1))
    whole = fold.whole(made, shape, 0)
    return [whole, None] if call.kind.endswith("indices") else whole


def _over_axes(site: Site, call: Call, shape: Shape, compute: Compute) -> Any:
    """A reduction: its axes are counted without the fold, or behind it."""
    names = [a.name for a in call.target._schema.arguments]
    named = dict(zip(names, call.arguments, strict=False)) | call.keywords
    dims = named.get("dim")
    if "other" in named or dims is None or dims == []:
        raise site.refuse("a reduction over all axes and the batch: give dim")
    (numbers,) = _data(call)
    count = numbers.ndim
    axes = sorted(
        d + count * (d < 0) for d in (dims if isinstance(dims, (list, tuple)) else [dims])
    )
    kept = [axis for axis in range(count) if axis not in axes]
    for axis in kept:
        try:
            (fold,) = _folds(site, [np.moveaxis(numbers, axis, 0)], 1)
        except UnsupportedLayer:  # not on this one
            continue
        fold = replace(fold, axis=axis)
        break
    else:
        raise site.refuse(MIXES)
    moved = [d + 1 if d < fold.axis or not fold.alone else d for d in axes]
    place = fold.axis if named.get("keepdim") else fold.axis - sum(d < fold.axis for d in axes)
    named |= {"dim": moved if isinstance(dims, (list, tuple)) else moved[0]}
    mapped = _mapped(replace(call, arguments=(), keywords=named), fold.of)
    made = compute(mapped, _without(shape, replace(fold, axis=place)))
    if isinstance(made, list):  # a maximum and its indices
        return [fold.whole(made[0], shape, place), *made[1:]]
    return fold.whole(made, shape, place)


def _row_by_row(
    state: Capture, site: Site, call: Call, shapes: tuple[Shape, ...], compute: Compute
) -> Any:
    """What takes axis 0 for the samples, once for each place on it."""
    (fold,) = _folds(site, _data(call), 1)
    made = _each_place(state, fold, lambda one: compute(_mapped(call, one.of), shapes[0][1:]))
    return _together(fold, made, shapes, 0)


def _together(fold: _Fold, made: list[Any], shapes: tuple[Shape, ...], axis: int) -> Any:
    """The results of single places as one."""
    if isinstance(made[0], list):
        parts = list(zip(*made, strict=True))
        return [
            None if part[0] is None else _together(fold, list(part), (shape,), axis)
            for part, shape in zip(parts, shapes, strict=False)
        ]
    rows: Any = made[0]
    if isinstance(rows, torch.Tensor):
        rows = rows if fold.alone else torch.stack(made, 1 + axis)
    elif not fold.alone:
        rows = np.stack(made, axis)
    return fold.whole(rows, shapes[0], axis)


def _rnn(
    state: Capture, site: Site, call: Call, shapes: tuple[Shape, ...], compute: Compute
) -> Any:
    """A recurrent layer, whose samples are axis 0 or 1: once for each place on it."""
    names = [a.name for a in call.target._schema.arguments]
    named = dict(zip(names, call.arguments, strict=False)) | call.keywords
    axis = 0 if named["batch_first"] else 1
    (numbers, *others) = _data(call)
    (fold,) = _folds(site, [np.moveaxis(numbers, axis, 0)], 1)
    if others:
        raise site.refuse(f"a first state computed from data, and {MIXES}")
    fold = replace(fold, axis=axis)

    def of_place(one: _Fold) -> list[Any]:
        def turned(both: IntArray) -> Any:
            return Turned(one.of(both), axis, site) if axis else one.of(both)

        results = compute(_mapped(call, turned), shapes[0])
        return [r.numbers if isinstance(r, Turned) else r for r in results]

    made = _each_place(state, fold, of_place)
    sequence, *ends = zip(*made, strict=True)
    return [
        _together(fold, list(sequence), shapes[:1], axis),
        *(_together(fold, list(e), (s,), 1) for e, s in zip(ends, shapes[1:], strict=True)),
    ]

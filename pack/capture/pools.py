# SPDX-License-Identifier: Apache-2.0
"""Pooling and reductions as operations. Imports torch."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from bramcast.pack.capture.elementwise import add_scale
from bramcast.pack.capture.pairs import PAIRS
from bramcast.pack.capture.state import Capture, Handler, Site, operand_of, two_axes
from bramcast.pack.graph.ops import AvgPool, Dense, MaxPool
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, as_pixels
from bramcast.pack.graph.window import Window


def _largest(
    state: Capture, site: Site, view: IntArray, window: Window, out: tuple[int, int, int]
) -> IntArray:
    if (view == ZERO).all():  # its windows see at least one zero each
        return np.full(out, ZERO, np.int64)
    return state.add(MaxPool(**state.begin(site, MaxPool, (view,), out), window=window))


def _average(
    state: Capture,
    site: Site,
    view: IntArray,
    window: Window,
    weight: FloatArray,
    out: tuple[int, int, int],
) -> IntArray:
    if (view == ZERO).all():
        return np.full(out, ZERO, np.int64)
    common = state.begin(site, AvgPool, (view,), out)
    return state.add(AvgPool(**common, window=window, weight=weight))


def _window(a: dict[str, Any], one_axis: bool, view: IntArray, out: tuple[int, int, int]) -> Window:
    """Kernel, stride, dilation and the padding that the given output size needs."""
    kernel = two_axes(a["kernel_size"], one_axis, 1)
    stride = two_axes(a["stride"], one_axis, 1) if a.get("stride") else kernel
    dilation = two_axes(a.get("dilation", 1), one_axis, 1)
    top, left = two_axes(a.get("padding", 0), one_axis, 0)
    ends = [
        (n - 1) * s + d * (k - 1) + 1 - p - size
        for n, s, d, k, p, size in zip(
            out[1:], stride, dilation, kernel, (top, left), view.shape[1:], strict=True
        )
    ]
    return Window(kernel, stride, dilation, (top, left, max(0, ends[0]), max(0, ends[1])))


def _max_pool(one_axis: bool) -> Handler:
    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
        view = operand_of(a)
        if one_axis and view.ndim == 2:
            view = view[:, None, :]
        out = as_pixels(shape)
        window = _window(a, one_axis, view, out)
        return _largest(state, site, view, window, out).reshape(shape)

    return handler


def _avg_pool(one_axis: bool) -> Handler:
    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
        view = operand_of(a)
        if one_axis and view.ndim == 2:
            view = view[:, None, :]
        out = as_pixels(shape)
        window = _window(a, one_axis, view, out)
        include = bool(a.get("count_include_pad", True))
        top, left = two_axes(a.get("padding", 0), one_axis, 0)
        rows = _divisors(out[1], window.kernel[0], window.stride[0], top, view.shape[1], include)
        columns = _divisors(
            out[2], window.kernel[1], window.stride[1], left, view.shape[2], include
        )
        counts = rows[:, None] * columns[None, :]
        if a.get("divisor_override"):
            counts = np.full_like(counts, float(a["divisor_override"]))
        return _average(state, site, view, window, 1.0 / counts[None], out).reshape(shape)

    return handler


def _divisors(
    outputs: int, kernel: int, stride: int, padding: int, size: int, include_pad: bool
) -> Any:
    """PyTorch's divisor along one axis: windows are cut at the padded size, or at the data."""
    start = np.arange(outputs) * stride - padding
    end = np.minimum(start + kernel, size + padding)
    if not include_pad:
        start, end = np.maximum(start, 0), np.minimum(end, size)
    return (end - start).astype(np.float64)


def _global_pool(average: bool) -> Handler:
    def handler(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
        view = operand_of(a)
        one_axis = view.ndim == 2
        if one_axis:
            view = view[:, None, :]
        out = as_pixels(shape)
        if any(size % n for size, n in zip(view.shape[1:], out[1:], strict=True)):
            return _of_any_size(state, site, view, average, out).reshape(shape)
        kernel = (view.shape[1] // out[1], view.shape[2] // out[2])
        window = Window(kernel, kernel)
        if not average:
            return _largest(state, site, view, window, out).reshape(shape)
        weight = np.full((1, out[1], out[2]), 1.0 / (kernel[0] * kernel[1]))
        return _average(state, site, view, window, weight, out).reshape(shape)

    return handler


def _of_any_size(
    state: Capture, site: Site, view: IntArray, average: bool, out: tuple[int, int, int]
) -> IntArray:
    """Windows of several sizes as those of the largest one: beside the smaller ones a mean sees
    zeros, a maximum their last element again."""
    counts, kernel = [], []
    for axis in (1, 2):
        size, number = view.shape[axis], np.arange(out[axis])
        start, end = number * size // out[axis], -(-(number + 1) * size // out[axis])
        length = end - start
        place = np.arange(length.max())
        index = np.minimum(start[:, None] + place, end[:, None] - 1)
        view = np.take(view, index.ravel(), axis)
        if average:
            np.moveaxis(view, axis, 0)[(place >= length[:, None]).ravel()] = ZERO
        counts.append(length)
        kernel.append(int(length.max()))
    window = Window((kernel[0], kernel[1]), (kernel[0], kernel[1]))
    if not average:
        return _largest(state, site, view, window, out)
    divisors = (counts[0][:, None] * counts[1])[None]
    return _average(state, site, view, window, 1.0 / divisors, out)


Reduce = Callable[[Capture, Site, IntArray, Window, tuple[int, int, int]], IntArray]


def _averaged(
    state: Capture, site: Site, view: IntArray, window: Window, out: tuple[int, int, int]
) -> IntArray:
    weight = np.full((1, 1, out[2]), 1.0 / (window.kernel[0] * window.kernel[1]))
    return _average(state, site, view, window, weight, out)


def _summed(
    state: Capture, site: Site, view: IntArray, window: Window, out: tuple[int, int, int]
) -> IntArray:
    return _average(state, site, view, window, np.ones((1, 1, out[2])), out)


def _sum(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    return _summed_over(state, site, a, shape, 1.0)


def _mean(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    view: IntArray = a["self"]
    axes = _axes(a.get("dim"), view)
    if axes == set(range(view.ndim)):
        return _summed_over(state, site, a, shape, 1.0 / view.size)
    return _reduce(_averaged, a.get("dim"), state, site, view, shape)


def _summed_over(
    state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...], each: float
) -> Any:
    """A sum over axes, each element times a factor: over channels a convolution with the same
    weight everywhere, else a pooling."""
    view: IntArray = a["self"]
    axes = _axes(a.get("dim"), view)
    if (view == ZERO).all():
        return np.full(shape, ZERO, np.int64)
    over_all = axes == set(range(view.ndim))
    if view.ndim > 3 or not (over_all or (0 in axes and _is_channels(state, view))):
        return _reduce(_summed, a.get("dim"), state, site, view, shape)
    pixels = view.reshape(as_pixels(view.shape))
    places = {0: 0, 1: 1, 2: 2} if view.ndim == 3 else {0: 0, 1: 2}
    summed = {places[axis] for axis in axes}
    kernel = tuple(pixels.shape[n] if n in summed else 1 for n in (1, 2))
    out = (1, *(1 if n in summed else pixels.shape[n] for n in (1, 2)))
    window = Window((kernel[0], kernel[1]))
    common = state.begin(site, Dense, (pixels,), (1, out[1], out[2]))
    weight = np.full((1, len(pixels), *kernel), each)
    made = Dense(**common, window=window, weight=weight, bias=np.zeros(1))
    return state.add(made).reshape(shape)


def _axes(dims: Any, view: IntArray) -> set[int]:
    """Axes that are reduced, without the batch's; {-1} and the like for the batch itself."""
    listed = dims if isinstance(dims, (list, tuple)) else [] if dims is None else [dims]
    return {(d if d >= 0 else d + view.ndim + 1) - 1 for d in listed}


def _is_channels(state: Capture, view: IntArray) -> bool:
    """Whether the first axis of a view goes over the channels of one stored tensor."""
    owners = state.draft.owners(view)
    if len(owners) != 1 or len(view) < 2 or (view == ZERO).any():
        return False
    return bool((np.diff(view, axis=0) == owners[0].height * owners[0].width).all())


def _amax(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
    return _reduce(_largest, a.get("dim"), state, site, a["self"], shape)


def _max_over(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    if "other" in a:
        return PAIRS["maximum"](state, site, a, shape)
    if a.get("dim") is None:
        raise site.refuse("a maximum over all axes and the batch: give dim")
    return _reduce(_largest, [a["dim"]], state, site, a["self"], shape)


def _least(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """-max(-x)"""
    if "other" in a:
        return PAIRS["minimum"](state, site, a, shape)
    if a.get("dim") is None:
        raise site.refuse("a minimum over all axes and the batch: give dim")
    dims = a["dim"] if isinstance(a["dim"], (list, tuple)) else [a["dim"]]
    view: IntArray = a["self"]
    if (view == ZERO).all():
        return np.full(shape, ZERO, np.int64)
    turned = add_scale(state, site, view, -1.0, 0.0)
    return add_scale(state, site, _reduce(_largest, dims, state, site, turned, shape), -1.0, 0.0)


def _reduce(
    reduce: Reduce, dims: Any, state: Capture, site: Site, view: IntArray, shape: tuple[int, ...]
) -> IntArray:
    """Mean, sum or maximum over axes: a pooling whose window is the whole of them."""
    if dims is None or dims == []:
        raise site.refuse("a reduction over all axes and the batch: give dim")
    axes = _axes(dims, view)
    if -1 in axes:
        raise site.refuse(f"a reduction over axes {sorted(a + 1 for a in axes)}")
    if len(axes) == view.ndim:  # of one channel that is all of the sample
        view, axes = view[None], {axis + 1 for axis in axes}
    kept = [axis for axis in range(view.ndim) if axis not in axes]
    moved = view.transpose([kept[0], *sorted(axes), *kept[1:]])
    lengths = [view.shape[axis] for axis in sorted(axes)]
    if view.ndim > 3:
        lengths = [prod(lengths)]
    if len(lengths) == 1:
        lengths.append(1)
        pixels = moved.reshape(view.shape[kept[0]], lengths[0], -1)
    else:
        pixels = moved
    out = (pixels.shape[0], 1, pixels.shape[2] // lengths[1])
    pixels, window = np.ascontiguousarray(pixels), Window((lengths[0], lengths[1]), (1, 1))
    return reduce(state, site, pixels, window, out).reshape(shape)


POOLS: dict[str, Handler] = {
    "max_pool1d": _max_pool(True),
    "max_pool2d": _max_pool(False),
    "avg_pool1d": _avg_pool(True),
    "avg_pool2d": _avg_pool(False),
    "adaptive_avg_pool1d": _global_pool(True),
    "adaptive_avg_pool2d": _global_pool(True),
    "adaptive_max_pool1d": _global_pool(False),
    "adaptive_max_pool2d": _global_pool(False),
    "max_pool1d_with_indices": _max_pool(True),
    "max_pool2d_with_indices": _max_pool(False),
    "mean": _mean,
    "sum": _sum,
    "amax": _amax,
    "max": _max_over,
    "amin": _least,
    "min": _least,
}

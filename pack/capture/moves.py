# SPDX-License-Identifier: Apache-2.0
"""Operators that move elements: run by torch itself, on the elements' numbers. Imports torch."""

from typing import Any

import numpy as np
import torch

from bramcast.pack.capture.elementwise import add_scale, constant_elements
from bramcast.pack.capture.state import (
    Capture,
    Mixed,
    Site,
    Turned,
    as_numpy,
)
from bramcast.pack.graph.tensor import ZERO, IntArray

BATCH_STEP = 1 << 40  # element numbers of the second sample of the example batch
LOWEST = -1e4  # what pads for a maximum is below
WHOLE = {  # what only gives the elements other axes
    "permute", "transpose", "reshape", "view", "_unsafe_view", "flatten", "unflatten", "squeeze",
    "unsqueeze", "contiguous", "clone", "alias", "t", "movedim", "swapaxes", "swapdims", "detach",
    "to", "_to_copy",
}  # fmt: skip
MOVES = {
    "permute", "transpose", "reshape", "view", "_unsafe_view", "flatten", "unflatten", "squeeze",
    "unsqueeze", "expand_as", "contiguous", "clone", "slice", "select", "narrow", "chunk", "split",
    "split_with_sizes", "unbind", "cat", "concat", "concatenate", "stack", "expand", "t",
    "movedim", "swapaxes", "swapdims", "flip", "roll", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "alias", "index_select", "repeat", "tile", "hstack", "vstack", "dstack",
    "index", "gather", "take_along_dim", "repeat_interleave", "unfold", "im2col", "rot90",
    "fliplr", "flipud", "diagonal", "tril", "triu", "tensor_split", "unsafe_split", "hsplit",
    "vsplit", "broadcast_to", "ravel", "view_as", "reshape_as", "numpy_T", "adjoint",
    "native_channel_shuffle", "upsample_nearest1d", "upsample_nearest2d",
    "_upsample_nearest_exact1d", "_upsample_nearest_exact2d",
}  # fmt: skip
INDEXED = {"index", "index_select", "gather", "take_along_dim", "repeat_interleave"}
PADS = {
    "pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d",
    "replication_pad2d", "_pad_circular",
}  # fmt: skip
MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # PyTorch's and numpy's
PASS = {
    "dropout", "dropout_", "feature_dropout", "alpha_dropout", "detach", "to",
    "_to_copy", "lift_fresh_copy", "lift_fresh", "type_as",
}  # fmt: skip


CASTS = {"to", "_to_copy", "type_as"}  # to integers or booleans they are functions


def passed(kind: str, arguments: Any, site: Site) -> Any:
    """What leaves the numbers as they are in inference."""
    if "dropout" in kind and len(arguments) > 2 and arguments[2]:
        raise site.refuse(
            f"{kind} is active in inference; write F.dropout(x, p, training=self.training)"
        )
    return arguments[0]


def doubled(value: Any) -> Any:
    """Element numbers with both samples of the example batch; constants as they are."""
    if isinstance(value, Mixed):
        return torch.from_numpy(value.numbers)
    if isinstance(value, Turned):
        return doubled(value.numbers).movedim(0, value.axis).contiguous()
    if not isinstance(value, np.ndarray):
        return value
    second = np.where(value == ZERO, ZERO, value + BATCH_STEP)
    return torch.from_numpy(np.stack([value, second]))


def undoubled(value: Any, site: Site) -> Any:
    """One sample's element numbers of those of both, where the samples are an axis."""
    if isinstance(value, (tuple, list)):
        return [undoubled(v, site) for v in value]
    numbers = value.numpy()
    for axis in (i for i, size in enumerate(numbers.shape) if size == 2):
        first, second = np.moveaxis(numbers, axis, 0)
        if np.array_equal(np.where(first == ZERO, ZERO, first + BATCH_STEP), second):
            found = np.asarray(first, order="C")
            return Turned(found, axis, site) if axis else found
    return Mixed(np.ascontiguousarray(numbers), site)


def moves(kind: str, arguments: Any) -> bool:
    """Whether an operator only moves elements, to where no data decides."""
    if kind not in MOVES:
        return False
    return kind not in INDEXED or not any(_is_data(leaf) for leaf in _leaves(arguments[1:]))


def move(state: Capture, target: Any, kind: str, arguments: Any, keywords: Any, site: Site) -> Any:
    """Element numbers, moved; constants beside them become elements of their own."""
    tree = [list(arguments), dict(keywords)]
    axes = {_batch_axis(leaf) for leaf in _leaves(tree) if _is_data(leaf)}

    def numbers(value: Any) -> Any:
        if _is_data(value):
            # What is filled with zeros is the constant-zero element, number 0 here.
            return doubled(value).double() + 1
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return _constant(state, site, value, axes).double() + 1
        return value

    tree = torch.utils._pytree.tree_map(numbers, tree)
    return _map(target(*tree[0], **tree[1]), lambda moved: undoubled(moved.long() - 1, site))


def _map(value: Any, change: Any) -> Any:
    return [change(v) for v in value] if isinstance(value, (tuple, list)) else change(value)


def _is_data(value: Any) -> bool:
    return isinstance(value, (np.ndarray, Turned, Mixed))


def _batch_axis(value: Any) -> int | None:
    """Which axis the samples are; None where they share one."""
    return None if isinstance(value, Mixed) else value.axis if isinstance(value, Turned) else 0


def _constant(state: Capture, site: Site, value: torch.Tensor, axes: set[int | None]) -> Any:
    """A constant that is joined with data, as elements with both samples."""
    if not bool(value.any()):
        return torch.full(value.shape, ZERO, dtype=torch.int64)
    axis = axes.pop() if len(axes) == 1 else None
    axes.add(axis)
    if axis is None or value.ndim <= axis or value.shape[axis] != 2:
        raise site.refuse("it joins a constant tensor with data whose batch is not one axis")
    one, other = value.unbind(axis)
    if not torch.equal(one, other):
        raise site.refuse("it joins a constant tensor that differs between samples with data")
    return doubled(Turned(constant_elements(state, site, as_numpy(one)), axis, site))


def _leaves(tree: Any) -> list[Any]:
    leaves: list[Any] = torch.utils._pytree.tree_leaves(tree)
    return leaves


def pad(
    state: Capture, kind: str, arguments: Any, keywords: Any, site: Site, for_maximum: bool
) -> Any:
    """Constant padding, reflected, replicated or circular.

    Args:
        for_maximum: nothing but maxima over windows reads it. There the lowest number is like the
            nearest element of the border, which is in the same windows.
    """
    view, widths, *more = arguments
    mode, value = "constant", keywords.get("value")
    if kind == "pad":
        mode = more[0] if more else keywords.get("mode", "constant")
        value = more[1] if len(more) > 1 else value
    elif kind == "constant_pad_nd":
        value = more[0] if more else value
    else:
        mode = next(m for m in MODES if kind.lstrip("_").startswith((m[:6], f"pad_{m}")))
    value = float(value or 0)
    if mode == "constant" and value < LOWEST and for_maximum and min(widths) >= 0:
        mode = "replicate"
    if mode == "constant" and not np.isfinite(value):
        raise site.refuse(f"padding with {value} (for maxima over windows alone)")
    shifted = mode == "constant" and value != 0
    if shifted and not isinstance(view, np.ndarray):
        raise site.refuse(f"padding with {value} where the batch is not axis 0")
    if shifted:
        view = add_scale(state, site, view, 1.0, -value)
    padded = undoubled(torch.from_numpy(_padded(doubled(view).numpy(), widths, mode)), site)
    return add_scale(state, site, padded, 1.0, value) if shifted else padded


def _padded(numbers: IntArray, widths: Any, mode: str) -> IntArray:
    """Widths as PyTorch has them: before and behind the last axis, then the one before it .."""
    pairs = [(int(b), int(a)) for b, a in zip(widths[::2], widths[1::2], strict=True)][::-1]
    pairs = [(0, 0)] * (numbers.ndim - len(pairs)) + pairs
    kept = tuple(
        slice(max(0, -b), n - max(0, -a)) for (b, a), n in zip(pairs, numbers.shape, strict=True)
    )
    more = [(max(0, b), max(0, a)) for b, a in pairs]
    if mode == "constant":
        return np.pad(numbers[kept], more, constant_values=ZERO)
    padded: IntArray = np.pad(numbers[kept], more, mode=MODES[mode])  # type: ignore[call-overload]
    return padded

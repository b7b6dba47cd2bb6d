# SPDX-License-Identifier: Apache-2.0
"""Operators that move elements: run by torch itself, on the elements' numbers. Imports torch."""

from typing import Any

import numpy as np
import torch

from bramcast.pack.capture.state import MIXES, Capture, Handler, Site, Turned, operand_of
from bramcast.pack.graph.tensor import ZERO, IntArray, as_pixels

BATCH_STEP = 1 << 40  # element numbers of the second sample of the example batch
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
}  # fmt: skip
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


def _doubled(value: Any) -> Any:
    """Element numbers with a batch axis of two samples; constants as they are."""
    if isinstance(value, Turned):
        return _doubled(value.numbers).movedim(0, value.axis)
    if not isinstance(value, np.ndarray):
        return value
    second = np.where(value == ZERO, ZERO, value + BATCH_STEP)
    return torch.from_numpy(np.stack([value, second]))


def _zeros_as_numbers(value: Any) -> Any:
    """A constant of zeros that is joined with data is the constant-zero element."""
    if isinstance(value, torch.Tensor) and value.is_floating_point() and not bool(value.any()):
        return torch.full(value.shape, ZERO, dtype=torch.int64)
    return value


def _undoubled(value: Any, site: Site) -> Any:
    if isinstance(value, (tuple, list)):
        return [_undoubled(v, site) for v in value]
    numbers = value.numpy()
    for axis in (i for i, size in enumerate(numbers.shape) if size == 2):
        first, second = np.moveaxis(numbers, axis, 0)
        if np.array_equal(np.where(first == ZERO, ZERO, first + BATCH_STEP), second):
            found = np.ascontiguousarray(first)
            return Turned(found, axis) if axis else found
    raise site.refuse(MIXES)


def move(target: Any, arguments: Any, keywords: Any, site: Site) -> Any:
    tree = torch.utils._pytree.tree_map(_doubled, (list(arguments), dict(keywords)))
    tree = torch.utils._pytree.tree_map(_zeros_as_numbers, tree)
    if any(isinstance(a, torch.Tensor) and a.is_floating_point() for a in _leaves(tree)):
        raise site.refuse("it joins a constant tensor with data")
    return _undoubled(target(*tree[0], **tree[1]), site)


def _leaves(tree: Any) -> list[Any]:
    leaves: list[Any] = torch.utils._pytree.tree_leaves(tree)
    return leaves


def pad(target: Any, kind: str, arguments: Any, keywords: Any, site: Site) -> IntArray:
    positional = list(arguments)
    mode = "constant"
    if kind == "pad":
        mode = positional[2] if len(positional) > 2 else keywords.get("mode", "constant")
        value = positional[3] if len(positional) > 3 else keywords.get("value")
    else:
        value = positional[2] if len(positional) > 2 else keywords.get("value", 0)
    if mode != "constant" or value not in (None, 0, 0.0):
        raise site.refuse(f"padding with mode {mode!r} and value {value} (only zeros are)")
    numbers = torch.nn.functional.pad(_doubled(positional[0]), tuple(positional[1]), value=ZERO)
    result: IntArray = _undoubled(numbers, site)
    return result


def _upsample(state: Capture, site: Site, a: dict[str, Any], shape: tuple[int, ...]) -> IntArray:
    """Nearest upsampling by whole numbers: a view that repeats pixels."""
    view = operand_of(a)
    view = view.reshape(*as_pixels(view.shape))
    out = as_pixels(shape)
    if any(n % size for n, size in zip(out[1:], view.shape[1:], strict=True)):
        raise site.refuse(
            f"upsampling from {view.shape[1:]} to {out[1:]}, which is no multiple of it"
        )
    for axis in (1, 2):
        view = np.repeat(view, out[axis] // view.shape[axis], axis=axis)
    return view.reshape(shape)


UPSAMPLED: dict[str, Handler] = {
    "upsample_nearest1d": _upsample,
    "upsample_nearest2d": _upsample,
    "_upsample_nearest_exact1d": _upsample,
    "_upsample_nearest_exact2d": _upsample,
}

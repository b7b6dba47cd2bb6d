# SPDX-License-Identifier: Apache-2.0
"""ONNX operators on data as calls of torch functions, for torch.export. Imports torch."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F

from bramcast.pack.activations.table import TABLE, Onnx
from bramcast.pack.bundle.errors import UnsupportedLayer

LARGEST = 1 << 26  # elements that a constant or a padded tensor may have


@dataclass(slots=True)
class Call:
    """One node while it is carried out on samples.

    Attributes:
        inputs: a torch tensor [N, ...] that depends on the samples, an array that does not, or
            None where an optional input is left out.
        parameters: float constants as the module's own tensors, where it has them.
        batch: axis 0 of the samples now; declared: the size that the file gives it.
        learned: names of constants that come from the file's weights.
        zeros: what ``part`` has made in this run, by name.
    """

    node: onnx.NodeProto
    where: str
    opset: int
    inputs: list[Any]
    parameters: list[torch.Tensor | None]
    attributes: dict[str, Any]
    batch: int
    declared: int | None
    learned: set[str]
    zeros: dict[str, torch.Tensor]

    def refuse(self, what: str) -> UnsupportedLayer:
        """An error that names the node."""
        return UnsupportedLayer(f"{self.where} ({self.node.op_type}): {what}")

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    @property
    def x(self) -> torch.Tensor:
        """The first input, which must be data."""
        return self.data(0)

    def data(self, index: int) -> torch.Tensor:
        """An input as a tensor: data, or a constant of floats."""
        value = self.inputs[index]
        if isinstance(value, torch.Tensor):
            return value
        parameter = self.parameters[index]
        if parameter is not None:
            return parameter
        if value is None:
            raise self.refuse(f"input {index} is missing")
        return torch.from_numpy(np.asarray(value, np.float32))

    def given(self, index: int) -> bool:
        """Whether an optional input is there."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def constant(self, index: int, what: str) -> torch.Tensor:
        """An input that must not depend on the samples, as a tensor of floats."""
        if self.given(index) and isinstance(self.inputs[index], torch.Tensor):
            raise self.refuse(f"its {what} is computed from data, not a constant")
        return self.data(index)

    def numbers(self, index: int, what: str) -> list[int] | None:
        """An optional input of integers (axes, pads, a shape)."""
        if not self.given(index):
            return None
        value = self.inputs[index]
        if isinstance(value, torch.Tensor):
            raise self.refuse(f"its {what} depends on data")
        return [int(v) for v in np.asarray(value).ravel()]

    def operand(self, index: int) -> torch.Tensor | float:
        """An input of an operator on elements: data, weights, or a plain number."""
        value = self.inputs[index]
        if value is None or isinstance(value, torch.Tensor):
            return self.data(index)
        if np.size(value) != 1:
            return self.part(index)
        if np.ndim(value) > self.x_ndim or self.node.input[index] in self.learned:
            return self.data(index)
        return meant(float(np.asarray(value).ravel()[0]))

    def part(self, index: int) -> torch.Tensor:
        """An input as a tensor; zeros for each sample (a first state) as capture knows them."""
        value = self.inputs[index]
        if value is None or isinstance(value, torch.Tensor):
            return self.data(index)
        data = next(v for v in self.inputs if isinstance(v, torch.Tensor))
        shape, batch = np.shape(value), int(data.shape[0])
        if len(shape) < 2 or len(shape) != data.ndim or np.any(value) or shape[0] not in (1, batch):
            return self.data(index)
        name = self.node.input[index]
        if name not in self.zeros:
            self.zeros[name] = data.new_zeros((batch, *shape[1:]))
        return self.zeros[name]

    @property
    def x_ndim(self) -> int:
        """The most axes that a data input has."""
        return max(v.ndim for v in self.inputs if isinstance(v, torch.Tensor))

    def scalar(self, index: int, what: str) -> float | None:
        """An optional input of one constant number."""
        if not self.given(index):
            return None
        value = self.inputs[index]
        if isinstance(value, torch.Tensor) or np.size(value) != 1:
            raise self.refuse(f"its {what} is not one constant")
        return meant(float(np.asarray(value).ravel()[0]))

    def axes(self, index: int) -> list[int] | None:
        """Axes, an attribute in old operator sets and an input in new ones; none negative."""
        listed = self.get("axes")
        if listed is None:
            listed = self.numbers(index, "axes")
        return None if listed is None else [a % max(1, self.x.ndim) for a in listed]


def meant(value: float) -> float:
    """The number that the author wrote: the shortest one that float32 rounds to ``value``.

    >>> meant(float(np.float32(0.1)))
    0.1
    """
    return float(str(np.float32(value)))


def is_torchs(attributes: dict[str, Any]) -> bool:
    """Whether a HardSigmoid is the one that PyTorch has."""
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return bool(abs(alpha - 1 / 6) < 1e-6 and abs(beta - 0.5) < 1e-6)


def _spatial(call: Call) -> int:
    axes = call.x.ndim - 2
    if axes not in (1, 2):
        raise call.refuse(f"data with {call.x.ndim} axes (3 or 4: batch, channels, space)")
    return axes


def _window(
    call: Call, kernel: list[int]
) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """Strides, dilations, pads before and behind, and the number of output positions, by axis."""
    axes, sizes = len(kernel), [int(s) for s in call.x.shape[2:]]
    if len(sizes) != axes:
        raise call.refuse(f"a kernel of {axes} axes on data with {len(sizes)}")
    strides = [int(v) for v in call.get("strides") or [1] * axes]
    dilations = [int(v) for v in call.get("dilations") or [1] * axes]
    pads = [int(v) for v in call.get("pads") or [0] * (2 * axes)]
    if min(strides + dilations + kernel, default=1) < 1 or min(pads) < 0 or len(pads) != 2 * axes:
        raise call.refuse(f"kernel {kernel}, strides {strides}, dilations {dilations}, pads {pads}")
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    mode = call.get("auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise call.refuse(f"auto_pad {mode!r}")
    begin, end = pads[:axes], pads[axes:]
    if mode == "VALID":
        begin, end = [0] * axes, [0] * axes
    if mode.startswith("SAME"):
        total = [
            max(0, (-(-n // s) - 1) * s + w - n)
            for n, s, w in zip(sizes, strides, spans, strict=True)
        ]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        begin, end = (small, large) if mode == "SAME_UPPER" else (large, small)
    room = [n + b + e - w for n, b, e, w in zip(sizes, begin, end, spans, strict=True)]
    if min(room) < 0:
        raise call.refuse(f"a window of {spans} on data of {sizes} with pads {begin + end}")
    ceil = bool(call.get("ceil_mode", 0)) and mode == "NOTSET"
    if call.get("ceil_mode", 0) and mode == "VALID":
        if any(r % s for r, s in zip(room, strides, strict=True)):
            raise call.refuse(
                "ceil_mode with auto_pad VALID, which ONNX and its runtimes read differently; give "
                "pads instead of auto_pad"
            )
    counts = [(-(-r // s) if ceil else r // s) + 1 for r, s in zip(room, strides, strict=True)]
    if ceil:  # a window that begins behind the data and its first padding is not one
        counts = [
            c - ((c - 1) * s >= n + b)
            for c, s, n, b in zip(counts, strides, sizes, begin, strict=True)
        ]
    _limit(
        call, [*call.x.shape[:2], *(n + b + e for n, b, e in zip(sizes, begin, end, strict=True))]
    )
    return strides, dilations, begin, end, counts


def _limit(call: Call, sizes: Sequence[int]) -> None:
    """Damaged numbers must not ask for all the memory there is."""
    if prod(int(s) for s in sizes) > LARGEST:
        raise call.refuse(f"data of {list(sizes)} elements")


def _pad_space(x: torch.Tensor, begin: list[int], end: list[int]) -> torch.Tensor:
    """Zeros around the spatial axes."""
    return F.pad(
        x, [v for b, e in zip(reversed(begin), reversed(end), strict=True) for v in (b, e)]
    )


def _conv(call: Call) -> torch.Tensor:
    weight = call.constant(1, "weight")
    bias = call.constant(2, "bias") if call.given(2) else None
    axes = _spatial(call)
    strides, dilations, begin, end, _ = _window(call, [int(k) for k in weight.shape[2:]])
    groups, x = int(call.get("group", 1)), call.x
    if groups < 1 or x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise call.refuse(
            f"{x.shape[1]} channels, weights of shape {tuple(weight.shape)}, {groups} groups"
        )
    if begin != end:
        x, begin = _pad_space(x, begin, end), [0] * axes
    if axes == 1:
        return F.conv1d(x, weight, bias, strides, begin, dilations, groups)
    return F.conv2d(x, weight, bias, strides, begin, dilations, groups)


def _conv_transpose(call: Call) -> torch.Tensor:
    weight = call.constant(1, "weight")
    bias = call.constant(2, "bias") if call.given(2) else None
    axes, groups, x = _spatial(call), int(call.get("group", 1)), call.x
    strides = [int(v) for v in call.get("strides") or [1] * axes]
    dilations = [int(v) for v in call.get("dilations") or [1] * axes]
    pads = [int(v) for v in call.get("pads") or [0] * (2 * axes)]
    more = [int(v) for v in call.get("output_padding") or [0] * axes]
    lists = (strides, dilations, more, pads[:axes], pads[axes:])
    if any(len(values) != axes for values in lists) or min(strides + dilations) < 1:
        raise call.refuse(f"strides {strides}, dilations {dilations}, pads {pads}")
    if call.get("output_shape") or call.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise call.refuse("output_shape or auto_pad: give pads")
    if min(pads + more) < 0 or groups < 1 or x.shape[1] != weight.shape[0]:
        raise call.refuse(f"{x.shape[1]} channels, weights {tuple(weight.shape)}, pads {pads}")
    spans = [
        int(n) * s + d * int(k)
        for n, s, d, k in zip(x.shape[2:], strides, dilations, weight.shape[2:], strict=True)
    ]
    _limit(call, [int(x.shape[0]), int(weight.shape[1]) * groups, *spans])
    transposed = F.conv_transpose1d if axes == 1 else F.conv_transpose2d
    begin, end = pads[:axes], pads[axes:]
    if begin == end and all(
        m < max(s, d) for m, s, d in zip(more, strides, dilations, strict=True)
    ):
        return transposed(x, weight, bias, strides, begin, more, groups, dilations)
    if any(more):
        raise call.refuse(f"output_padding {more} with pads {pads}")
    full = transposed(x, weight, bias, strides, 0, 0, groups, dilations)
    counts = [int(n) - b - e for n, b, e in zip(full.shape[2:], begin, end, strict=True)]
    if min(counts) < 1:
        raise call.refuse(f"pads {pads} leave nothing")
    return _cut(full, begin, counts)


def _resize(call: Call) -> torch.Tensor:
    """Nearest resizing in which each pixel is repeated the same number of times."""
    x = call.x
    sizes = [int(s) for s in x.shape]
    wanted = call.numbers(3, "sizes") if len(call.inputs) > 3 else None
    if wanted is None and call.given(2):
        if isinstance(call.inputs[2], torch.Tensor):
            raise call.refuse("its scales depend on data")
        scales = [float(v) for v in np.asarray(call.inputs[2]).ravel()]
        wanted = [int(n * s) for n, s in zip(sizes, scales, strict=False)]
    if call.get("mode", "nearest") != "nearest" or wanted is None or call.get("axes"):
        raise call.refuse("a mode other than nearest, or axes")
    if len(wanted) != len(sizes) or wanted[1:2] != sizes[1:2]:
        raise call.refuse(f"data of {sizes} resized to {wanted}")
    _limit(call, wanted)
    for axis in range(2, len(sizes)):
        if wanted[axis] % sizes[axis]:
            raise call.refuse(f"{sizes[axis]} pixels resized to {wanted[axis]}, no multiple")
        step = wanted[axis] // sizes[axis]
        source = _resized_from(call, step, sizes[axis], wanted[axis])
        if not np.array_equal(source, np.arange(wanted[axis]) // step):
            raise call.refuse("pixels that are not repeated evenly")
    if len(sizes) not in (3, 4):
        raise call.refuse(f"data with {len(sizes)} axes (3 or 4: batch, channels, space)")
    return F.interpolate(x, size=wanted[2:], mode="nearest")


def _resized_from(call: Call, step: int, size: int, count: int) -> Any:
    """Which pixel along an axis each one of the result is."""
    at = np.arange(count)
    kind = call.get("coordinate_transformation_mode", "half_pixel")
    if kind == "asymmetric":
        place = at / step
    elif kind in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"):
        place = (at + 0.5) / step - 0.5
    else:
        raise call.refuse(f"coordinate_transformation_mode {kind!r}")
    roundings: dict[str, Callable[[Any], Any]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda v: np.ceil(v - 0.5),
        "round_prefer_ceil": lambda v: np.floor(v + 0.5),
    }
    rounding = roundings.get(str(call.get("nearest_mode", "round_prefer_floor")))
    if rounding is None:
        raise call.refuse(f"nearest_mode {call.get('nearest_mode')!r}")
    return np.clip(rounding(place), 0, size - 1)


def _is_data(call: Call, index: int) -> bool:
    return isinstance(call.inputs[index], torch.Tensor)


def _gemm(call: Call) -> torch.Tensor:
    if call.get("transA", 0) or not _is_data(call, 0) or call.x.ndim != 2:
        raise call.refuse("transA, or data that is not the first operand")
    weight = call.constant(1, "weight")
    weight = weight if call.get("transB", 0) else weight.t()
    alpha, beta = float(call.get("alpha", 1.0)), float(call.get("beta", 1.0))
    if alpha != 1:
        weight = weight * alpha
    if not call.given(2) or beta == 0:
        return F.linear(call.x, weight)
    added = call.data(2) if beta == 1 else call.data(2) * beta
    if not _is_data(call, 2):
        flat = added.reshape(-1)
        if flat.shape[0] == weight.shape[0]:
            return F.linear(call.x, weight, flat)
    return F.linear(call.x, weight) + added


def _matmul(call: Call) -> torch.Tensor:
    if _is_data(call, 0) and _is_data(call, 1):
        raise call.refuse("a product of two computed tensors")
    constant = call.data(0 if _is_data(call, 1) else 1)
    if constant.ndim != 2:
        raise call.refuse(f"a constant of shape {tuple(constant.shape)} (two axes)")
    if _is_data(call, 0):
        return F.linear(call.x, constant.t())
    if call.data(1).ndim < 3:
        raise call.refuse("a constant times the batch")
    return F.linear(call.data(1).transpose(-1, -2), constant).transpose(-1, -2)


def _batch_norm(call: Call) -> torch.Tensor:
    if call.get("training_mode", 0):
        raise call.refuse("BatchNorm in training mode; export the model in eval mode")
    scale, bias, mean, variance = (
        call.constant(i, what) for i, what in enumerate(("scale", "bias", "mean", "variance"), 1)
    )
    epsilon = float(call.get("epsilon", 1e-5))
    return F.batch_norm(call.x, mean, variance, scale, bias, False, 0.0, epsilon)


def _clip(call: Call) -> torch.Tensor:
    low, high = call.scalar(1, "min"), call.scalar(2, "max")
    if low is None and high is None:
        return call.x
    if low is not None and high is not None and low > high:
        low = high
    return torch.clamp(call.x, low, high)


def _hard_sigmoid(call: Call) -> torch.Tensor:
    if is_torchs(call.attributes):
        return F.hardsigmoid(call.x)
    alpha, beta = float(call.get("alpha", 0.2)), float(call.get("beta", 0.5))
    return torch.clamp(call.x * alpha + beta, 0.0, 1.0)


def _gelu(call: Call) -> torch.Tensor:
    return F.gelu(call.x, approximate=call.get("approximate", "none"))


def _swish(call: Call) -> torch.Tensor:
    if float(call.get("alpha", 1.0)) != 1:
        raise call.refuse("alpha other than 1")
    return F.silu(call.x)


def _selu(call: Call) -> torch.Tensor:
    alpha, gamma = float(call.get("alpha", 1.6732632)), float(call.get("gamma", 1.0507010))
    return F.elu(call.x, alpha) * gamma


def _prelu(call: Call) -> torch.Tensor:
    slope = call.constant(1, "slope")
    if slope.numel() not in (1, call.x.shape[1]) or slope.numel() != max(slope.shape, default=1):
        raise call.refuse(f"slopes of shape {tuple(slope.shape)} (one, or one per channel)")
    return F.prelu(call.x, slope.reshape(-1))


def _binary(function: Callable[[Any, Any], Any]) -> Any:
    def handler(call: Call) -> Any:
        return function(call.operand(0), call.operand(1))

    return handler


def _sum(call: Call) -> torch.Tensor:
    result = call.data(0)
    for index in range(1, len(call.inputs)):
        result = result + call.data(index)
    return result


def _extreme(largest: bool) -> Any:
    """The larger or smaller one of any number of operands."""

    def handler(call: Call) -> torch.Tensor:
        first = next(i for i in range(len(call.inputs)) if _is_data(call, i))
        result = call.data(first)
        for index in (i for i in range(len(call.inputs)) if i != first):
            value = call.operand(index)
            if isinstance(value, torch.Tensor):
                result = (torch.maximum if largest else torch.minimum)(result, value)
            else:
                result = result.clamp(min=value) if largest else result.clamp(max=value)
        return result

    return handler


def _compared(function: Callable[[Any, Any], Any], mirrored: Callable[[Any, Any], Any]) -> Any:
    """A comparison, with the data first: c > x is x < c."""

    def handler(call: Call) -> Any:
        if _is_data(call, 0):
            return function(call.operand(0), call.operand(1))
        return mirrored(call.operand(1), call.operand(0))

    return handler


def _where(call: Call) -> torch.Tensor:
    mask = call.inputs[0]
    if not isinstance(mask, torch.Tensor):
        mask = torch.from_numpy(np.asarray(mask, np.bool_))
    result: torch.Tensor = torch.where(mask, call.operand(1), call.operand(2))
    return result


def _pow(call: Call) -> torch.Tensor:
    base: Any = call.operand(0)
    exponent: Any = call.operand(1)
    return torch.pow(base, exponent)


def _mod(call: Call) -> torch.Tensor:
    function = torch.fmod if call.get("fmod", 0) else torch.remainder
    return function(call.x, call.operand(1))


def _thresholded(call: Call) -> torch.Tensor:
    return F.threshold(call.x, float(call.get("alpha", 1.0)), 0.0)


def _shrink(call: Call) -> torch.Tensor:
    x, bias, limit = call.x, float(call.get("bias", 0.0)), float(call.get("lambd", 0.5))
    zeros = torch.zeros(())
    return torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, zeros))


def _einsum(call: Call) -> torch.Tensor:
    equation = call.get("equation", "")
    text = equation.decode() if isinstance(equation, bytes) else str(equation)
    return torch.einsum(text, *(call.data(i) for i in range(len(call.inputs))))


def _shifted(
    call: Call, kernel: list[int], window: tuple[list[int], ...]
) -> tuple[list[int], list[int]]:
    """PyTorch pads both sides alike: a padding that covers the file's, and how many of the first
    positions are then too many, by axis. What is behind the last position is cut off, too."""
    strides, dilations, begin, _, counts = window
    pads, skips = [], []
    for axis, size in enumerate(int(s) for s in call.x.shape[2:]):
        k, s, count = kernel[axis], strides[axis], counts[axis]
        span = dilations[axis] * (k - 1) + 1
        skip = 0
        while True:
            pad = begin[axis] + skip * s
            if 2 * pad > k:
                raise call.refuse(
                    f"pads {call.get('pads') or call.get('auto_pad')} of a {k} wide window"
                )
            there = -(-(size + 2 * pad - span) // s) + 1
            there -= (there - 1) * s >= size + pad
            if there >= skip + count:
                break
            skip += 1
        pads.append(pad)
        skips.append(skip)
    return pads, skips


def _cut(x: torch.Tensor, skips: list[int], counts: list[int]) -> torch.Tensor:
    """``counts`` positions behind the first ``skips``, by axis."""
    for axis, (skip, count) in enumerate(zip(skips, counts, strict=False), 2):
        if x.shape[axis] != count:
            x = x.narrow(axis, skip, count)
    return x


def _max_pool(call: Call) -> torch.Tensor:
    kernel = [int(k) for k in call.get("kernel_shape") or []]
    pool = F.max_pool1d if _spatial(call) == 1 else F.max_pool2d
    window = _window(call, kernel)
    strides, dilations, begin, end, counts = window
    if begin == end and all(2 * b <= k for b, k in zip(begin, kernel, strict=True)):
        ceil = bool(call.get("ceil_mode", 0))
        return _cut(pool(call.x, kernel, strides, begin, dilations, ceil_mode=ceil), [0, 0], counts)
    pads, skips = _shifted(call, kernel, window)
    pooled = pool(call.x, kernel, strides, pads, dilations, ceil_mode=True)
    return _cut(pooled, skips, counts)


def _average_pool(call: Call) -> torch.Tensor:
    kernel = [int(k) for k in call.get("kernel_shape") or []]
    pool = F.avg_pool1d if _spatial(call) == 1 else F.avg_pool2d
    window = _window(call, kernel)
    strides, dilations, begin, end, counts = window
    if max(dilations) > 1:
        raise call.refuse(f"dilations {dilations}")
    include, ceil = bool(call.get("count_include_pad", 0)), bool(call.get("ceil_mode", 0))
    x, skips = call.x, [0, 0]
    if begin != end or any(2 * b > k for b, k in zip(begin, kernel, strict=True)):
        if include:
            x, begin = _pad_space(x, begin, end), [0] * len(kernel)
        else:
            (begin, skips), ceil = _shifted(call, kernel, window), True
    return _cut(pool(x, kernel, strides, begin, ceil, include), skips, counts)


def _global(one: Callable[..., Any], two: Callable[..., Any]) -> Any:
    def handler(call: Call) -> Any:
        return one(call.x, 1) if _spatial(call) == 1 else two(call.x, 1)

    return handler


def _reduce(function: Callable[..., torch.Tensor]) -> Any:
    def handler(call: Call) -> torch.Tensor:
        axes = call.axes(1)
        if not axes:
            if call.get("noop_with_empty_axes", 0):
                return call.x
            raise call.refuse("a reduction over all axes")
        return function(call.x, dim=axes, keepdim=bool(call.get("keepdims", 1)))

    return handler


def _reshaped(call: Call, shape: list[int]) -> torch.Tensor:
    """Reshape; a first axis that is the batch of the file becomes the batch of now."""
    x = call.x
    sizes = [int(s) for s in x.shape]
    if sizes and sizes[0] == call.batch and shape:
        own = call.declared or 1
        leading, rest = shape[0], [s for s in shape[1:]]
        elements = prod(sizes[1:])
        if leading == own and (-1 in rest or prod(rest) == elements):
            shape = [call.batch, *rest]
        elif leading == -1 and prod(rest) == elements:
            shape = [call.batch, *rest]
    try:
        return x.reshape(shape)
    except RuntimeError:
        raise call.refuse(
            f"reshapes samples of shape {sizes[1:]} to {shape}: axis 0 must stay the batch"
        ) from None


def _reshape(call: Call) -> torch.Tensor:
    shape = call.numbers(1, "shape") or []
    if not call.get("allowzero", 0):
        sizes = [int(s) for s in call.x.shape]
        if any(s == 0 and i >= len(sizes) for i, s in enumerate(shape)):
            raise call.refuse(f"shape {shape} for data of shape {sizes}")
        shape = [sizes[i] if s == 0 else s for i, s in enumerate(shape)]
    return _reshaped(call, shape)


def _flatten(call: Call) -> torch.Tensor:
    x, axis = call.x, int(call.get("axis", 1))
    axis = axis + x.ndim if axis < 0 else axis
    if axis == 1:
        return x.flatten(1) if x.ndim > 1 else x[:, None]
    if axis < 1:
        raise call.refuse("flattens the batch")
    return x.reshape(prod(int(s) for s in x.shape[:axis]), -1)


def _transpose(call: Call) -> torch.Tensor:
    order = call.get("perm") or list(range(call.x.ndim))[::-1]
    if sorted(order) != list(range(call.x.ndim)):
        raise call.refuse(f"perm {order} for data with {call.x.ndim} axes")
    return call.x.permute([int(a) for a in order])


def _squeeze(call: Call) -> torch.Tensor:
    axes = call.axes(1)
    if axes is None:
        axes = [a for a, s in enumerate(call.x.shape) if s == 1 and a > 0]
    x = call.x
    for axis in axes:
        if x.shape[axis] != 1:
            what = "the batch axis" if axis == 0 else f"axis {axis} of {x.shape[axis]}"
            raise call.refuse(f"takes {what} away; export with a batch axis")
    for axis in sorted(axes, reverse=True):
        x = x.squeeze(axis)
    return x


def _unsqueeze(call: Call) -> torch.Tensor:
    listed = call.get("axes")
    listed = call.numbers(1, "axes") if listed is None else listed
    rank = call.x.ndim + len(listed or [])
    x = call.x
    for axis in sorted(int(a) % rank for a in listed or []):
        x = x.unsqueeze(axis)
    return x


def _concat(call: Call) -> torch.Tensor:
    parts = [call.part(i) for i in range(len(call.inputs))]
    data = next(p for i, p in enumerate(parts) if _is_data(call, i))
    parts = [
        p if _is_data(call, i) or p.ndim != data.ndim or p.shape[0] == data.shape[0]
        else p.expand(data.shape[0], *p.shape[1:])
        for i, p in enumerate(parts)
    ]  # fmt: skip
    return torch.cat(parts, int(call.get("axis", 0)))


def _slice(call: Call) -> torch.Tensor:
    x = call.x
    starts, ends = call.numbers(1, "starts") or [], call.numbers(2, "ends") or []
    axes = call.numbers(3, "axes")
    axes = list(range(len(starts))) if axes is None else [a % x.ndim for a in axes]
    steps = call.numbers(4, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise call.refuse("a step of 0")
        size = int(x.shape[axis])
        taken = range(*slice(start, end if end > -(1 << 60) else None, step).indices(size))
        if taken == range(size):
            continue
        if step < 0:
            x, taken = x.flip(axis), range(size - 1 - taken.start, size - 1 - taken.stop, -step)
        index: list[slice] = [slice(None)] * x.ndim
        index[axis] = slice(taken.start, max(taken.start, taken.stop), taken.step)
        x = x[tuple(index)]
    return x


def _split(call: Call) -> list[torch.Tensor]:
    axis = int(call.get("axis", 0)) % call.x.ndim
    sizes, size = call.numbers(1, "sizes"), int(call.x.shape[axis])
    if sizes is None:
        count = int(call.get("num_outputs", 0) or len(call.node.output))
        each = -(-size // count)
        sizes = [max(0, min(each, size - i * each)) for i in range(count)]
    if sum(sizes) != size:
        raise call.refuse(f"sizes {sizes} of an axis of {size}")
    return list(torch.split(call.x, sizes, axis))


def _gather(call: Call) -> torch.Tensor:
    axis = int(call.get("axis", 0)) % max(1, call.x.ndim)
    if not call.given(1) or _is_data(call, 1) or not _is_data(call, 0):
        raise call.refuse("indices that depend on data")
    index, size = np.asarray(call.inputs[1], np.int64), int(call.x.shape[axis])
    if index.ndim > 1 or (index.size and (index.min() < -size or index.max() >= size)):
        raise call.refuse(f"indices of shape {index.shape} for an axis of {size}")
    index = index % size
    if index.ndim == 0:
        return call.x.select(axis, int(index))
    return torch.cat([call.x.narrow(axis, int(i), 1) for i in index], axis)


def _pad(call: Call) -> torch.Tensor:
    mode, value = call.get("mode", "constant"), call.scalar(2, "value") or 0.0
    if mode != "constant" or value != 0:
        raise call.refuse(f"padding with mode {mode!r} and value {value:g} (only zeros are)")
    pads, rank = call.numbers(1, "pads") or [], call.x.ndim
    axes = call.numbers(3, "axes")
    axes = list(range(rank)) if axes is None else [a % rank for a in axes]
    if len(pads) != 2 * len(axes):
        raise call.refuse(f"{len(pads)} pads for {len(axes)} axes")
    both = [[0, 0] for _ in range(rank)]
    for place, axis in enumerate(axes):
        both[axis] = [pads[place], pads[place + len(axes)]]
    if any(both[0]):
        raise call.refuse("pads the batch")
    flat = [v for pair in reversed(both) for v in pair]
    while len(flat) > 2 and not any(flat[-2:]):
        flat = flat[:-2]
    _limit(call, [int(s) + sum(pair) for s, pair in zip(call.x.shape, both, strict=True)])
    return F.pad(call.x, flat) if any(flat) else call.x


def _expand(call: Call) -> torch.Tensor:
    shape, sizes = call.numbers(1, "shape") or [], [int(s) for s in call.x.shape]
    width = max(len(shape), len(sizes))
    shape = [1] * (width - len(shape)) + shape
    sizes = [1] * (width - len(sizes)) + sizes
    if len(call.x.shape) != width or prod(max(1, s) for s in shape) > LARGEST:
        raise call.refuse(f"data of shape {sizes} as {shape}")
    return call.x.expand([a if b == 1 else b for a, b in zip(shape, sizes, strict=True)])


def _tile(call: Call) -> torch.Tensor:
    repeats = call.numbers(1, "repeats") or []
    if len(repeats) != call.x.ndim or repeats[0] != 1 or prod(repeats) * call.x.numel() > LARGEST:
        raise call.refuse(f"repeats {repeats}")
    return call.x.repeat(repeats)


def _cast(call: Call) -> torch.Tensor:
    kind = int(call.get("to", onnx.TensorProto.FLOAT))
    if kind == onnx.TensorProto.BOOL:
        return call.x != 0
    if kind in (onnx.TensorProto.INT32, onnx.TensorProto.INT64):
        return call.x.to(torch.int64)
    if kind not in (
        onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE,
        onnx.TensorProto.BFLOAT16,
    ):  # fmt: skip
        raise call.refuse(f"makes {onnx.TensorProto.DataType.Name(kind)} of data")
    return call.x if call.x.is_floating_point() else call.x.to(torch.float32)


def _dropout(call: Call) -> torch.Tensor:
    if call.given(2) and bool(np.asarray(call.inputs[2]).any()) and call.scalar(1, "ratio") != 0:
        raise call.refuse("Dropout in training mode; export the model in eval mode")
    return call.x


def _depth_to_space(call: Call) -> torch.Tensor:
    n, c, h, w = (int(s) for s in call.x.shape)
    size = int(call.get("blocksize", 1))
    if size < 1 or c % (size * size):
        raise call.refuse(f"blocks of {size} of {c} channels")
    c //= size * size
    if call.get("mode", "DCR") == "CRD":
        x = call.x.reshape(n, c, size, size, h, w).permute(0, 1, 4, 2, 5, 3)
    else:
        x = call.x.reshape(n, size, size, c, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c, h * size, w * size)


def _space_to_depth(call: Call) -> torch.Tensor:
    n, c, h, w = (int(s) for s in call.x.shape)
    size = int(call.get("blocksize", 1))
    if size < 1 or h % size or w % size:
        raise call.refuse(f"blocks of {size} of {h} x {w} pixels")
    x = call.x.reshape(n, c, h // size, size, w // size, size)
    order = (0, 1, 3, 5, 2, 4) if call.get("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    x = x.permute(order)
    return x.reshape(n, c * size * size, h // size, w // size)


def _unary(function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    def handler(call: Call) -> torch.Tensor:
        return function(call.x)

    return handler


def _expected(call: Call, names: dict[str, Any]) -> None:
    """Refuse a recurrent layer whose attributes are other than what PyTorch computes."""
    for name, value in names.items():
        given = call.get(name)
        if given is not None and given != value:
            raise call.refuse(f"{name} = {given}: only {value} has a translation")


def _names(call: Call, names: list[str]) -> None:
    """Refuse activations other than ``names``, for one or both directions."""
    given = [n.decode() if isinstance(n, bytes) else str(n) for n in call.get("activations") or []]
    if given and [n.lower() for n in given] not in (names, names * 2):
        raise call.refuse(f"activations {given}: only {names} have a translation")


# ONNX's gates in PyTorch's order: GRU z r h -> r z n, LSTM i o f c -> i f g o.
GATES = {"GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1), "RNN": (0,)}


def gates_in_order(kind: str, weights: list[Any]) -> list[Any]:
    """W, R and B of an ONNX layer as PyTorch has them: w_ih, w_hh, b_ih, b_hh of each direction.

    Args:
        weights: arrays [directions, gates * H, I], [directions, gates * H, H] and, or not,
            [directions, 2 * gates * H].
    """
    result = []
    for direction in range(len(weights[0])):
        parts = [np.asarray(w[direction]) for w in weights]
        for part in (*parts[:2], *(np.split(parts[2], 2) if len(parts) > 2 else ())):
            gates = np.split(part, len(GATES[kind]))
            result.append(np.concatenate([gates[place] for place in GATES[kind]]))
    return result


def _recurrent(function: Callable[..., Any], states: int) -> Callable[[Call], list[torch.Tensor]]:
    """GRU, LSTM and RNN: [T, N, I] -> [T, directions, N, H] and the last states.

    The inputs are x, lengths, first h, first c, peepholes and then PyTorch's parameters; see
    ``gates_in_order``.

    Args:
        states: 2 for LSTM (hidden state and cell).
    """

    def handler(call: Call) -> list[torch.Tensor]:
        x, direction = call.x, call.get("direction", "forward")
        if call.given(1) or x.ndim != 3 or direction not in ("forward", "bidirectional"):
            raise call.refuse("sequence lengths, or a direction other than forward, bidirectional")
        if call.given(4) or call.get("clip") is not None:
            raise call.refuse("peepholes or clip")
        _expected(call, {"layout": 0, "input_forget": 0})
        parameters = [call.data(place) for place in range(5, len(call.inputs))]
        directions, size = 1 + (direction == "bidirectional"), int(parameters[1].shape[1])
        first = []
        for place in range(2, 2 + states):
            if call.given(place) and (_is_data(call, place) or np.any(call.inputs[place])):
                raise call.refuse("a first state other than zero")
            first.append(torch.zeros(directions, int(x.shape[1]), size))
        begin, biased = first if states == 2 else first[0], len(parameters) == 4 * directions
        sequence, *last = function(
            x, begin, parameters, biased, 1, 0.0, False, directions == 2, False
        )
        if directions == 1:
            return [sequence.unsqueeze(1), *last]
        parts = sequence.reshape(int(x.shape[0]), int(x.shape[1]), directions, size)
        return [parts.transpose(1, 2), *last]

    return handler


def _gru(call: Call) -> list[torch.Tensor]:
    if not call.get("linear_before_reset", 0):
        raise call.refuse("linear_before_reset = 0 (Keras: build the GRU with reset_after=True)")
    _names(call, ["sigmoid", "tanh"])
    return _recurrent(torch.gru, 1)(call)


def _lstm(call: Call) -> list[torch.Tensor]:
    _names(call, ["sigmoid", "tanh", "tanh"])
    return _recurrent(torch.lstm, 2)(call)


def _rnn(call: Call) -> list[torch.Tensor]:
    given = [str(n) for n in call.get("activations") or []]
    relu = bool(given) and "relu" in given[0].lower()
    _names(call, ["relu" if relu else "tanh"])
    return _recurrent(torch.rnn_relu if relu else torch.rnn_tanh, 1)(call)


def _known(onnx_operator: Onnx) -> Callable[[Call], torch.Tensor]:
    """An activation of the table."""
    function = getattr(F, onnx_operator.function)

    def handler(call: Call) -> torch.Tensor:
        values = [float(call.get(name, default)) for name, default in onnx_operator.attributes]
        result: torch.Tensor = function(call.x, *values)
        return result

    return handler


# Functions of single elements that PyTorch calls the same, in lower case.
UNARY = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp",
    "Log", "Reciprocal", "Sign", "Sin", "Sinh", "Sqrt", "Tan",
)  # fmt: skip
OPERATORS: dict[str, Callable[[Call], Any]] = {
    **{o.operator: _known(o) for known in TABLE for o in known.onnx if o.function},
    **{name: _unary(getattr(torch, name.lower())) for name in UNARY},
    "And": _binary(torch.logical_and),
    "Einsum": _einsum,
    "Equal": _compared(operator.eq, operator.eq),
    "Greater": _compared(operator.gt, operator.lt),
    "GreaterOrEqual": _compared(operator.ge, operator.le),
    "Less": _compared(operator.lt, operator.gt),
    "LessOrEqual": _compared(operator.le, operator.ge),
    "Max": _extreme(True),
    "Mean": lambda call: _sum(call) / len(call.inputs),
    "Min": _extreme(False),
    "Mod": _mod,
    "Not": _unary(torch.logical_not),
    "Or": _binary(torch.logical_or),
    "Pow": _pow,
    "ReduceL1": _reduce(lambda x, **how: x.abs().sum(**how)),
    "ReduceL2": _reduce(lambda x, **how: (x * x).sum(**how).sqrt()),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "ReduceSumSquare": _reduce(lambda x, **how: (x * x).sum(**how)),
    "Shrink": _shrink,
    "ThresholdedRelu": _thresholded,
    "Where": _where,
    "Xor": _binary(torch.logical_xor),
    "Add": _binary(operator.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "Div": _binary(operator.truediv),
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Floor": _unary(torch.floor),
    "GRU": _gru,
    "GlobalAveragePool": _global(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d),
    "GlobalMaxPool": _global(F.adaptive_max_pool1d, F.adaptive_max_pool2d),
    "HardSigmoid": _hard_sigmoid,
    "Identity": _unary(lambda x: x),
    "LSTM": _lstm,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Mul": _binary(operator.mul),
    "Neg": _unary(torch.neg),
    "PRelu": _prelu,
    "Pad": _pad,
    "RNN": _rnn,
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "Reshape": _reshape,
    "Resize": _resize,
    "Round": _unary(torch.round),
    "Selu": _selu,
    "Slice": _slice,
    "LogSoftmax": lambda call: F.log_softmax(call.x, int(call.get("axis", -1))),
    "Softmax": lambda call: F.softmax(call.x, int(call.get("axis", -1))),
    "Softsign": _unary(F.softsign),
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _binary(operator.sub),
    "Sum": _sum,
    "Swish": _swish,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

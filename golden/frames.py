# SPDX-License-Identifier: Apache-2.0
"""Arrays of samples to and from the beats of the streams."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bramcast.golden.groups import Groups, layer_pixels
from bramcast.golden.loops import affine
from bramcast.golden.machine import Machine
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.manifest import Frame, Manifest
from bramcast.pack.bundle.program import Nest


def frames_from_arrays(samples: NDArray[np.generic], frame: Frame) -> NDArray[np.int64]:
    """Arrays of samples as stream frames.

    Floats are quantized to ``frame.format`` (nearest, ties towards +inf, saturated); integers
    are taken to be in that format already. Floats are those of ``sent_values``. With two planes a
    feature becomes two elements: hi = the nearest integer, lo = what is missing in units of
    lsb * 2**-plane_shift.

    Args:
        samples: [n, *frame.shape], float or integer.

    Returns:
        int64 [n, beats], beats = y * x * c * planes.

    Raises:
        InputError: wrong shape, NaN, or integers outside the format.
    """
    if list(samples.shape[1:]) != list(frame.shape):
        raise InputError(
            f"inputs have shape {list(samples.shape)}, expected "
            f"[samples, {', '.join(str(n) for n in frame.shape)}]"
        )
    flat = in_stream_order(samples, frame)
    q = frame.format.q
    if not np.issubdtype(flat.dtype, np.floating):
        if frame.planes != 1:
            raise InputError(f"an input of {frame.planes} planes is quantized from floats only")
        whole = flat.astype(np.int64)
        if whole.size and (whole.min() < q.min or whole.max() > q.max):
            raise InputError(
                f"integer inputs must lie in {q.min}..{q.max} ({q}), "
                f"got {whole.min()}..{whole.max()}"
            )
        return whole
    real = _as_sent(flat, frame)
    if not np.all(np.isfinite(real)):
        sample = int(np.flatnonzero(~np.all(np.isfinite(real), axis=1))[0])
        raise InputError(f"input sample {sample} has values that are not finite")
    high = q.quantize(real)
    if frame.planes == 1:
        return high
    if frame.planes != 2:
        raise InputError(f"an input has one or two planes, the manifest says {frame.planes}")
    rest = real / q.lsb - high
    low = np.floor(rest * 2.0**frame.plane_shift + 0.5)
    low = np.clip(low, q.min, q.max).astype(np.int64)
    return np.stack([high, low], axis=2).reshape(len(flat), -1)


def as_samples(x: ArrayLike | Mapping[str, ArrayLike], manifest: Manifest) -> NDArray[np.generic]:
    """Samples as ``frames_of`` takes them; those of several inputs as arrays by their names.

    Raises:
        InputError: another number of samples, or an input's array is missing.
    """
    if not isinstance(x, Mapping):
        return np.asarray(x)
    arrays = []
    for frame in manifest.inputs:
        if frame.name not in x:
            raise InputError(f"no array {frame.name!r}; there are {', '.join(x) or 'none'}")
        array = np.asarray(x[frame.name])
        if list(array.shape[1:]) != list(frame.shape):
            raise InputError(
                f"{frame.name} has shape {list(array.shape)}, expected [samples, "
                f"{', '.join(str(n) for n in frame.shape)}]"
            )
        arrays.append(array)
    if len({len(array) for array in arrays}) > 1:
        raise InputError(f"the inputs have {[len(array) for array in arrays]} samples")
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)


def frames_of(samples: NDArray[np.generic], manifest: Manifest) -> NDArray[np.int64]:
    """Samples as stream frames of a network with one input or several.

    Args:
        samples: as ``frames_from_arrays`` takes them; of several inputs [n, elements], the elements
            of one behind those of the other, each in the author's order.

    Raises:
        InputError: as ``frames_from_arrays``.
    """
    if not manifest.more_inputs:
        return frames_from_arrays(samples, manifest.input)
    total = sum(prod(frame.shape) for frame in manifest.inputs)
    if samples.ndim != 2 or samples.shape[1] != total:
        shapes = " and ".join(str(frame.shape) for frame in manifest.inputs)
        raise InputError(
            f"inputs have shape {list(samples.shape)}, expected {shapes} in one vector"
        )
    found, start = [], 0
    for frame in manifest.inputs:
        end = start + prod(frame.shape)
        piece = samples[:, start:end].reshape(len(samples), *frame.shape)
        found.append(frames_from_arrays(piece, frame))
        start = end
    return np.concatenate(found, axis=1)


def whole_frames(last: NDArray[np.bool_], elements: int) -> tuple[NDArray[np.int64], int, int]:
    """The frames of a stream that the core computes (core.md, "Borders of frames").

    TLAST ends a frame. One that has another number of elements then is dropped.

    Args:
        last: [n], TLAST of each element of the stream.
        elements: of a whole frame.

    Returns:
        int64 [frames], the number of each whole frame's first element; how many frames were
        shorter, how many were longer. What stands behind the last TLAST has not ended.

    >>> whole_frames(np.array([0, 1, 0, 0, 1, 1, 0, 1, 0], bool), 2)
    (array([0, 6]), 1, 1)
    """
    ends = np.flatnonzero(last) + 1
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(ends)]
    lengths = ends - starts
    short, long = int((lengths < elements).sum()), int((lengths > elements).sum())
    return starts[lengths == elements], short, long


def output_packets(machine: Machine) -> tuple[int, ...]:
    """Beats of each packet in which the results of a frame leave: one for each output.

    Each ends with TLAST: that of the program's last nest, and of nests with ``packet_end``.
    """
    sizes, beats = list[int](), 0
    for d in machine.program:
        if isinstance(d, Nest) and d.stream:
            beats += Groups.of(d, machine.core).results
            if d.packet_end or d.last:
                sizes.append(beats)
                beats = 0
    return tuple(sizes)


def in_packets(beats: NDArray[np.int64], machine: Machine) -> list[NDArray[np.int64]]:
    """The results of one frame [beats], packet by packet."""
    return np.split(beats, np.cumsum(output_packets(machine))[:-1])


def class_of(packet: NDArray[np.int64]) -> int:
    """TUSER with a packet's last beat: the number of its largest, the first one of equals."""
    return int(np.argmax(packet)) & 0xFFFF


def in_stream_order(samples: NDArray[Any], frame: Frame) -> NDArray[Any]:
    """Features [n, y * x * c] of samples [n, *frame.shape], c fastest."""
    flat = samples.reshape(len(samples), -1)
    order = affine(tuple(frame.dims), tuple(frame.strides))
    if order.size != flat.shape[1] or not np.array_equal(order, np.arange(order.size)):
        flat = flat[:, order]
    return flat


def sent_values(samples: NDArray[np.floating], frame: Frame) -> NDArray[np.float64]:
    """The real numbers that a frame stands for, in stream order, before they are quantized.

    Feature c of each pixel is (feature - offsets[c]) * 2**exponents[c], in float64: only the
    difference may round.

    Args:
        samples: [n, *frame.shape].

    Returns:
        float64 [n, y * x * c].

    >>> from bramcast.pack.bundle.manifest import Format
    >>> q = Format(8, 7, True)
    >>> frame = Frame([4], [1, 2, 2], [0, 2, 1], q, exponents=[0, 3], offsets=[300.0, 0.0])
    >>> sent_values(np.array([[300.5, 0.25, 299.0, -1.0]]), frame)
    array([[ 0.5,  2. , -1. , -8. ]])
    """
    return _as_sent(in_stream_order(samples, frame), frame)


def _as_sent(flat: NDArray[Any], frame: Frame) -> NDArray[np.float64]:
    """The same of features that are in stream order already."""
    pixels, real = frame.dims[0] * frame.dims[1], flat.astype(np.float64)
    if frame.offsets:
        real = real - np.tile(np.array(frame.offsets), pixels)
    if frame.exponents:
        real = real * np.tile(2.0 ** np.array(frame.exponents), pixels)
    return real


def output_order(machine: Machine) -> NDArray[np.int64]:
    """Where each beat of the output stream belongs in the flat output array: int64 [beats].

    Of several outputs that array is one of them behind the other.

    Raises:
        InputError: the manifest does not fit the program.
    """
    manifest = machine.manifest
    if manifest is None:
        raise ValueError("the machine was made without a manifest")
    parts = list[NDArray[np.int64]]()
    frames, before, filled = manifest.outputs, 0, 0  # elements of the outputs before this one
    for index, d in enumerate(machine.program):
        if not isinstance(d, Nest) or not d.stream:
            continue
        if filled == prod(frames[0].shape) and len(frames) > 1:
            before, filled = before + filled, 0
            del frames[0]
        frame, start = frames[0], len(parts)
        info, groups = manifest.nests[index - 1], Groups.of(d, machine.core)
        places = np.array(frame.channel_places, np.int64)
        lanes = places[np.minimum(info.channels, len(places) - 1)]  # -1 does not leave
        if info.columns:
            lanes += np.array(info.columns, np.int64) * frame.strides[1]
        y, x = (np.arange(s.start, s.stop, s.step) for s in layer_pixels(d, info))
        pixel = (y[:, None] * frame.strides[0] + x * frame.strides[1]).reshape(-1)
        for g in range(groups.count):
            mine = lanes[g * groups.width :][: groups.valid(g)]
            parts.append(before + (pixel[:, None] + mine).reshape(-1))
        filled += sum(part.size for part in parts[start:])
    order = np.concatenate(parts)
    if not np.array_equal(np.sort(order), np.arange(manifest.output_elements)):
        shapes = " and ".join(str(frame.shape) for frame in manifest.outputs)
        raise InputError(
            f"manifest.json: output: the program's {order.size} results do not fill an array of "
            f"shape {shapes}"
        )
    return order


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """One output of some samples, in the network's own shape.

    Attributes:
        name: empty where the network has one output.
        integers: int64 [samples, *shape].
        real: what they stand for, float64.
        signed: of the format; a single unsigned number is a probability.
    """

    name: str
    integers: NDArray[np.int64]
    real: NDArray[np.float64]
    signed: bool


def outputs_from_beats(beats: NDArray[np.int64], machine: Machine) -> list[Output]:
    """The output stream as the arrays of all outputs, in their order.

    Args:
        beats: int64 [samples, beats].

    Raises:
        InputError: the manifest does not fit the program.
    """
    order = output_order(machine)
    assert machine.manifest is not None
    flat = np.empty_like(beats)
    flat[:, order] = beats
    found, start = [], 0
    for frame in machine.manifest.outputs:
        end = start + prod(frame.shape)
        integers = flat[:, start:end].reshape(len(beats), *frame.shape)
        q = frame.format.q
        found.append(Output(frame.name, integers, q.real(integers), q.signed))
        start = end
    return found


def arrays_from_beats(
    beats: NDArray[np.int64], machine: Machine
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The output stream of a network with one output as arrays in its own shape.

    Args:
        beats: int64 [samples, beats].

    Returns:
        (integers, real values), both [samples, *output.shape].

    Raises:
        InputError: the manifest does not fit the program.
    """
    (output,) = outputs_from_beats(beats, machine)
    return output.integers, output.real

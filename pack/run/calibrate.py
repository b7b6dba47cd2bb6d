# SPDX-License-Identifier: Apache-2.0
"""Runs the captured network on samples: statistics for the formats, the float network's accuracy,
and the quantized graph. Imports torch.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from math import log10
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bramcast.pack.bundle.errors import InputError, RangeError, UnsupportedLayer
from bramcast.pack.bundle.judgement import EQUAL_DB, classes_of, varying
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.bounds import known_bounds
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Op, Weighted
from bramcast.pack.passes.two_planes import Planes
from bramcast.pack.quantize.formats import Statistics, best_fraction
from bramcast.pack.quantize.op import QuantizedOp
from bramcast.pack.quantize.reads import Reads
from bramcast.pack.read.model_file import silent_graphs, users_code
from bramcast.pack.run import execute
from bramcast.pack.samples.inputs import Inputs

MODULE_TOLERANCE = 1e-3  # of the largest output; the model runs in float32
FLOAT32_MAX = float(np.finfo(np.float32).max)
PRECISE_SAMPLES = 8  # on which float32 is compared with float64
COARSE = 1e-9  # of the outputs' variance: a larger error of float32 would be seen
ONE_PLANE_DB = 24.0  # signal to noise at the output that one plane of input must leave

Progress = Callable[[str, int, int], None]  # what, done, of


def silent(what: str, done: int, of: int) -> None:
    """The progress of what nobody watches."""


def needs_planes(graph: Graph, inputs: Inputs, bits: int) -> bool:
    """Whether one plane of input alone costs the network's output too much."""
    samples = graph.framed(inputs.calibration[:256])
    signed = bool(samples.min() < 0)
    fmt = QFormat(bits, best_fraction([samples.ravel()], bits, signed), signed)
    return is_coarse(graph, inputs, fmt.rounded)


def is_coarse(
    graph: Graph,
    inputs: Inputs,
    rounded_to: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> bool:
    """Whether rounding the input alone leaves the network's output less than ONE_PLANE_DB.

    Compares the real network on rounded and on exact calibration samples.
    """
    signal, noise = [0.0] * len(graph.sent), [0.0] * len(graph.sent)
    with torch.no_grad():
        for batch in execute.batches(inputs.calibration[:256], _batch_size(graph)):
            elements = graph.framed(batch)
            exact, rounded = (
                _outcome(graph, execute.frame_tensor(graph, values))
                for values in (elements, rounded_to(elements))
            )
            for number, (a, b) in enumerate(zip(exact, rounded, strict=True)):
                signal[number] += float((a**2).sum())
                noise[number] += float(((a - b) ** 2).sum())
    most = 10.0 ** (-ONE_PLANE_DB / 10)
    return any(n > s * most for s, n in zip(signal, noise, strict=True))


def varying_db(
    graph: Graph,
    inputs: Inputs,
    offsets: NDArray[np.float64],
    bits: int,
    shift: int | None,
    fmt: QFormat | None,
) -> float:
    """What rounding the input leaves of what varies between samples in the output, decibels.

    Of several outputs: in the one with the least.

    Args:
        offsets: what is subtracted from the frame's elements before they are rounded, [C * H * W].
        shift: how many bits two planes are apart; None for one.
        fmt: the input's format, the best one if None.
    """
    samples = inputs.calibration[:64]
    frames = graph.framed(samples) - offsets
    if fmt is None:
        signed = shift is not None or bool(frames.min() < 0)
        fmt = QFormat(bits, best_fraction([frames.ravel()], bits, signed), signed)
    planes = None if shift is None else Planes(fmt, shift)
    parts = []
    with torch.no_grad():
        for start in range(0, len(frames), _batch_size(graph)):
            values = frames[start : start + _batch_size(graph)]
            few = (planes or fmt).rounded(values)
            both = [
                _outcome(graph, execute.frame_tensor(graph, v + offsets)) for v in (values, few)
            ]
            parts.append(both)
    least = EQUAL_DB
    for number in range(len(graph.sent)):
        exact, rounded = (
            np.concatenate([pair[which][number].numpy() for pair in parts]) for which in (0, 1)
        )
        signal = float(((exact - exact.mean(axis=0)) ** 2).sum())
        noise = float(((exact - rounded) ** 2).sum())
        if noise and signal:  # a constant output has nothing to lose
            least = min(least, 10 * log10(signal / noise))
    return least


def _outcome(graph: Graph, frame: torch.Tensor) -> list[torch.Tensor]:
    """The real network's results that leave, [N, C, H, W] each."""
    return execute.outputs(graph, frame, execute.real_compute)


def frame_values(
    graph: Graph, samples: NDArray[np.floating], planes: Planes | None
) -> torch.Tensor:
    """Real samples as the stored input frame [N, C, H, W]; two planes interleaved."""
    if planes is None:
        return execute.input_tensor(graph, samples)
    t = graph.input
    shape = (len(samples), t.channels // 2, t.height, t.width)
    hi, lo = planes.split(graph.framed(samples))
    parts = [torch.from_numpy(part * planes.fmt.lsb).reshape(shape) for part in (hi, lo)]
    return torch.stack(parts, dim=2).flatten(1, 2)


def _batch_size(graph: Graph) -> int:
    largest = max(t.elements for t in graph.tensors)
    return max(1, min(64, (1 << 22) // largest))


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Statistics of every stored tensor, by index, and of what activations see (``Op.before``), and
    of what weights meet, by operation. Operations with the same weights share the latter."""

    tensors: dict[int, Statistics]
    reads: dict[str, Reads]


def calibrate(
    graph: Graph, inputs: Inputs, planes: Planes | None, progress: Progress
) -> Calibrated:
    """Run the real network on the calibration samples.

    Raises:
        RangeError: float32, in which the model computes, does not hold a result.
    """
    rng = np.random.default_rng(0)
    stored = [graph.input, *(op.out for op in graph.ops)]
    statistics = {t.index: Statistics(rng) for t in stored}
    statistics |= {op.before: Statistics(rng) for op in graph.ops if op.activation is not None}
    shared: dict[tuple[object, ...], Reads] = {}
    reads: dict[str, Reads] = {}
    for op in graph.ops:
        if isinstance(op, Weighted) and not op.exact:
            key = (op.weight.tobytes(), op.weight.shape, op.view.shape[0])
            reads[op.name] = shared.setdefault(key, Reads())

    def compute(op: Op, operands: list[torch.Tensor]) -> torch.Tensor:
        if op.name in reads:
            reads[op.name].observe(operands[0].double().numpy())
        clamped = execute.real_clamped(op, operands)
        if op.activation is not None:
            statistics[op.before].observe(clamped.numpy())
        return execute.activated(op, clamped)

    samples = inputs.calibration
    done = 0
    with torch.no_grad():
        for batch in execute.batches(samples, _batch_size(graph)):
            frame = frame_values(graph, batch, planes)
            statistics[graph.input.index].observe(frame.numpy())
            for step in execute.run(graph, frame, compute):
                statistics[step.op.out.index].observe(step.result.numpy())
                if graph.leaves(step.op):
                    _check_finite(graph, batch, step.result.numpy(), inputs.path, done)
            done += len(batch)
            progress("calibrating", done, len(samples))
    if planes is None:  # the sign is that of all samples, so that none is cut off
        seen = statistics[graph.input.index]
        lowest = graph.framed(inputs.x) if graph.input_offsets.size else inputs.x
        seen.low = min(seen.low, float(lowest.min()))
    return Calibrated(statistics, reads)


def largest_values(graph: Graph, inputs: Inputs) -> dict[int, float]:
    """The largest magnitude of every stored tensor on some calibration samples, by index."""
    samples = inputs.calibration[:64]
    result: dict[int, float] = {}
    with torch.no_grad():
        for batch in execute.batches(samples, _batch_size(graph)):
            frame = execute.input_tensor(graph, batch)
            result[0] = max(result.get(0, 0.0), float(frame.abs().max()))
            for step in execute.run(graph, frame, execute.real_compute):
                index = step.op.out.index
                result[index] = max(result.get(index, 0.0), float(step.result.abs().max()))
    return result


def check_against_module(graph: Graph, module: nn.Module, inputs: Inputs) -> None:
    """Run the model itself and the folded graph on a few samples; they must agree.

    Raises:
        RangeError: the model itself gives inf or NaN.
        UnsupportedLayer: they differ by more than rounding: something was not captured as it is.
    """
    samples = inputs.calibration[:8]
    with torch.no_grad():
        with users_code(inputs.path), silent_graphs(module):
            answer = module(*_taken(graph, samples.astype(np.float32)))
        exact = _results(answer)
        for one in exact:
            _check_finite(graph, samples, one, inputs.path)
        frame = execute.input_tensor(graph, samples)
        logits = execute.output_array(graph, _outcome(graph, frame))
        captured = execute.with_softmax(graph, torch.from_numpy(logits)).numpy()
    got = graph.cut(captured.reshape(len(samples), -1))
    # Where forward() rounds or jumps, float32 and float64 may fall on different sides.
    rounds = any(
        op.rounds is not None or (op.activation is not None and op.activation.operators)
        for op in graph.ops
    )

    def error_of(number: int, reference: NDArray[np.float64]) -> float:
        far = np.abs(got[number].reshape(reference.shape) - reference)
        return float(far.mean() if rounds else far.max())

    precise: list[NDArray[np.float64]] | None = None
    for number, reference in enumerate(exact):
        largest = max(float(np.abs(reference).max()), 1e-30)
        error = error_of(number, reference)
        if error <= MODULE_TOLERANCE * largest:
            continue
        # float32 itself may be the one that is off: large offsets that a normalisation takes away.
        if precise is None:
            precise = _in_float64(module, _taken(graph, samples), inputs.path) or []
        if number < len(precise) and precise[number].shape == reference.shape:
            if error_of(number, precise[number]) <= MODULE_TOLERANCE * largest:
                continue
        what = "its outputs reach" if len(exact) == 1 else f"its output {number} reaches"
        raise UnsupportedLayer(
            f"model {graph.name!r}: what bramcast captured differs from the model by {error:.3g} "
            f"({what} {largest:.3g}); an in-place operation on a view, a cast or "
            "randomness in forward() is not captured: write it without"
        )


def _check_finite(
    graph: Graph,
    samples: NDArray[np.floating],
    exact: NDArray[np.float64],
    path: Path,
    before: int = 0,
    kind: str = "calibration sample",
) -> None:
    """Refuse a network that gives inf or NaN; names the first layer that is beyond float32.

    Args:
        exact: its results, [len(samples), ...].
        before: how many samples came before these.
        kind: what the samples are.
    """
    bad = ~(np.abs(exact.reshape(len(samples), -1)) <= FLOAT32_MAX).all(axis=1)
    if not bad.any():
        return
    sample = int(np.flatnonzero(bad)[0])
    frame = execute.input_tensor(graph, samples[sample : sample + 1])
    beyond = (
        step.op
        for step in execute.run(graph, frame, execute.real_compute)
        if not float(step.result.abs().max()) <= FLOAT32_MAX  # NaN, too
    )
    first = next(beyond, None)
    where = "" if first is None else f" from layer {first.name!r} on ({first.source})"
    raise RangeError(
        f"model {graph.name!r}: its results are infinite or NaN{where}, in float32, for "
        f"{kind} {before + sample} of {path}: look for large weights with bramcast "
        "inspect, and at the scale of the samples"
    )


def _taken(graph: Graph, samples: NDArray[np.floating]) -> list[torch.Tensor]:
    """Samples as forward() takes them, a tensor for each input."""
    if not graph.input_parts:
        return [torch.from_numpy(samples)]
    pieces = zip(graph.input_parts, graph.input_slices, strict=True)
    return [
        torch.from_numpy(samples[:, mine].reshape(len(samples), *part.shape))
        for part, mine in pieces
    ]


def _results(answer: object) -> list[NDArray[np.float64]]:
    """The tensors that forward() has returned, one after another."""
    leaves = torch.utils._pytree.tree_leaves(answer)
    return [np.asarray(leaf.double().numpy()) for leaf in leaves if leaf is not None]


def _in_float64(
    module: nn.Module, samples: list[torch.Tensor], path: Path
) -> list[NDArray[np.float64]] | None:
    """The module's answer with float64 throughout; None where its code insists on float32."""
    try:
        precise = deepcopy(module).double()
        with torch.no_grad(), users_code(path), silent_graphs(module):
            return _results(precise(*(part.double() for part in samples)))
    except Exception:  # the user's code may raise whatever it likes: then float32 decides
        return None


def class_middle(graph: Graph, number: int = 0) -> float:
    """What a single output of class 1 is above: 0, or 0.5 where it can't be negative (sigmoid).

    Args:
        number: of the output.
    """
    tensor = graph.sent[number]
    op = graph.producer(tensor)
    assert op is not None
    bounds = known_bounds(graph).get(tensor.index, (-np.inf, np.inf))
    return 0.5 if max(bounds[0], op.clamp.lo) >= 0 else 0.0


def right_classes(
    graph: Graph, outputs: NDArray[np.floating], labels: NDArray[np.integer], number: int = 0
) -> int:
    """How many samples have their label: that of the largest output, the lowest index of a tie.

    Of a single output class 1 is above 0, or above 0.5 where it can't be negative (a sigmoid).

    Args:
        outputs: real numbers [N, ...], all results.
        number: which result the labels are of.
    """
    mine = graph.cut(outputs.reshape(len(outputs), -1))[number]
    return int((classes_of(mine, class_middle(graph, number)) == labels).sum())


@dataclass(frozen=True, slots=True, eq=False)
class FloatRun:
    """What the float network gives.

    Attributes:
        accuracy: its share of right classes among all samples; None without labels, and for a
            single output with others than 0 and 1.
        chosen: int64 [n], the samples by which the packed network is judged, by number.
        outputs: float64 [n, elements], its results on these in the author's order.
    """

    accuracy: float | None
    chosen: NDArray[np.int64]
    outputs: NDArray[np.float64]


def float_run(
    graph: Graph, inputs: Inputs, chosen: NDArray[np.int64], progress: Progress
) -> FloatRun:
    """Run the float network on every sample that has a label, and on those of ``chosen``.

    In float32, which is fast; where that is too coarse for the outputs, those of ``chosen`` are
    those of float64.

    Raises:
        InputError: labels that the network can't give.
        RangeError: results that are infinite or NaN.
    """
    labelled, y = inputs.y_of, inputs.y
    size = graph.results[labelled].size
    classes = max(2, size)
    if y is not None and size == 1 and y.max() > 1:
        y = None
    if y is not None and (y.min() < 0 or y.max() >= classes):
        raise InputError(
            f"{inputs.path}: y has labels {y.min()}..{y.max()}, the network has "
            f"{classes} outputs (labels 0..{classes - 1})"
        )
    wanted = np.zeros(len(inputs.x), np.bool_)
    wanted[chosen] = True
    samples = inputs.x if y is not None else inputs.x[chosen]
    right = done = 0
    parts = []
    for out in _outputs(graph, samples, torch.float32):
        if y is not None:
            _check_finite(graph, inputs.x[done : done + len(out)], out, inputs.path, done, "sample")
            right += right_classes(graph, out, y[done : done + len(out)], labelled)
            out = out[wanted[done : done + len(out)]]
            done += _batch_size(graph)
            progress("float accuracy", min(done, len(samples)), len(samples))
        parts.append(out)
    outputs = np.concatenate(parts)
    for number, out in zip(chosen, outputs, strict=True):
        if not np.isfinite(out).all():
            one = inputs.x[number : number + 1]
            _check_finite(graph, one, out[None], inputs.path, int(number), "sample")
    few = np.concatenate(list(_outputs(graph, inputs.x[chosen[:PRECISE_SAMPLES]], torch.float64)))
    signal, error = varying(few), ((few - outputs[: len(few)]) ** 2).sum(axis=1).mean()
    if error > COARSE * (signal or (few**2).sum(axis=1).mean()):
        outputs = np.concatenate(list(_outputs(graph, inputs.x[chosen], torch.float64)))
    return FloatRun(None if y is None else right / len(inputs.x), chosen, outputs)


def _outputs(
    graph: Graph, samples: NDArray[np.floating], dtype: torch.dtype
) -> Iterator[NDArray[np.float64]]:
    """The real network's results on batches, in the author's order, float64 [n, elements]."""
    with torch.no_grad():
        for batch in execute.batches(samples, _batch_size(graph)):
            found = _outcome(graph, execute.input_tensor(graph, batch).to(dtype))
            yield execute.output_array(graph, [r.double() for r in found]).reshape(len(batch), -1)


def integer_frame(
    graph: Graph, fmt: QFormat, planes: Planes | None, samples: NDArray[np.floating]
) -> torch.Tensor:
    """Real samples as the integers of the stored input frame, float64 [N, C, H, W]."""
    if planes is not None:
        return frame_values(graph, samples, planes) / fmt.lsb
    real = execute.input_tensor(graph, samples)
    return torch.from_numpy(fmt.quantize(real.numpy())).double()


def integer_results(
    graph: Graph,
    quantized: dict[str, QuantizedOp],
    fmt: QFormat,
    planes: Planes | None,
    samples: NDArray[np.floating],
) -> dict[str, NDArray[np.int64]]:
    """The quantized graph: every operation's result, int64 [N, C, H, W], by its name."""
    with torch.no_grad():
        frame = integer_frame(graph, fmt, planes, samples)
        steps = execute.run(graph, frame, execute.integer_compute(quantized))
        return {s.op.name: s.result.to(torch.int64).numpy() for s in steps}


def integer_outputs(
    graph: Graph,
    quantized: dict[str, QuantizedOp],
    fmt: QFormat,
    planes: Planes | None,
    samples: NDArray[np.floating],
) -> NDArray[np.float64]:
    """The quantized graph's results in the author's order, real numbers [N, elements]."""
    parts = []
    with torch.no_grad():
        for batch in execute.batches(samples, _batch_size(graph)):
            frame = integer_frame(graph, fmt, planes, batch)
            found = execute.outputs(graph, frame, execute.integer_compute(quantized))
            real = execute.real_numbers(graph, quantized, found)
            parts.append(execute.output_array(graph, real))
    return np.concatenate(parts).reshape(len(samples), -1)


def real_outputs(
    graph: Graph, samples: NDArray[np.floating], planes: Planes | None
) -> NDArray[np.float64]:
    """The real network's results in the author's order, float64 [N, elements]."""
    parts = []
    with torch.no_grad():
        for batch in execute.batches(samples, _batch_size(graph)):
            frame = frame_values(graph, batch, planes)
            found = [result.double() for result in _outcome(graph, frame)]
            parts.append(execute.output_array(graph, found))
    return np.concatenate(parts).reshape(len(samples), -1)


def real_results(
    graph: Graph, samples: NDArray[np.floating], planes: Planes | None
) -> dict[str, NDArray[np.float64]]:
    """The real network: every operation's result, float64 [N, C, H, W], by its name."""
    with torch.no_grad():
        frame = frame_values(graph, samples, planes)
        steps = execute.run(graph, frame, execute.real_compute)
        return {s.op.name: s.result.double().numpy() for s in steps}


def layer_noise(
    graph: Graph,
    quantized: dict[str, QuantizedOp],
    fmt: QFormat,
    planes: Planes | None,
    samples: NDArray[np.floating],
) -> dict[str, float]:
    """Signal to noise of every operation's quantized results against the real ones, decibels.

    At most ``EQUAL_DB``, which stands for no difference, too.
    """
    signal = dict.fromkeys((op.name for op in graph.ops), 0.0)
    noise = dict(signal)
    for start in range(0, len(samples), _batch_size(graph)):
        part = samples[start : start + _batch_size(graph)]
        real = real_results(graph, part, planes)
        for name, integers in integer_results(graph, quantized, fmt, planes, part).items():
            signal[name] += float((real[name] ** 2).sum())
            noise[name] += float(((quantized[name].out.real(integers) - real[name]) ** 2).sum())
    least = 10.0 ** (-EQUAL_DB / 10)
    return {
        # A result that is zero in both has no signal, and no noise either.
        name: round(10 * log10(max(power, 1e-300) / max(noise[name], power * least, 1e-300)), 2)
        if noise[name]
        else EQUAL_DB
        for name, power in signal.items()
    }


def channel_maxima(
    graph: Graph, samples: NDArray[np.floating], planes: Planes | None
) -> dict[int, NDArray[np.float64]]:
    """The largest magnitude of each channel of each result, by tensor: float64 [C]."""
    maxima: dict[int, NDArray[np.float64]] = {}
    with torch.no_grad():
        for batch in execute.batches(samples, _batch_size(graph)):
            frame = frame_values(graph, batch, planes)
            for step in execute.run(graph, frame, execute.real_compute):
                here = step.result.abs().amax(dim=(0, 2, 3)).double().numpy()
                index = step.op.out.index
                maxima[index] = np.maximum(maxima.get(index, here), here)
    return maxima

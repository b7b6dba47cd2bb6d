# SPDX-License-Identifier: Apache-2.0
"""Accuracy with 8 bits beside ONNX Runtime's: ``python bench/accuracy.py``; see docs/accuracy.md.

Each network is packed as its recipe says, without retraining, and golden runs every sample. The
same module goes through ONNX Runtime's static quantization (QDQ, int8, weights per channel) with
three calibrations. Exit code 1 if a judged network misses a limit, 2 for wrong input.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from recipes import DIGITS, shared_recipe
from torch import nn

from bramcast.golden.frames import arrays_from_beats, frames_from_arrays
from bramcast.golden.load import load
from bramcast.golden.metrics import (
    classes_of,
    labelled_accuracy,
    mean_squared_error,
)
from bramcast.pack.bundle.errors import InputError, RecipeError, ToolError, UserError
from bramcast.pack.bundle.program import Loop
from bramcast.pack.pipeline import pack
from bramcast.pack.read.network import read_model
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import Inputs, read_inputs

EXAMPLES = [DIGITS / f"{name}.toml" for name in ("mlp", "dscnn", "gru")]
SHARED = (
    "kws_dscnn_mlperf", "kws_cnn_m_arm", "kws_mlp_dnn_m_arm", "kws_gru_s_arm", "mnist_lenet",
    "resnet8_mlperf", "vww_mobilenet_mlperf", "ad01_autoencoder_mlperf",
)  # fmt: skip

MOST_LOSS = Fraction(1, 2)  # points
MOST_LOSS_RECURRENT = Fraction(1)
BEHIND_POINTS = Fraction(3, 10)  # behind ONNX Runtime's best; or so many samples
BEHIND_SAMPLES = 2
FEWEST = 100  # samples; accuracy on less is shown, not judged
MOST_ERROR = Fraction(2, 100)  # of the float network's reconstruction error

CALIBRATIONS = ("MinMax", "Percentile", "Entropy")
PERCENTILE = 99.99
OPERATOR_SET = 17
BATCH = 50
WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul", "GRU", "LSTM", "RNN"}


@dataclass(frozen=True, slots=True)
class Row:
    """What one network reached, and what ONNX Runtime did.

    Attributes:
        labelled: the figures are samples of the right class; else mean squared reconstruction
            errors.
        recurrent: the program has loops over time steps.
        input_bits: 16 where features go in as two planes.
        same_class: samples with the float network's class; None for reconstructions.
        onnxruntime: a figure for each of CALIBRATIONS.
        in_float: operators with weights that ONNX Runtime did not quantize.
    """

    network: str
    samples: int
    labelled: bool
    recurrent: bool
    input_bits: int
    float_figure: float
    bramcast: float
    same_class: int | None
    onnxruntime: tuple[float, ...]
    in_float: tuple[str, ...] = ()

    def points(self, samples: float) -> Fraction:
        """Samples as percentage points.

        >>> Row("n", 960, True, False, 8, 900, 898, 950, (899, 899, 899)).points(3)
        Fraction(5, 16)
        """
        return Fraction(samples) * 100 / self.samples

    def loss(self, figure: float) -> Fraction:
        """Points of accuracy, or the relative increase of the error, against float.

        >>> row = Row("n", 200, True, False, 8, 150, 149, 190, (148, 151, 148))
        >>> row.loss(149), row.loss(151)
        (Fraction(1, 2), Fraction(-1, 2))
        """
        if self.labelled:
            return self.points(self.float_figure - figure)
        return Fraction(figure) / Fraction(self.float_figure) - 1

    @property
    def judged(self) -> bool:
        return not self.labelled or self.samples >= FEWEST

    @property
    def complaint(self) -> str | None:
        """The limit that is missed, or None."""
        if not self.judged:
            return None
        loss = self.loss(self.bramcast)
        if not self.labelled:
            within = abs(loss) <= MOST_ERROR
            return None if within else f"error more than {float(100 * MOST_ERROR):g} % off"
        most = MOST_LOSS_RECURRENT if self.recurrent else MOST_LOSS
        if loss > most:
            return f"loses more than {float(most):g}"
        behind = loss - self.loss(max(self.onnxruntime))
        if behind > max(BEHIND_POINTS, self.points(BEHIND_SAMPLES)):
            return f"{float(behind):.2f} behind ONNX Runtime"
        return None

    @property
    def verdict(self) -> str:
        if not self.judged:
            return f"not judged ({self.samples} samples)"
        return "met" if self.complaint is None else f"MISSED: {self.complaint}"

    def cells(self) -> list[str]:
        """The row of the table."""
        ours, theirs = self.loss(self.bramcast), [self.loss(f) for f in self.onnxruntime]
        bits = "8 + 8" if self.input_bits == 16 else "8"
        if not self.labelled:
            return [
                self.network, f"{self.samples:,}", bits, f"error {self.float_figure:.4f}",
                f"{self.bramcast:.4f}", f"{float(100 * ours):+.2f} %", "-",
                *(f"{float(100 * loss):+.2f} %" for loss in theirs), self.verdict,
            ]  # fmt: skip
        assert self.same_class is not None
        name = self.network + "".join(f" ({op} in float)" for op in self.in_float)
        return [
            name, f"{self.samples:,}", bits, f"{float(self.points(self.float_figure)):.2f} %",
            f"{float(self.points(self.bramcast)):.2f} %", f"{float(ours):.2f}",
            f"{float(self.points(self.same_class)):.2f} %",
            *(f"{float(loss):.2f}" for loss in theirs), self.verdict,
        ]  # fmt: skip


COLUMNS = (
    "network", "samples", "input bits", "float", "bramcast", "loss", "same class",
    *(f"ORT {name}" for name in CALIBRATIONS), "verdict",
)  # fmt: skip


def table(rows: list[Row]) -> str:
    """All rows in Markdown, in columns that also a terminal shows."""
    lines = [list(COLUMNS), *(row.cells() for row in rows)]
    wide = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    left = {0, len(COLUMNS) - 1}
    rule = ["-" * n if i in left else "-" * (n - 1) + ":" for i, n in enumerate(wide)]
    lines.insert(1, rule)
    return "\n".join(
        "| "
        + " | ".join(
            text.ljust(n) if i in left else text.rjust(n)
            for i, (text, n) in enumerate(zip(line, wide, strict=True))
        )
        + " |"
        for line in lines
    )


# ------------------------------------------------------------------------------ figures


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def figure(outputs: NDArray[np.floating], inputs: Inputs) -> float:
    """Samples of the right class, or the reconstruction error where there are no labels."""
    right = labelled_accuracy(outputs, inputs.y, signed=bool(outputs.min() < 0))
    if right is not None:
        return round(right * len(outputs))
    flat = outputs.reshape(len(outputs), -1)
    samples = inputs.x.reshape(len(inputs.x), -1)
    if flat.shape != samples.shape:
        raise InputError(
            f"{inputs.path}: no labels y, and the network's output is no reconstruction of its "
            "input: there is nothing to measure"
        )
    return mean_squared_error(flat, samples)


def in_float(module: nn.Module, x: NDArray[np.floating]) -> NDArray[np.float32]:
    """The outputs of the PyTorch module in float32."""
    values = torch.from_numpy(x.astype(np.float32))
    with torch.inference_mode():
        parts = [module(values[i : i + BATCH]).numpy() for i in range(0, len(x), BATCH)]
    return np.concatenate(parts)


def in_bramcast(recipe: Path, bundle: Path) -> tuple[NDArray[np.floating], bool, int]:
    """What ``bramcast pack`` and ``bramcast golden`` give: outputs, loops?, bits of the input."""
    packed = pack(read_recipe(recipe), bundle)
    machine = load(bundle)
    assert machine.manifest is not None
    frame = machine.manifest.input
    beats = machine.run(frames_from_arrays(packed.inputs.x, frame)).beats
    loops = any(isinstance(d, Loop) for d in packed.descriptors)
    return arrays_from_beats(beats, machine)[1], loops, machine.core.data_bits * frame.planes


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporter and the quantizer print and log."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nothing, redirect_stdout(nothing):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def export(module: nn.Module, sample: NDArray[np.floating], path: Path) -> None:
    """The module as ONNX with a free batch axis; the exporter folds BatchNorm where it can."""
    with quiet():
        torch.onnx.export(
            module,
            (torch.from_numpy(sample.astype(np.float32)),),
            str(path),
            dynamo=False,  # the one that needs no further package
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
            opset_version=OPERATOR_SET,
        )


def quantized(path: Path, calibration: str, x: NDArray[np.floating], to: Path) -> tuple[str, ...]:
    """Static QDQ quantization: int8 weights per channel, int8 activations with zero points.

    Returns:
        Operators that kept float weights.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.samples = iter(x.astype(np.float32))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            sample = next(self.samples, None)
            return None if sample is None else {"input": sample[None]}

    with quiet():
        quantize_static(
            str(path),
            str(to),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, calibration),
            extra_options={"CalibPercentile": PERCENTILE} if calibration == "Percentile" else {},
        )
    graph = onnx.load(str(to)).graph
    integers = {name for n in graph.node if n.op_type == "DequantizeLinear" for name in n.output}
    kept = {n.op_type for n in graph.node if n.op_type in WEIGHTED and n.input[1] not in integers}
    return tuple(sorted(kept))


def in_onnxruntime(path: Path, x: NDArray[np.floating]) -> NDArray[np.float32]:
    """The outputs of an ONNX file on the processor, one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    values = x.astype(np.float32)
    parts = (values[i : i + BATCH] for i in range(0, len(x), BATCH))
    return np.concatenate([session.run(None, {"input": part})[0] for part in parts])


def measure(recipe: Path, folder: Path, calibrate: int) -> Row:
    """One network through PyTorch, bramcast and ONNX Runtime; files go to ``folder``.

    Args:
        calibrate: calibration samples for ONNX Runtime, from the first one.

    Raises:
        UserError: whatever is wrong with the recipe; not 8 bits; nothing to measure.
    """
    read = read_recipe(recipe)
    if read.quantize.activation_bits != 8:
        raise RecipeError(f"{recipe}: quantize.activation_bits: this table is about 8 bits, set 8")
    inputs = read_inputs(recipe)
    say(f"{read.name}: PyTorch")
    module = read_model(read, inputs.x.shape[1:]).module.eval()
    exact = in_float(module, inputs.x)
    wanted = figure(exact, inputs)
    say(f"{read.name}: bramcast")
    ours, recurrent, bits = in_bramcast(recipe, folder / read.name)
    say(f"{read.name}: ONNX Runtime")
    source = folder / f"{read.name}.onnx"
    export(module, inputs.x[:1], source)
    straight = figure(in_onnxruntime(source, inputs.x), inputs)
    if inputs.y is not None and straight != wanted:
        say(f"{read.name}: in float PyTorch has {wanted} samples right, ONNX Runtime {straight}")
    theirs: list[float] = []
    kept: tuple[str, ...] = ()
    for name in CALIBRATIONS:
        to = folder / f"{read.name}.{name}.onnx"
        kept = quantized(source, name, inputs.calibration[:calibrate], to)
        theirs.append(figure(in_onnxruntime(to, inputs.x), inputs))
    same = None
    if inputs.y is not None:
        signed = bool(exact.min() < 0)
        same = int(np.count_nonzero(classes_of(ours, signed) == classes_of(exact, signed)))
    return Row(
        read.name, len(inputs.x), inputs.y is not None, recurrent, bits, wanted,
        figure(ours, inputs), same, tuple(theirs), kept,
    )  # fmt: skip


def document(rows: list[Row]) -> dict[str, object]:
    """The table for programs: figures as they are, losses in points or as a ratio."""
    return {
        "calibrations": CALIBRATIONS,
        "rows": [
            {
                **asdict(row),
                "loss": float(row.loss(row.bramcast)),
                "onnxruntime_loss": [float(row.loss(f)) for f in row.onnxruntime],
                "judged": row.judged,
                "complaint": row.complaint,
            }
            for row in rows
        ],
        "passed": all(row.complaint is None for row in rows),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", type=Path, help="networks; those of the page if none")
    parser.add_argument("--calibrate", type=int, default=200, metavar="N",
                        help="calibration samples for ONNX Runtime (200)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="a JSON object instead of the table")
    options = parser.parse_args()
    if options.calibrate < 1:
        parser.error("--calibrate: at least one sample")
    rows = []
    try:
        try:
            tools = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime"))
        except ModuleNotFoundError as error:
            raise ToolError(
                f"{error.name} is missing: pip install '.[bench]' in bramcast's checkout"
            ) from None
        with tempfile.TemporaryDirectory(prefix="bramcast-accuracy-") as name:
            folder = Path(name)
            shared = [shared_recipe(model, folder) for model in SHARED]
            for recipe in options.recipes or [*EXAMPLES, *filter(None, shared)]:
                rows.append(measure(recipe, folder, options.calibrate))
    except UserError as error:
        say(f"accuracy: {error}")
        return 2
    if options.json:
        print(json.dumps(document(rows)))
    else:
        print(f"{tools}, {options.calibrate} samples calibrate ONNX Runtime\n\n{table(rows)}")
    for row in rows:
        if row.complaint is not None:
            say(f"{row.network}: {row.complaint}")
    return 1 if any(row.complaint is not None for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

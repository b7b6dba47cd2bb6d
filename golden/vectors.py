# SPDX-License-Identifier: Apache-2.0
"""Test vectors for other cores: frames and every layer's results, as .mem and an index.

A file holds a tensor of some samples, one element a line: hex digits of its bits, two's complement,
the last axis fastest. ``index.csv`` says for each file what it is, its shape and its format.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.frames import outputs_from_beats
from bramcast.golden.layers import layer_results
from bramcast.golden.machine import Machine
from bramcast.pack.bundle.manifest import Format

INDEX = "index.csv"
VECTOR_FILES = re.compile(r"(input\d*|output\d*|layer\d{3,})\.mem|index\.csv")
_COLUMNS = ("file", "name", "operation", "axes", "shape", "bits", "frac", "signed", "source")


@dataclass(frozen=True, slots=True)
class Vector:
    """A tensor of some samples.

    Attributes:
        values: int64 [samples, ...], in ``format``.
        axes: what its axes are, in words.
        source: file and line in the model.
    """

    file: str
    name: str
    operation: str
    axes: str
    values: NDArray[np.int64]
    format: Format
    source: str = ""


def vectors(machine: Machine, frames: NDArray[np.int64]) -> Iterator[Vector]:
    """Each input, each layer's result in the order of the manifest, and each output.

    Args:
        frames: [samples, beats], as of ``frames_from_arrays``.
    """
    manifest = machine.manifest
    assert manifest is not None
    results = machine.run(frames, keep_layers=True)
    start = 0
    for number, sent in enumerate(manifest.inputs):
        y, x, c = sent.dims
        end = start + y * x * c * sent.planes
        pixels = frames[:, start:end].reshape(len(frames), y, x, c * sent.planes)
        axes = "sample y x channel" if sent.planes == 1 else "sample y x channel*plane"
        file = f"input{number}.mem" if manifest.more_inputs else "input.mem"
        yield Vector(file, sent.name or "input", "input", axes, pixels, sent.format)
        start = end
    for number, found in enumerate(layer_results(machine, results)):
        layer = found.layer
        yield Vector(
            f"layer{number:03d}.mem", layer.name, layer.op, "sample channel y x", found.values,
            layer.format, layer.source,
        )  # fmt: skip
    outputs = outputs_from_beats(results.beats, machine)
    for number, (output, frame) in enumerate(zip(outputs, manifest.outputs, strict=True)):
        file = f"output{number}.mem" if len(outputs) > 1 else "output.mem"
        yield Vector(file, output.name or "output", "output", "sample, as the network gives it",
                     output.integers, frame.format)  # fmt: skip


def mem_text(values: NDArray[np.int64], bits: int) -> str:
    """One element a line, in as many hex digits as its bits take.

    >>> mem_text(np.array([[1, -2], [127, -128]]), 8)
    '01\\nfe\\n7f\\n80\\n'
    """
    digits = -(-bits // 4)
    stored = values.reshape(-1) & ((1 << bits) - 1)
    return "".join(f"{value:0{digits}x}\n" for value in stored.tolist())


def index_text(written: list[Vector]) -> str:
    """The text of index.csv: a line for each file."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(_COLUMNS)
    for one in written:
        q = one.format
        shape = "x".join(map(str, one.values.shape))
        table.writerow(
            (one.file, one.name, one.operation, one.axes, shape, q.bits, q.frac, int(q.signed),
             one.source)
        )  # fmt: skip
    return file.getvalue()

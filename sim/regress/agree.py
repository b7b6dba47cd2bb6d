# SPDX-License-Identifier: Apache-2.0
"""The second of the three executions against the first: golden against the quantized graph."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bramcast.golden.frames import frames_of, outputs_from_beats
from bramcast.golden.layers import layer_results
from bramcast.golden.load import load
from bramcast.golden.metrics import labelled_accuracy

if TYPE_CHECKING:
    from bramcast.pack.pipeline import Packed

BATCH = 32


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many elements of how many layers were compared, and how many differ.

    ``accuracy`` is golden's on these samples, 0..1; None without labels.
    """

    samples: int
    layers: int
    elements: int
    mismatches: int
    first: str
    accuracy: float | None = None

    @property
    def text(self) -> str:
        where = f"{self.samples} samples, {self.layers} layers, {self.elements:,} elements"
        if not self.mismatches:
            return f"golden equals the quantized graph: {where}"
        return (
            f"golden differs from the quantized graph in {self.mismatches:,} of {where}: "
            f"{self.first}"
        )


def compare_with_graph(
    packed: "Packed",
    bundle: Path,
    report: Callable[[str, int, int], None],
    limit: int | None = None,
) -> Agreement:
    """Run both on the recipe's samples and compare every element of every layer."""
    from bramcast.pack.pipeline import run_integers

    machine = load(bundle)
    assert machine.manifest is not None
    samples = packed.inputs.x[:limit]
    elements = mismatches = layers = 0
    first = ""
    scores = []
    for start in range(0, len(samples), BATCH):
        batch = samples[start : start + BATCH]
        graph = run_integers(packed, batch)
        results = machine.run(frames_of(batch, machine.manifest), keep_layers=True)
        scores.append(outputs_from_beats(results.beats, machine)[packed.inputs.y_of].real)
        got = list(layer_results(machine, results))
        layers = len(got)
        for layer in got:
            wrong = layer.values != graph[layer.layer.name]
            elements += wrong.size
            mismatches += int(wrong.sum())
            if wrong.any() and not first:
                n, c, y, x = (int(i[0]) for i in np.nonzero(wrong))
                first = (
                    f"{layer.layer.name}[{c}, {y}, {x}] of sample {start + n}: golden "
                    f"{layer.values[n, c, y, x]}, graph {graph[layer.layer.name][n, c, y, x]}"
                )
        report("golden against the graph", start + len(batch), len(samples))
    labels = packed.inputs.y
    right = labelled_accuracy(
        np.concatenate(scores),
        None if labels is None else labels[:limit],
        machine.manifest.outputs[packed.inputs.y_of].format.signed,
    )
    return Agreement(len(samples), layers, elements, mismatches, first, right)

# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page about a bundle: network, distributions, memories, cycles."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.layers import layer_results
from bramcast.pack.bundle.errors import ToolError
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.samples.inputs import Inputs
from bramcast.sim.regress.evaluate import Outputs, Range, outputs
from bramcast.sim.regress.regress import Regression, Report
from bramcast.sim.report.anatomy import Anatomy, ReportLayer, dissect
from bramcast.sim.report.report_graph import graph_svg
from bramcast.sim.run.cosim import SimResult

SAMPLES = 32  # whose results are drawn
DRAWN = 1 << 16  # values of a layer that its picture shows


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line at the head of the page. ``good``: None where nothing was run."""

    what: str
    good: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """A layer in the page's table; pictures are SVG text, empty where there is nothing to show."""

    name: str
    op: str
    shape: str
    fmt: str
    source: str
    macs: int
    cycles: int
    busy: str
    weights: str
    weight_note: str
    results: str
    result_note: str
    snr: str
    colour: str


def report_html(
    bundle: Path,
    inputs: Inputs | None = None,
    simulated: SimResult | None = None,
    regression: Regression | None = None,
    allow_modified: bool = False,
    progress: Report = lambda what, done, of: None,
) -> str:
    """The page about a bundle.

    Args:
        inputs: samples for golden; without them no results are drawn and no accuracy is told.
        simulated: what ``simulate`` has found.
        regression: what ``regress`` has found against an older bundle.

    Raises:
        ToolError: matplotlib or Jinja2 is missing.
        UserError: a bundle or samples that don't fit.
    """
    try:
        from jinja2 import Environment

        from bramcast.sim.report import report_plots as plots
    except ModuleNotFoundError as error:
        if error.name not in ("jinja2", "matplotlib"):
            raise
        raise ToolError(
            "a report needs Jinja2 and matplotlib: pip install '.[report]' in bramcast's checkout"
        ) from None
    anatomy = dissect(bundle, allow_modified)
    judged = None
    if inputs is not None:
        count = len(inputs.x)
        judged = outputs(anatomy.machine, inputs, lambda n: progress("golden", n, count))
    values = {} if inputs is None else _results(anatomy, inputs)
    rows = []
    for number, part in enumerate(anatomy.parts):
        rows.append(_row(anatomy, number, part, values.get(number)))
        progress("drawing", number + 1, len(anatomy.parts))
    template = files("bramcast.sim.report").joinpath("report.html").read_text(encoding="utf-8")
    total = anatomy.prediction.total
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        manifest=anatomy.manifest,
        core=anatomy.manifest.core,
        total=total,
        utilisation=anatomy.manifest.macs / (total * anatomy.manifest.core.multipliers),
        verdicts=_verdicts(anatomy, judged, inputs, simulated, regression),
        graph=graph_svg(anatomy),
        rows=rows,
        drawn=0 if inputs is None else min(SAMPLES, len(inputs.x)),
        timeline=plots.timeline(anatomy),
        noise=plots.noise(anatomy),
        memory=plots.memory_map(anatomy),
        scratchpad=plots.scratchpad(anatomy),
        regression=regression,
    )


def _results(anatomy: Anatomy, inputs: Inputs) -> dict[int, NDArray[np.int64]]:
    """Golden's results on the first samples, by part: int64 [n]."""
    part_of = {index: n for n, part in enumerate(anatomy.parts) for index in part.indices}
    frames = frames_from_arrays(inputs.x[:SAMPLES], anatomy.manifest.input)
    results = anatomy.machine.run(frames, keep_layers=True)
    found: dict[int, list[NDArray[np.int64]]] = {}
    for index, result in enumerate(layer_results(anatomy.machine, results)):
        found.setdefault(part_of[index], []).append(result.values.reshape(-1))
    return {number: np.concatenate(flat) for number, flat in found.items()}


def _row(anatomy: Anatomy, number: int, part: ReportLayer, values: NDArray[np.int64] | None) -> Row:
    from bramcast.sim.report import report_plots as plots

    layer, fmt = part.layers[0], part.layers[0].format.q
    weights = weight_note = results = result_note = ""
    if part.weights.size and part.macs:
        bits = _width(anatomy, part)
        weights = plots.distribution(f"weights{number}", _thinned(part.weights), QFormat(bits, 0))
        zeros = float((part.weights == 0).mean())
        weight_note = f"{part.weights.size:,} of {bits} bits, {100 * zeros:.1f} % zero"
    if values is not None:
        results = plots.distribution(f"results{number}", _thinned(values), fmt)
        seen = Range(fmt)
        seen.observe(values)
        result_note = f"{100 * seen.saturated:.2f} % saturated, {seen.headroom:.1f} bits unused"
    snr = [one.snr for one in part.layers if one.snr is not None]
    share = part.share(anatomy.manifest.core.multipliers)
    return Row(
        name=part.name,
        op=layer.op,
        shape=" x ".join(str(n) for n in layer.shape),
        fmt=str(fmt),
        source=layer.source,
        macs=part.macs,
        cycles=part.busy,
        busy=f"{100 * share:.1f} %" if share else "",
        weights=weights,
        weight_note=weight_note,
        results=results,
        result_note=result_note,
        snr=f"{min(snr):.1f} dB" if snr else "",
        colour=plots.hue(number),
    )


def _thinned(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return values[:: -(-values.size // DRAWN)]


def _width(anatomy: Anatomy, part: ReportLayer) -> int:
    """Bits of a stored weight."""
    descriptor = next(
        i for i, nest in enumerate(anatomy.manifest.nests) if nest.layer == part.indices[0]
    )
    nest = anatomy.machine.program[descriptor + 1]
    return anatomy.manifest.core.weight_bits >> getattr(nest, "narrow", 0)


def _verdicts(
    anatomy: Anatomy,
    judged: Outputs | None,
    inputs: Inputs | None,
    simulated: SimResult | None,
    regression: Regression | None,
) -> list[Verdict]:
    manifest = anatomy.manifest
    found = [Verdict("Images", True, "checksums are the manifest's, the program is legal")]
    if judged is None or inputs is None:
        found.append(Verdict("Golden", None, "not run: give --inputs"))
    elif judged.accuracy is not None:
        against = manifest.float_accuracy
        more = "" if against is None else f", float {100 * against:.2f} % when packed"
        text = f"accuracy {100 * judged.accuracy:.2f} % on {len(inputs.x):,} samples{more}"
        found.append(Verdict("Golden", True, text))
    else:
        error = "" if judged.error is None else f", mean squared error {judged.error:.6g}"
        found.append(Verdict("Golden", True, f"{len(inputs.x):,} samples{error}"))
    if simulated is None:
        found.append(
            Verdict("HDL", None, f"not run: give {'' if inputs else '--inputs and '}--sim")
        )
    else:
        compared = simulated.comparison
        text = (
            f"{simulated.simulator}, {simulated.samples} samples: {compared.elements:,} elements "
            f"of {len(compared.layers)} layers, {compared.mismatches:,} mismatches; "
            f"{compared.cycles:,} cycles, predicted {simulated.predicted:,}"
        )
        found.append(Verdict("HDL", simulated.equal, text))
    if regression is not None:
        text = f"{regression.verdict}: {'; '.join(regression.reasons)}"
        found.append(Verdict("Against the old bundle", regression.passed, text))
    return found

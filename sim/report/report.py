# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page about a bundle: network, distributions, memories, cycles."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bramcast.golden.frames import frames_of
from bramcast.golden.layers import layer_results
from bramcast.pack.bundle.errors import ToolError
from bramcast.pack.bundle.float_results import read_float_results
from bramcast.pack.bundle.provenance import read_provenance
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.origin import now
from bramcast.pack.samples.inputs import Inputs
from bramcast.sim.regress.evaluate import Range, outputs
from bramcast.sim.regress.regress import Regression, Report
from bramcast.sim.report.anatomy import Anatomy, ReportLayer, dissect
from bramcast.sim.report.classes import Classes, classes_table
from bramcast.sim.report.parts import family_rows
from bramcast.sim.report.report_graph import graph_svg
from bramcast.sim.report.verdicts import Judged, verdicts
from bramcast.sim.run.cosim import SimResult

SAMPLES = 32  # whose results are drawn
DRAWN = 1 << 16  # values of a layer that its picture shows


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
    share: str
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
    plots = pictures()
    anatomy = dissect(bundle, allow_modified)
    manifest = anatomy.manifest
    judged = None
    if inputs is not None:
        count = len(inputs.x)
        found = outputs(anatomy.machine, inputs, lambda n: progress("golden", n, count))
        judged = Judged.of(inputs, found, read_float_results(bundle, manifest), manifest)
    values = {} if inputs is None else layer_values(anatomy, inputs)
    rows = []
    for number, part in enumerate(anatomy.parts):
        rows.append(row_of(anatomy, number, part, values.get(number)))
        progress("drawing", number + 1, len(anatomy.parts))
    total = anatomy.prediction.total
    return rendered(
        "report.html",
        manifest=manifest,
        core=manifest.core,
        total=total,
        utilisation=manifest.macs / (total * manifest.core.multipliers),
        verdicts=list(verdicts(bundle, manifest, judged, simulated, regression)),
        graph=graph_svg(anatomy),
        rows=rows,
        drawn=0 if inputs is None else min(SAMPLES, len(inputs.x)),
        classes=classes_of_labels(judged),
        scatter=scatter_of(judged),
        known=0 if judged is None else len(judged.known),
        families=list(family_rows(anatomy.machine, manifest)),
        timeline=plots.timeline(anatomy),
        losses=plots.losses(anatomy),
        memory=plots.memory_map(anatomy),
        scratchpad=plots.scratchpad(anatomy),
        regression=regression,
        provenance=read_provenance(bundle),
        written=now(),
    )


def pictures() -> Any:
    """The module that draws, which needs matplotlib.

    Raises:
        ToolError: matplotlib or Jinja2 is missing.
    """
    try:
        import jinja2  # noqa: F401

        from bramcast.sim.report import report_plots
    except ModuleNotFoundError as error:
        if error.name not in ("jinja2", "matplotlib"):
            raise
        raise ToolError(
            "a report needs Jinja2 and matplotlib: pip install '.[report]' in bramcast's checkout"
        ) from None
    return report_plots


def rendered(page: str, **context: object) -> str:
    """A page from its template in this folder; what it is given is escaped."""
    from jinja2 import Environment, FunctionLoader

    folder = files("bramcast.sim.report")
    environment = Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
    )
    return environment.get_template(page).render(**context)


def classes_of_labels(judged: Judged | None) -> Classes | None:
    """The confusion matrix; None without labels that are classes."""
    if judged is None or judged.inputs.y is None or judged.outputs.accuracy is None:
        return None
    return classes_table(judged.inputs.y, judged.outputs.classes)


def scatter_of(judged: Judged | None) -> str | None:
    """The picture of integers over float results; None where these are not known."""
    if judged is None or not len(judged.known):
        return None
    return str(pictures().scatter(judged.exact, judged.got))


def layer_values(anatomy: Anatomy, inputs: Inputs) -> dict[int, NDArray[np.int64]]:
    """Golden's results on the first samples, by part: int64 [n]."""
    part_of = {index: n for n, part in enumerate(anatomy.parts) for index in part.indices}
    frames = frames_of(inputs.x[:SAMPLES], anatomy.manifest)
    results = anatomy.machine.run(frames, keep_layers=True)
    found: dict[int, list[NDArray[np.int64]]] = {}
    for index, result in enumerate(layer_results(anatomy.machine, results)):
        found.setdefault(part_of[index], []).append(result.values.reshape(-1))
    return {number: np.concatenate(flat) for number, flat in found.items()}


def row_of(
    anatomy: Anatomy,
    number: int,
    part: ReportLayer,
    values: NDArray[np.int64] | None,
    prefix: str = "",
) -> Row:
    """A part's row; ``prefix`` makes its pictures' names unique in the page."""
    plots = pictures()

    layer, fmt = part.layers[0], part.layers[0].format.q
    weights = weight_note = results = result_note = ""
    if part.weights.size and part.macs:
        bits = _width(anatomy, part)
        weights = plots.distribution(
            f"{prefix}weights{number}", _thinned(part.weights), QFormat(bits, 0)
        )
        zeros = float((part.weights == 0).mean())
        weight_note = f"{part.weights.size:,} of {bits} bits, {100 * zeros:.1f} % zero"
    if values is not None:
        results = plots.distribution(f"{prefix}results{number}", _thinned(values), fmt)
        seen = Range(fmt)
        seen.observe(values)
        result_note = f"{100 * seen.saturated:.2f} % saturated, {seen.headroom:.1f} bits unused"
    snr = [one.snr for one in part.layers if one.snr is not None]
    share = part.share(anatomy.manifest.core.multipliers)
    return Row(
        name=part.name,
        op=layer.op,
        shape=" x ".join(str(n) for n in layer.shape) + (layer.strips and f", {layer.strips}"),
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
        share=f"{100 * sum(one.share for one in part.layers):.1f} % of the error" if snr else "",
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

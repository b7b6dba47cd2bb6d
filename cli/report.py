# SPDX-License-Identifier: Apache-2.0
"""bramcast report: one HTML page about a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from bramcast.cli.options import AllowModified, Bundle, ItsSimulator, Json
from bramcast.cli.output import give_stdout, progress, say, say_json
from bramcast.cli.samples import read_samples
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.folder import named, replace_bytes
from bramcast.pack.recipe.recipe import RegressSection
from bramcast.sim.regress.regress import regress
from bramcast.sim.report.report import pictures, report_html
from bramcast.sim.run.cosim import simulate
from bramcast.sim.run.runner import SIMULATORS

SIM_SAMPLES = 2


def command(
    bundle: Bundle,
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file to write.")],
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", help=".npz or recipe: accuracy, and the results' distributions."),
    ] = None,
    sim: Annotated[
        bool, typer.Option("--sim", help="Run two samples on the HDL and say whether it agrees.")
    ] = False,
    simulator: ItsSimulator = "verilator",
    against: Annotated[
        Path | None, typer.Option("--against", help="An older bundle: adds the regression.")
    ] = None,
    allow_modified: AllowModified = False,
    json: Json = False,
) -> int:
    """Network with formats, distributions, memory maps, timeline, errors, verdicts as a page."""
    give_stdout([output], json)
    if simulator not in SIMULATORS:
        raise InputError(f"unknown simulator {simulator!r}: choose {' or '.join(SIMULATORS)}")
    if inputs is None and (sim or against is not None):
        raise InputError("--sim and --against need samples: give --inputs")
    pictures()  # what is missing is said at once
    samples = None if inputs is None else read_samples(inputs, bundle)
    simulated = compared = None
    with progress(json) as report:
        if samples is not None and sim:
            simulated = simulate(
                bundle,
                samples.x[:SIM_SAMPLES],
                simulator,
                allow_modified=allow_modified,
                report=report,
            )
        if samples is not None and against is not None:
            limits = RegressSection()
            compared = regress(against, bundle, samples, limits, allow_modified, report=report)
        page = report_html(bundle, samples, simulated, compared, allow_modified, report)
    replace_bytes(output, page.encode())
    if json:
        hdl_equal = None if simulated is None else simulated.equal
        verdict = None if compared is None else compared.verdict
        say_json({"report": str(output), "hdl_equal": hdl_equal, "verdict": verdict})
    else:
        say(f"report written to {named(output)}")
    broken = (simulated is not None and not simulated.equal) or (
        compared is not None and not compared.passed
    )
    return 1 if broken else 0

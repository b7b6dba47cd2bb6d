# SPDX-License-Identifier: Apache-2.0
"""bramcast sim: the HDL against golden, bit for bit, every layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bramcast.cli.judged import beside_json, beside_line
from bramcast.cli.options import AllowModified, Bundle, InputsFile, Json, Simulator
from bramcast.cli.output import percent, progress, say, say_json, table
from bramcast.cli.samples import read_samples
from bramcast.golden.beside_float import BesideFloat, beside_float
from bramcast.golden.frames import Output, frames_of, outputs_from_beats
from bramcast.golden.load import load
from bramcast.golden.metrics import labelled_accuracy
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.float_results import read_float_results
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import read_manifest
from bramcast.pack.bundle.program import split_program
from bramcast.pack.bundle.time_steps import same_descriptors, title
from bramcast.pack.bundle.words import to_uint32
from bramcast.pack.samples.inputs import Inputs
from bramcast.sim.run.cosim import SimResult, changed_lines, simulate
from bramcast.sim.run.fast import FastResult, simulate_fast
from bramcast.sim.run.runner import SIMULATORS, waves_suffix

SAMPLES = 4  # without --fast


def command(
    bundle: Bundle,
    inputs: InputsFile,
    samples: Annotated[
        int | None,
        typer.Option("--samples", min=1, help="How many samples of x: 4, with --fast all."),
    ] = None,
    simulator: Simulator = "verilator",
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="Whole test sets: Verilator in C++, no gaps, output against golden."
        ),
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="With --fast: compare every layer too.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="With --fast: processes; one per processor."),
    ] = None,
    waves: Annotated[bool, typer.Option("--waves", help="Record waves (FST or VCD).")] = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="Compare with the golden of this bundle instead."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of gaps and backpressure.")] = None,
    allow_modified: AllowModified = False,
    json: Json = False,
) -> int:
    """Run samples through the HDL core and compare every element of every layer with golden."""
    if simulator not in SIMULATORS:
        raise InputError(f"unknown simulator {simulator!r}: choose {' or '.join(SIMULATORS)}")
    if fast:
        if simulator != "verilator" or waves or seed is not None:
            raise InputError("--fast has no --simulator icarus, no --waves and no --seed")
        return _fast(bundle, inputs, samples, layers, jobs, against, allow_modified, json)
    if layers or jobs is not None:
        raise InputError("--layers and --jobs belong to --fast; without it every layer is compared")
    read = read_samples(inputs, bundle)
    name = f"{bundle.resolve().name}-{simulator}"
    path = Path("build") / "waves" / (name + waves_suffix(simulator)) if waves else None
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: can't be written: {error.strerror}") from None
    with progress(json) as report:
        result = simulate(
            bundle,
            read.x[: samples or SAMPLES],
            simulator,
            against=against,
            allow_modified=allow_modified,
            seed=seed,
            waves=path,
            report=report,
        )
    changed = _changed(bundle, against)
    beside = None
    if result.equal and against is None:  # the HDL's results are golden's
        beside = _beside(bundle, read, result.samples, None, allow_modified)
    if json:
        say_json(
            {
                **_verdict(result),
                "simulator": result.simulator,
                "changed_lines": changed,
                "seed": result.seed,
                "beside_float": None if beside is None else beside_json(beside),
            }
        )
    else:
        _print(against or bundle, result, changed)
        if beside is not None:
            say(beside_line(beside, result.samples))
    return 0 if result.equal else 1


def _fast(
    bundle: Path,
    inputs: Path,
    samples: int | None,
    layers: bool,
    jobs: int | None,
    against: Path | None,
    allow_modified: bool,
    json: bool,
) -> int:
    """Whole test sets through the RTL."""
    read = read_samples(inputs, bundle)
    with progress(json) as report:
        result = simulate_fast(
            bundle,
            read.x[:samples],
            layers=layers,
            jobs=jobs,
            against=against,
            allow_modified=allow_modified,
            report=report,
        )
    labels, labelled = None if read.y is None else read.y[:samples], result.outputs[read.y_of]
    right = labelled_accuracy(labelled.real, labels, labelled.signed)
    changed = _changed(bundle, against)
    beside = _beside(bundle, read, result.samples, result.outputs, allow_modified)
    if json:
        say_json(
            {
                **_verdict(result),
                "simulator": "verilator",
                "beside_float": None if beside is None else beside_json(beside),
                "changed_lines": changed,
                "all_layers": result.all_layers,
                "cycles_as_predicted": not result.wrong_cycles,
                "accuracy": right,
                "inferences_per_second": result.samples / result.seconds,
                "cycles_per_second": result.clocks / result.seconds,
                "jobs": result.jobs,
            }
        )
    else:
        _print_fast(bundle, against or bundle, result, right, changed)
        if beside is not None:
            say(beside_line(beside, result.samples))
    return 0 if result.equal and not result.wrong_cycles else 1


def _changed(bundle: Path, against: Path | None) -> list[str]:
    return [] if against is None else changed_lines(bundle, against, read_manifest(bundle).core)


def _beside(
    bundle: Path,
    read: Inputs,
    count: int,
    outputs: Sequence[Output] | None,
    allow_modified: bool,
) -> BesideFloat | None:
    """The first samples' results beside the float network's, where the bundle knows these.

    Args:
        outputs: the results; None: those of golden.
    """
    manifest = read_manifest(bundle)
    floats, x = read_float_results(bundle, manifest), read.x[:count]
    if floats is None or not floats.known(x)[0].size:
        return None
    if outputs is None:
        machine = load(bundle, allow_modified)
        beats = machine.run(frames_of(x, manifest)).beats
        outputs = outputs_from_beats(beats, machine)
    labels, labelled = None if read.y is None else read.y[:count], outputs[read.y_of]
    classes = labelled_accuracy(labelled.real, labels, labelled.signed) is not None
    return beside_float(floats, manifest, x, outputs, read.y_of if classes else None)


def _verdict(result: SimResult | FastResult) -> dict[str, object]:
    """The keys of --json that both ways of simulation share."""
    total = result.comparison
    return {
        "equal": result.equal,
        "samples": result.samples,
        "layers": len(total.layers),
        "elements": total.elements,
        "mismatches": total.mismatches,
        "cycles": total.cycles,
        "predicted_cycles": result.predicted,
        "macs": result.macs,
        "multipliers": result.multipliers,
        "utilisation": result.utilisation,
        "first_difference": None if total.first is None else str(total.first),
    }


def _print_fast(
    bundle: Path, golden: Path, result: FastResult, right: float | None, changed: list[str]
) -> None:
    if result.all_layers:
        _print_layers(golden, result)
    processes = f"{result.jobs} process" + ("es" if result.jobs > 1 else "")
    say(
        f"verilator --fast, {result.samples:,} samples, {processes}: "
        f"{result.comparison.cycles:,} cycles each, predicted {result.predicted:,}"
    )
    say(
        f"{result.seconds:.1f} s: {result.samples / result.seconds:,.1f} inferences/s, "
        f"{result.clocks / result.seconds / 1e6:,.1f} million simulated cycles/s"
    )
    if right is not None:
        expected = percent(read_manifest(bundle).float_accuracy)
        say(f"accuracy of the RTL {percent(right)}, float {expected}")
    _print_difference(result, changed)
    if result.lost:
        say(f"the simulation stopped early: {result.lost}")
    if result.wrong_cycles:
        number = len(result.wrong_cycles)
        say(
            f"CYCLES DIFFER from the prediction in {number:,} of {result.samples:,} samples, "
            f"first in sample {result.wrong_cycles[0]}"
        )


def _print(golden: Path, result: SimResult, changed: list[str]) -> None:
    _print_layers(golden, result)
    total = result.comparison
    say(
        f"{result.simulator}, {result.samples} samples (seed {result.seed}): {total.cycles:,} "
        f"cycles each, predicted {result.predicted:,}; {result.macs:,} MACs on "
        f"{result.multipliers} multipliers, utilisation {100 * result.utilisation:.1f} %"
    )
    if result.waves is not None:
        say(f"waves: {result.waves}")
    _print_difference(result, changed)


def _print_layers(golden: Path, result: SimResult | FastResult) -> None:
    """A line for each layer; one for all its time steps."""
    manifest = read_manifest(golden)
    program = split_program(
        to_uint32(load_images(golden, manifest, True)["program"]), manifest.core.tiles > 1
    )
    rows = []
    for same in same_descriptors(program, [nest.layer for nest in manifest.nests]).values():
        layers = [result.comparison.layers[i] for i in same]
        cycles, macs = sum(one.cycles for one in layers), sum(one.macs for one in layers)
        mismatches = sum(one.mismatches for one in layers)
        busy = macs / result.multipliers / cycles if cycles and macs else None
        if busy is not None and busy > 1:  # the network counts products with a state of zero
            busy = None
        rows.append(
            (
                title(layers[0].name, len(same)), layers[0].op,
                sum(one.elements for one in layers), mismatches, cycles,
                "-" if busy is None else f"{100 * busy:.1f} %",
                "equal" if not mismatches else "DIFFERENT",
            )
        )  # fmt: skip
    columns = ("layer", "op", "elements", "mismatches", "cycles", "busy", "verdict")
    table("", columns, rows)


def _print_difference(result: SimResult | FastResult, changed: list[str]) -> None:
    total = result.comparison
    if result.equal:
        what = "the output of" if isinstance(result, FastResult) and not result.all_layers else ""
        layers = "1 layer" if len(total.layers) == 1 else f"{len(total.layers)} layers"
        say(f"equal: {what} {layers}, {total.elements:,} elements, 0 mismatches".replace("  ", " "))
        return
    say(f"DIFFERENT: {total.mismatches:,} of {total.elements:,} elements")
    say(f"first: {total.first}")
    if changed:
        shown = ", ".join(changed[:8]) + (
            f" and {len(changed) - 8} more" if len(changed) > 8 else ""
        )
        say(f"image lines that differ from the golden bundle's: {shown}")

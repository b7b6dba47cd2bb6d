"""bramcast sim: the HDL against golden, bit for bit, every layer."""

from pathlib import Path
from typing import Annotated

import typer

from bramcast.cli.options import AllowModified, Bundle, InputsFile, Json
from bramcast.cli.output import progress, say, say_json, table
from bramcast.pack.errors import InputError
from bramcast.pack.inputs import read_inputs
from bramcast.pack.manifest import read_manifest
from bramcast.sim.cosim import SimResult, changed_lines, simulate
from bramcast.sim.runner import SIMULATORS


def command(
    bundle: Bundle,
    inputs: InputsFile,
    samples: Annotated[int, typer.Option("--samples", min=1, help="How many samples of x.")] = 4,
    simulator: Annotated[
        str, typer.Option("--simulator", help="icarus or verilator.")
    ] = "verilator",
    waves: Annotated[bool, typer.Option("--waves", help="Record waves (FST).")] = False,
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
    read = read_inputs(inputs)
    path = Path("build") / "waves" / f"{bundle.resolve().name}-{simulator}.fst" if waves else None
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    with progress(json) as report:
        result = simulate(
            bundle,
            read.x[:samples],
            simulator,
            against=against,
            allow_modified=allow_modified,
            seed=seed,
            waves=path,
            report=report,
        )
    first = result.comparison.first
    changed = [] if against is None else changed_lines(bundle, against, read_manifest(bundle).core)
    if json:
        say_json(
            {
                "equal": result.equal,
                "simulator": result.simulator,
                "samples": result.samples,
                "layers": len(result.comparison.layers),
                "elements": result.comparison.elements,
                "mismatches": result.comparison.mismatches,
                "cycles": result.comparison.cycles,
                "predicted_cycles": result.predicted,
                "macs": result.macs,
                "multipliers": result.multipliers,
                "utilisation": result.utilisation,
                "first_difference": None if first is None else str(first),
                "changed_lines": changed,
                "seed": result.seed,
            }
        )
    else:
        _print(bundle, result, changed)
    return 0 if result.equal else 1


def _print(bundle: Path, result: SimResult, changed: list[str]) -> None:
    rows = []
    for layer in result.comparison.layers:
        busy = (
            layer.macs / result.multipliers / layer.cycles if layer.cycles and layer.macs else None
        )
        rows.append(
            (
                layer.name, layer.op, layer.elements, layer.mismatches, layer.cycles,
                "-" if busy is None else f"{100 * busy:.1f} %",
                "equal" if not layer.mismatches else "DIFFERENT",
            )
        )  # fmt: skip
    columns = ("layer", "op", "elements", "mismatches", "cycles", "MACs/cycle", "verdict")
    table("", columns, rows)
    total = result.comparison
    say(
        f"{result.simulator}, {result.samples} samples (seed {result.seed}): {total.cycles:,} "
        f"cycles each, predicted {result.predicted:,}; {result.macs:,} MACs on "
        f"{result.multipliers} multipliers, utilisation {100 * result.utilisation:.1f} %"
    )
    if result.waves is not None:
        say(f"waves: {result.waves}")
    if result.equal:
        say(f"equal: {len(total.layers)} layers, {total.elements:,} elements, 0 mismatches")
        return
    say(f"DIFFERENT: {total.mismatches:,} of {total.elements:,} elements")
    say(f"first: {total.first}")
    if changed:
        shown = ", ".join(changed[:8]) + (
            f" and {len(changed) - 8} more" if len(changed) > 8 else ""
        )
        say(f"image lines that differ from the golden bundle's: {shown}")

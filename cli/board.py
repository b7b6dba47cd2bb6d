# SPDX-License-Identifier: Apache-2.0
"""bramcast board: a core on a board against golden, over a serial line."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bramcast.board.line import BAUD, Line, open_port
from bramcast.cli.options import Bundle, InputsFile, Json
from bramcast.cli.output import give_stdout, progress, say, say_json, table, telling
from bramcast.cli.samples import read_samples
from bramcast.sim.board.check import BoardResult, LayerRow, check_board

SAMPLES = 4


def command(
    port: Annotated[str, typer.Argument(help="Serial port, /dev/ttyUSB1 or COM4.")],
    bundle: Bundle,
    inputs: InputsFile,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="How many samples of x.")
    ] = SAMPLES,
    baud: Annotated[int, typer.Option("--baud", min=1, help="Bits per second.")] = BAUD,
    reload: Annotated[
        bool, typer.Option("--reload", help="Load images whose CRC-32 is right already, too.")
    ] = False,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML.")] = None,
    json: Json = False,
) -> int:
    """Load a bundle into a core on a board, run samples and compare the results with golden."""
    give_stdout([junit], json)
    with telling(partial(_no_verdict, junit)):
        read = read_samples(inputs, bundle)
        with Line(open_port(port, baud), port, baud) as line, progress(json) as report:
            result = check_board(
                line,
                bundle,
                read.x[:samples],
                reload=reload,
                report=report,
            )
    if junit is not None:
        from bramcast.sim.board.junit import write_junit

        write_junit(junit, bundle, result)
    if json:
        say_json({"equal": result.equal, **asdict(result)})
    else:
        _print(port, result)
    return 0 if result.equal else 1


def _no_verdict(junit: Path | None, message: str) -> None:
    if junit is not None:
        from bramcast.sim.board.junit import write_error

        write_error(junit, message)


def _print(port: str, result: BoardResult) -> None:
    core = result.core
    tiles = f" x {core.tiles} tiles" if core.tiles > 1 else ""
    say(
        f"{port}: {core.lanes} lanes x {core.taps} taps{tiles}, data of {core.data_bits} bits, "
        f"weights of {core.weight_bits}; "
        f"program {core.program_depth:,}, weights {core.weights_depth:,}, "
        f"bias {core.bias_depth:,}, table {core.table_depth:,} words"
    )
    say(f"images loaded: {', '.join(result.written) or 'none, all were there'}")
    if not result.ledger:
        say("no ledger in this core (LEDGER_DEPTH = 0): only what arrives is compared")
    rows = [
        (
            row.name, row.op, f"{row.checked} of {row.nests}" if row.nests else "-",
            row.cycles or "-", row.predicted or "-", _hex(row.crc), _hex(row.golden_crc),
            _verdict(row),
        )
        for row in result.layers
        if result.ledger or not row.nests
    ]  # fmt: skip
    columns = ("layer", "op", "nests", "cycles", "predicted", "CRC-32", "golden", "verdict")
    table("", columns, rows, right=columns[2:5])
    cycles = sorted(set(result.cycles)) or [0]
    counted = f"{cycles[0]:,}" if len(cycles) == 1 else f"{cycles[0]:,} to {cycles[-1]:,}"
    say(
        f"{result.samples:,} samples: {counted} cycles each, predicted {result.predicted:,}; "
        f"{result.repeated:,} requests were sent again"
    )
    say("equal" if result.equal else f"DIFFERENT, first: {result.first}")


def _hex(crc: int | None) -> str:
    return "-" if crc is None else f"{crc:08x}"


def _verdict(row: LayerRow) -> str:
    if row.different:
        return "DIFFERENT"
    return (
        "equal" if row.checked == row.nests else "not seen" if not row.checked else "equal so far"
    )

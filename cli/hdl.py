# SPDX-License-Identifier: Apache-2.0
"""bramcast hdl: the core's sources, images and a top for a vendor's tool."""

from pathlib import Path
from typing import Annotated

import typer

from bramcast.cli.options import AllowModified, Bundle, Json
from bramcast.cli.output import say, say_json
from bramcast.cli.samples import read_samples
from bramcast.pack.bitstream.pattern import short_rests
from bramcast.pack.bundle.manifest import read_manifest
from bramcast.sim.folder.boards import BOARDS, board_named
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.project import ledger_of, tlast_ends_of, write_project


def command(
    bundle: Bundle,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    axi: Annotated[
        bool, typer.Option("--axi", help="With AXI4-Lite: images are loaded at run time, too.")
    ] = False,
    serial: Annotated[
        bool, typer.Option("--serial", help="On a serial line, for 'bramcast board'.")
    ] = False,
    board: Annotated[
        str | None,
        typer.Option(
            "--board", help=f"For a board, with pins, PLL and lamps: {', '.join(BOARDS)}."
        ),
    ] = None,
    frame_depth: Annotated[
        int, typer.Option("--frame-depth", min=0, help="Units of the frame FIFO (FRAME_DEPTH).")
    ] = 0,
    count_frames: Annotated[
        bool,
        typer.Option("--count-frames", help="The input has no TLAST: count (TLAST_ENDS = 0)."),
    ] = False,
    one_packet: Annotated[
        bool,
        typer.Option("--one-packet", help="Several inputs come as one packet (TLAST_ENDS = 1)."),
    ] = False,
    beat: Annotated[
        int, typer.Option("--beat", help="Elements of an input beat: 1, 2, 4 or 8 (BEAT).")
    ] = 1,
    axi_clock: Annotated[
        bool,
        typer.Option("--axi-clock", help="AXI4-Lite has a clock of its own (AXI_CLOCK = 1)."),
    ] = False,
    ledger: Annotated[
        int | None,
        typer.Option("--ledger", min=0, help="Nests that the ledger holds (LEDGER_DEPTH)."),
    ] = None,
    peek: Annotated[
        bool,
        typer.Option("--peek", help="Software reads the scratchpad, STOP_AFTER (PEEK = 1)."),
    ] = False,
    counters: Annotated[
        bool, typer.Option("--counters", help="Registers that count stalls (COUNTERS = 1).")
    ] = False,
    no_readback: Annotated[
        bool, typer.Option("--no-readback", help="Images can't be read back (READBACK = 0).")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", help="Cycles of a run until software says so; 0: any (LIMIT)."),
    ] = None,
    clock_mhz: Annotated[
        float | None,
        typer.Option("--clock-mhz", help="With --serial: frequency of the core's clock; 100."),
    ] = None,
    baud: Annotated[
        int | None, typer.Option("--baud", help="With --serial: bits per second; 115200.")
    ] = None,
    divisor: Annotated[
        int | None,
        typer.Option("--divisor", help="With --serial: clock cycles of a bit, instead of --baud."),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--inputs", help=".npz or recipe: the test bench sends sample 0 of x; random if absent."
        ),
    ] = None,
    patchable: Annotated[
        bool,
        typer.Option("--patchable", help="Synthesis gets what 'bramcast patch' finds again."),
    ] = False,
    allow_modified: AllowModified = False,
    json: Json = False,
) -> int:
    """Write the core with a bundle's parameters as a folder for Vivado, Quartus and others."""
    target = None if board is None else board_named(board)
    if ledger is None:
        ledger = ledger_of(bundle, allow_modified) if target is not None and target.ledger else 0
    if count_frames or one_packet:
        tlast_ends = int(not count_frames)
    else:
        tlast_ends = tlast_ends_of(bundle, allow_modified)
    options = HdlOptions(
        axi=axi,
        serial=serial or target is not None,
        frame_depth=frame_depth,
        tlast_ends=tlast_ends,
        beat=beat,
        axi_clock=axi_clock,
        ledger_depth=ledger,
        peek=peek,
        counters=counters,
        readback=not no_readback,
        limit=limit,
        clock_mhz=clock_mhz,
        baud=baud,
        divisor=divisor,
        patchable=patchable,
        board=target,
    )
    sample = None if inputs is None else read_samples(inputs, bundle).x[0]
    top = write_project(bundle, output, options, allow_modified, sample)
    if json:
        files = sorted(file.name for file in output.iterdir())
        say_json({"folder": str(output), "top": top.name, "module": top.stem, "files": files})
        return 0
    if patchable:
        say("synthesis gets a pattern: 'bramcast patch' puts the network into the bitstream")
        core = read_manifest(bundle).core
        for name, depth in short_rests(core).items():
            say(
                f"note: {name}_depth = {core.depth(name)} may leave a block RAM with so few words "
                f"that they can't be found: {depth} in the recipe is safe"
            )
    say(f"top {top}; README.md says what is what, sources.f lists the sources, images by name")
    if target is not None:
        say(
            f"board {target.name}: {target.title}; clock {options.mhz:g} MHz, UART "
            f"{options.line_baud:,.0f} baud; 'make board' in that folder builds the bitstream"
        )
    elif options.serial:
        say(
            f"pins clk, resetn, rx, tx, irq; DIVISOR {options.bit_cycles}, "
            f"{options.line_baud:,.0f} baud at {options.mhz:g} MHz"
        )
    return 0

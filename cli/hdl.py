"""bramcast hdl: the core's sources, images and a top for a vendor's tool."""

from pathlib import Path
from typing import Annotated

import typer

from bramcast.cli.options import Bundle
from bramcast.cli.output import say
from bramcast.sim.hdl_project import write_project


def command(
    bundle: Bundle,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    axi: Annotated[
        bool, typer.Option("--axi", help="With AXI4-Lite: images are loaded at run time, too.")
    ] = False,
    frame_depth: Annotated[
        int, typer.Option("--frame-depth", min=0, help="Units of the frame FIFO (FRAME_DEPTH).")
    ] = 0,
) -> int:
    """Write the core with a bundle's parameters as a folder for Vivado, Quartus and others."""
    top = write_project(bundle, output, axi, frame_depth)
    say(f"top {top}; file list sources.f, scripts vivado.tcl and quartus.tcl, images by name")
    return 0

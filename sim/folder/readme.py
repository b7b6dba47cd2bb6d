# SPDX-License-Identifier: Apache-2.0
"""README.md of a written folder: what is what, and the next command for each tool."""

from collections.abc import Iterable
from fnmatch import fnmatch
from importlib.metadata import version
from math import prod

from bramcast.pack.bundle.manifest import Manifest
from bramcast.sim.folder.boards import Board
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.template import filled
from bramcast.sim.folder.top import NETWORK, identifier

_IMAGES = "the images"
_PATTERN = """
- those that synthesis takes (macro SYNTHESIS) hold a pattern, simulation takes `network_*.mem`:
  `bramcast patch BITSTREAM BUNDLE -o NEW` puts the network into the finished bitstream"""
# In the order in which a reader meets them; a pattern that no file has is left out.
_FILES = (
    ("*_top.v", "the top: parameters of the network, and the images"),
    ("bramcast_*.sv", "the core"),
    ("program.mem weights.mem bias.mem table.mem", _IMAGES),
    (f"{NETWORK}*.mem", "the network's images, for simulation"),
    ("sources.f", "what is synthesized, in order"),
    ("bench.sv bench_*.mem", "the test bench, and what it reads"),
    ("build.py", "bitstreams with open tools: ECP5, iCE40, Gowin"),
    ("Makefile", "the commands of both"),
    ("board.lpf board.pcf board.cst board.xdc", "where the pins are"),
    ("vivado.tcl clock.xdc crossing.xdc", "script and constraints for Vivado"),
    ("mmi.tcl", "for Vivado's updatemem: says where the images lie, in the routed design"),
    ("component.xml package.tcl block_design.tcl", "an IP of Vivado, and a Zynq-7000 with it"),
    ("quartus.tcl clock.sdc crossing.sdc", "script and constraints for Quartus"),
    ("bramcast_*.h bramcast_*.c", "the driver in C, registers, images to load at run time"),
    ("*.core", "for FuseSoC"),
    ("*_litex.py", "a LiteX module; its docstring has the lines for a SoC"),
    ("*_vhdl.vhd", "a VHDL component, and an entity around the top"),
)  # fmt: skip
_YOSYS = "`yosys -p \"read_verilog -sv $(tr '\\n' ' ' < sources.f); synth_xilinx -top {}_top\"`"
_OPEN = (
    ("ECP5, open tools", "ecp5 --device 85k --package CABGA381 --speed 6", "lpf"),
    ("iCE40, open tools", "ice40 --device hx8k --package ct256", "pcf"),
    ("Gowin, open tools", "gowin --device GW1NR-LV9QN88PC6/I5", "cst"),
)


def readme(manifest: Manifest, options: HdlOptions, names: Iterable[str], cycles: int) -> str:
    """The text of README.md.

    Args:
        names: of the other files.
        cycles: of a frame.
    """
    name = identifier(manifest.name)
    if options.board is not None:
        kind = f"{options.board.name} ({options.board.title}): behind its UART at "
        kind += f"{options.line_baud:,.0f} baud, at {options.mhz:g} MHz"
    elif options.serial:
        kind = f"behind a serial line of {options.line_baud:,.0f} baud at {options.mhz:g} MHz"
    else:
        kind = "AXI4-Lite and two AXI4-Streams" if options.axi else "two AXI4-Streams"
    beat = f", {options.beat} in a beat" if options.beat > 1 else ""
    return filled(
        "README.md" if options.board is None else "README_board.md",
        {
            "name": name,
            "version": version("bramcast"),
            "interface": kind,
            "parameters": f"{manifest.parameters:,}",
            "macs": f"{manifest.macs:,}",
            "cycles": f"{cycles:,}",
            "input": f"{sum(prod(f.dims) * f.planes for f in manifest.inputs):,}",
            "input_format": _input_formats(manifest, options),
            "beat": beat,
            "output": f"{manifest.output_elements:,}",
            "output_format": _output_formats(manifest),
            "largest": _LARGEST,
            "pattern": _PATTERN if options.patchable else "",
            "files": _table(_files(list(names), options)),
            "build": _table(_build(name, options)),
            **_of_a_board(options.board),
        },
    )


def _input_formats(manifest: Manifest, options: HdlOptions) -> str:
    """The format of the input, or that of each of several, one behind the other."""
    if not manifest.more_inputs:
        return str(manifest.input.format.q)
    each = [f"{prod(f.dims) * f.planes:,} of {f.name} in {f.format.q}" for f in manifest.inputs]
    several = "several inputs, one behind the other"
    if options.tlast_ends == 2:
        several = "a packet for each of several inputs"
    return f"{several}: {', '.join(each)}"


_LARGEST = "; TUSER of the last one of a packet is the number of its largest"


def _output_formats(manifest: Manifest) -> str:
    """The format of the output, or that of each of several, one behind the other."""
    if not manifest.more_outputs:
        return str(manifest.output.format.q)
    each = [f"{prod(f.shape):,} of {f.name} in {f.format.q}" for f in manifest.outputs]
    return f"a packet for each of several outputs: {', '.join(each)}"


def _of_a_board(board: Board | None) -> dict[str, object]:
    """What README.md of a board has of its own."""
    if board is None:
        return {}
    bits = board.class_lamps
    stubs = "" if board.open_tools else ", vivado.tcl with stubs of its commands"
    run = f"What has been run: the bench on Icarus and Verilator{stubs}; nothing on the board."
    if board.registers:
        error = "the last request over the UART was answered with an error"
        line = "The line has packets: the core's registers, images and frames."
    else:
        error = "an element was lost, as it came too early, or the program is wrong"
        line = (
            "There is no room for registers: the line takes a frame's elements and gives 32 bits "
            "for each result,\nlowest bytes first. A break resets the core."
        )
    return {
        "error": error,
        "line": line,
        "class_led": bits - 1,
        "class_bits": bits,
        "busy_led": bits,
        "error_led": bits + 1,
        "run": "The button resets the core.\n\n" * (board.button is not None) + run,
    }


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"| {left} | {right} |" for left, right in rows)


def _files(names: list[str], options: HdlOptions) -> Iterable[tuple[str, str]]:
    for patterns, text in _FILES:
        there = [p for p in patterns.split() if any(fnmatch(n, p) for n in names)]
        if text == _IMAGES and options.patchable:
            text = "the pattern, for synthesis"
        if there:
            yield ", ".join(f"`{pattern}`" for pattern in there), text


def _build(name: str, options: HdlOptions) -> Iterable[tuple[str, str]]:
    if options.board is not None:
        tools = "Yosys and nextpnr" if options.board.open_tools else "Vivado"
        yield "`make board`", f"builds the bitstream with {tools}"
        yield "`make flash`", "puts it into the board with openFPGALoader"
        if options.board.registers:
            run = "`bramcast board /dev/ttyUSB0 BUNDLE --inputs RECIPE`"
            yield run, "anywhere: sends frames, compares each layer with golden"
        return
    pins = " ../pins.xdc" if options.serial else ""
    yield "Vivado", f"`vivado -mode batch -source vivado.tcl -tclargs xc7a35ticsg324-1L{pins}`"
    if options.axi:
        yield (
            "Vivado, as an IP",
            "`vivado -mode batch -source package.tcl`; this folder is an IP repository then",
        )
        yield (
            "Vivado, a Zynq",
            "`vivado -mode batch -source block_design.tcl -tclargs xc7z020clg400-1`, behind that",
        )
    pins = " ../pins.tcl" if options.serial else ""
    yield "Quartus", f'`quartus_sh -t quartus.tcl "Cyclone V" 5CEBA4F23C7{pins}`'
    for family, device, suffix in _OPEN:
        pins = f" --pins ../pins.{suffix}" if options.serial or suffix == "cst" else ""
        yield family, f"`python3 build.py {device}{pins}`"
    yield "Yosys, 7-series", _YOSYS.format(name)

# SPDX-License-Identifier: Apache-2.0
"""The top of a written folder: plain Verilog, with the bundle's parameters.

Block designs take it as a module, and its ports have the names by which they recognise AXI.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import prod

from bramcast.pack.bundle.manifest import IMAGES, Core, Frame, Manifest
from bramcast.sim.folder.boards import Board
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.parameters import adjustable
from bramcast.sim.folder.pll import pll_lines
from bramcast.sim.run.cosim import core_parameters

NETWORK = "network_"  # before the images' names where synthesis has the pattern under them


def identifier(name: str) -> str:
    """A Verilog name.

    >>> identifier("3-layer net"), identifier("kws")
    ('n3_layer_net', 'kws')
    >>> identifier("prüfung")
    'pr_fung'
    """
    clean = re.sub(r"\W", "_", name, flags=re.ASCII).lower()
    return clean if clean[:1].isalpha() else f"n{clean}"


_AXI_PORTS = (
    ("input", "AB", "s_axil_awaddr"), ("input", 3, "s_axil_awprot"),
    ("input", 1, "s_axil_awvalid"), ("output", 1, "s_axil_awready"),
    ("input", 32, "s_axil_wdata"), ("input", 4, "s_axil_wstrb"),
    ("input", 1, "s_axil_wvalid"), ("output", 1, "s_axil_wready"),
    ("output", 2, "s_axil_bresp"), ("output", 1, "s_axil_bvalid"),
    ("input", 1, "s_axil_bready"), ("input", "AB", "s_axil_araddr"),
    ("input", 3, "s_axil_arprot"), ("input", 1, "s_axil_arvalid"),
    ("output", 1, "s_axil_arready"), ("output", 32, "s_axil_rdata"),
    ("output", 2, "s_axil_rresp"), ("output", 1, "s_axil_rvalid"),
    ("input", 1, "s_axil_rready"), ("output", 1, "irq_o"),
)  # fmt: skip
_STREAM_PORTS = (
    ("input", "DB", "s_axis_tdata"), ("input", 1, "s_axis_tvalid"),
    ("output", 1, "s_axis_tready"), ("input", 1, "s_axis_tlast"),
    ("output", 32, "m_axis_tdata"), ("output", 1, "m_axis_tvalid"),
    ("input", 1, "m_axis_tready"), ("output", 1, "m_axis_tlast"),
    ("output", 17, "m_axis_tuser"),
)  # fmt: skip
_CORE_PORTS = (
    ("output", 1, "busy_o"), ("output", 1, "done_o"), ("output", 32, "cycles_o"),
    ("output", 16, "class_o"), ("output", 1, "ready_o"), ("output", 1, "program_error_o"),
    ("output", 1, "dropped_o"), ("output", 2, "frame_error_o"),
    ("input", 1, "abort_i"), ("output", 1, "aborting_o"), ("output", 1, "running_o"),
    ("output", 1, "broken_o"),
)  # fmt: skip


_KEEP_PORT = ("input", "KB", "s_axis_tkeep")


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the top; ``direction`` is input or output."""

    direction: str
    bits: int
    name: str


_LINE = (
    ("input", "clk"),
    ("input", "resetn"),
    ("input", "rx"),
    ("output", "tx"),
    ("output", "irq"),
)


def top_ports(core: Core, options: HdlOptions) -> list[Port]:
    """The ports of a top, in order."""
    if options.board is not None:
        return _board_ports(options.board)
    if options.serial:
        return [Port(direction, 1, name) for direction, name in _LINE]
    named = [*(_AXI_PORTS if options.axi else _CORE_PORTS), *_STREAM_PORTS]
    if options.beat > 1:
        named.append(_KEEP_PORT)
    stream_bits = options.beat * core.data_bits
    address_bits = options.address_bits(core) if options.axi else 0
    bits = {"AB": address_bits, "DB": stream_bits, "KB": stream_bits // 8}
    clocks = ["aclk", "aresetn"] + ["s_axil_aclk", "s_axil_aresetn"] * options.axi_clock
    return [
        *(Port("input", 1, name) for name in clocks),
        *(Port(d, w if isinstance(w, int) else bits[w], name) for d, w, name in named),
    ]


def top_text(manifest: Manifest, options: HdlOptions) -> str:
    """The Verilog top of a bundle's core."""
    if options.board is not None:
        return _board_text(manifest, options, options.board)
    if options.serial:
        return _serial_text(manifest, options)
    axi, beat, axi_clock = options.axi, options.beat, options.axi_clock
    core, name = manifest.core, identifier(manifest.name)
    ports = [p for p in top_ports(core, options) if not p.name.endswith(("aclk", "aresetn"))]
    buses = "s_axis:m_axis" + (":s_axil" if axi and not axi_clock else "")
    lines = [
        *_head(manifest, options),
        "`default_nettype none",
        *_module(name, options),
        *_clock_ports("", buses),
        *(_clock_ports("s_axil_", "s_axil") if axi_clock else []),
    ]
    declared = [
        f"    {p.direction:<6} wire {f'[{p.bits - 1}:0] ' if p.bits > 1 else ''}{p.name}"
        for p in ports
    ]
    lines.append(",\n".join(declared))
    lines += [
        ");",
        "",
        "  // A reset may come from anywhere: asserted at once, released by the clock.",
        *_reset(""),
        *(_reset("s_axil_") if axi_clock else []),
        "",
        f"  {'bramcast_axi' if axi else 'bramcast_core'} #(",
    ]
    if not axi:
        lines[-1:-1] = [
            "  wire        taken_unused, stopped_unused;",
            "  wire [20:0] nests_unused;",
            "  wire [31:0] host_unused;",
            "",
        ]
    values: dict[str, int | str] = {"BEAT": beat}
    if axi:
        values |= {"AXI_CLOCK": int(axi_clock), "AXI_ADDRESS_BITS": options.address_bits(core)}
        values |= options.registers()
    values |= {parameter.name: parameter.name for parameter in adjustable(options)}
    lines += _parameters(manifest, options, values)
    lines.append("  ) u_core (")
    wired = ["      .clk(aclk)", "      .rst(rst)"]
    if axi:
        own = ("s_axil_aclk", "s_axil_rst") if axi_clock else ("1'b0", "1'b0")
        wired += [f"      .s_axil_clk({own[0]})", f"      .s_axil_rst({own[1]})"]
    if beat == 1:
        wired.append(f"      .s_axis_tkeep({{{core.data_bits // 8}{{1'b1}}}})")
    wired += [f"      .{p.name}({p.name})" for p in ports]
    if not axi:
        wired += [
            "      .start_i(1'b1)", "      .taken_o(taken_unused)", "      .clear_error_i(2'd0)",
            "      .nests_o(nests_unused)", "      .stop_after_i(21'd0)",
            "      .stopped_o(stopped_unused)",
            "      .host_read_i(6'd0)", "      .host_we_i(4'd0)", "      .host_word_i(24'd0)",
            "      .host_beat_i(7'd0)", "      .host_data_i(32'd0)",
            "      .host_data_o(host_unused)",
        ]  # fmt: skip
    lines.append(",\n".join(wired))
    lines += ["  );", "", "endmodule", "`default_nettype wire", ""]
    return "\n".join(lines)


def _module(name: str, options: HdlOptions) -> list[str]:
    """The first lines of a top, with what a project may choose."""
    if not adjustable(options):
        return [f"module {name}_top ("]
    parameters = [(f"    parameter {p.name} = {p.value}", p.text) for p in adjustable(options)]
    lines = [f"{line},  // {text}" for line, text in parameters[:-1]]
    line, text = parameters[-1]
    return [f"module {name}_top #(", *lines, f"{line}  // {text}", ") ("]


def _head(manifest: Manifest, options: HdlOptions) -> list[str]:
    """What a top is, up to its module."""
    name = identifier(manifest.name)
    return [
        "// SPDX-License-Identifier: Apache-2.0",
        f"// {name}_top: the core for the network {name}, with its parameters and images.",
        "//",
        f"// {manifest.parameters:,} parameters, {manifest.macs:,} multiply-adds a frame.",
        *_inputs(manifest, options),
        *_results(manifest),
        "// its bit 16 marks a packet that an abort has cut.",
        f"// Written by bramcast {version('bramcast')}; the .mem files are looked for by name.",
        "//",
    ]


def _results(manifest: Manifest) -> list[str]:
    """What leaves: of several outputs a packet for each."""
    if not manifest.more_outputs:
        q = manifest.output.format.q
        return [f"// Output: {q} in 32 bits, TUSER of the last beat is the class;"]
    lines = ["// Outputs, a packet for each, one behind the other, 32 bits a beat:"]
    for frame in manifest.outputs:
        shape = " x ".join(map(str, frame.shape))
        beats = f"{prod(frame.shape):,} beats"
        lines.append(f"//   {frame.name}: {beats}, {shape} in {frame.format.q}")
    return [*lines, "// TUSER of a packet's last beat is the number of its largest;"]


def _parameters(
    manifest: Manifest,
    options: HdlOptions,
    more: Mapping[str, int | str],
    without: Sequence[str] = (),
) -> list[str]:
    """What a top gives its core; ``without``: what that module has no parameter for."""
    core = manifest.core
    values = {
        **core_parameters(core),
        "FRAME_DEPTH": options.frame_depth,
        "TLAST_ENDS": options.tlast_ends,
        **more,
    }
    given = [f"      .{key}({value})" for key, value in values.items() if key not in without]
    images = _images(core, "")
    if options.patchable:
        synthesis = "`ifdef SYNTHESIS  // the pattern that bramcast patch finds in a bitstream"
        images = f"{synthesis}\n{images}\n`else  // the network\n{_images(core, NETWORK)}\n`endif"
    return [",\n".join([*given, images])]


def _images(core: Core, prefix: str) -> str:
    """The parameters that name the images' files."""
    names = [name for name in IMAGES if core.depth(name)]
    return ",\n".join(f'      .{name.upper()}_IMAGE("{prefix}{name}.mem")' for name in names)


def _serial_text(manifest: Manifest, options: HdlOptions) -> str:
    """The top of a board: a clock, a reset, a serial line and a lamp."""
    chosen = {parameter.name: parameter.name for parameter in adjustable(options)}
    bits = options.address_bits(manifest.core)
    values: dict[str, int | str] = {**chosen, "AXI_ADDRESS_BITS": bits, **options.registers()}
    lines = [
        *_head(manifest, options),
        "`default_nettype none",
        *_module(identifier(manifest.name), options),
        "    input  wire clk,",
        "    input  wire resetn,  // active low, at any time",
        f"    input  wire rx,      // {options.line_baud:,.0f} baud at {options.mhz:g} MHz",
        "    output wire tx,",
        "    output wire irq      // for a lamp",
        ");",
        "",
        "  wire        rst;",
        "  wire [15:0] class_unused;",
        "  wire        busy_unused, error_unused;",
        "  bramcast_reset u_reset (",
        "      .clk(clk),",
        "      .aresetn(resetn),",
        "      .rst_o(rst)",
        "  );",
        "",
        "  bramcast_serial #(",
        *_parameters(manifest, options, values),
        "  ) u_serial (",
        "      .clk(clk),",
        "      .rst(rst),",
        "      .rx(rx),",
        "      .tx(tx),",
        "      .irq_o(irq),",
        "      .class_o(class_unused),",
        "      .busy_o(busy_unused),",
        "      .error_o(error_unused)",
        "  );",
        "",
        "endmodule",
        "`default_nettype wire",
        "",
    ]
    return "\n".join(lines)


def _board_ports(board: Board) -> list[Port]:
    button = [Port("input", 1, "button")] * (board.button is not None)
    return [
        Port("input", 1, "clk"),
        *button,
        Port("input", 1, "rx"),
        Port("output", 1, "tx"),
        Port("output", len(board.lamps), "led"),
        *(Port("output", 1, name) for name, _, _ in board.wired),
    ]


def _board_text(manifest: Manifest, options: HdlOptions, board: Board) -> str:
    """The top of a board that is known: with its PLL, button and lamps."""
    said = {
        "clk": f"{board.oscillator_mhz:g} MHz",
        "rx": f"{options.line_baud:,.0f} baud",
        "led": f"class in {board.class_lamps} bits, busy, error",
    }
    if board.button is not None:
        said["button"] = f"{'low' if board.button.low else 'high'} while it is pressed: a reset"
    ports = _board_ports(board)
    declared = []
    for number, port in enumerate(ports):
        wide = f"[{port.bits - 1}:0] " if port.bits > 1 else ""
        line = f"    {port.direction:<6} wire {wide}{port.name}{',' * (number < len(ports) - 1)}"
        declared.append(f"{line}  // {said[port.name]}" if port.name in said else line)
    count = len(board.lamps)
    led = f"lamp ^ {board.low_lamps}" if any(lamp.low for lamp in board.lamps) else "lamp"
    awake = "locked"
    if board.button is not None:
        awake += " && button" if board.button.low else " && !button"
    lines = [
        *_head(manifest, options),
        f"// For the board {board.name}: {board.title}.",
        "//",
        "`default_nettype none",
        *_module(identifier(manifest.name), options),
        *declared,
        ");",
        "",
        f"  // The core's clock: {options.mhz:g} MHz.",
        "  wire core_clk, locked;",
        *_clock_lines(options, board),
        "",
        "  wire        rst;",
        "  wire [15:0] number;",
        f"  wire        busy, error{', irq_unused' * board.registers};",
        f"  wire [{count - 1}:0]  lamp;  // high: lit",
        f"  assign led = {led};",
        *(f"  assign {name} = 1'b{level};" for name, _, level in board.wired),
        "",
        "  bramcast_board #(",
        f"      .LAMPS({count})",
        "  ) u_board (",
        "      .clk(core_clk),",
        f"      .awake_i({awake}),",
        "      .rst_o(rst),",
        "      .class_i(number),",
        "      .busy_i(busy),",
        "      .error_i(error),",
        "      .lamp_o(lamp)",
        "  );",
        "",
        *_core_of_a_board(manifest, options, board),
        "",
        "endmodule",
        "`default_nettype wire",
        "",
    ]
    return "\n".join(lines)


def _core_of_a_board(manifest: Manifest, options: HdlOptions, board: Board) -> list[str]:
    """The core on its line: with registers where there is room for them."""
    values: dict[str, int | str] = {p.name: p.name for p in adjustable(options)}
    if board.registers:
        values["AXI_ADDRESS_BITS"] = options.address_bits(manifest.core)
        values |= options.registers()
    without = () if board.registers else ("TLAST_ENDS",)  # its frames are counted
    name = "serial" if board.registers else "line"
    return [
        f"  bramcast_{name} #(",
        *_parameters(manifest, options, values, without),
        f"  ) u_{name} (",
        "      .clk(core_clk),",
        "      .rst(rst),",
        "      .rx(rx),",
        "      .tx(tx),",
        *["      .irq_o(irq_unused),"] * board.registers,
        "      .class_o(number),",
        "      .busy_o(busy),",
        "      .error_o(error)",
        "  );",
    ]


def _clock_lines(options: HdlOptions, board: Board) -> list[str]:
    """What makes the core's clock; in simulation ``clk`` is that clock."""
    wires = ["  assign core_clk = clk;", "  assign locked = 1'b1;"]
    if not options.needs_pll:
        return wires
    pll = pll_lines(board.pll, board.oscillator_mhz, options.mhz)
    return ["`ifdef SYNTHESIS", *pll, "`else", *wires, "`endif"]


def _clock_ports(prefix: str, buses: str) -> list[str]:
    """A clock of its buses, and its reset, as block designs recognise them."""
    clock, reset = f"{prefix}aclk", f"{prefix}aresetn"
    return [
        f'    (* X_INTERFACE_INFO = "xilinx.com:signal:clock:1.0 {clock} CLK" *)',
        f'    (* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF {buses}, ASSOCIATED_RESET {reset}" *)',
        f"    input  wire {clock},",
        f'    (* X_INTERFACE_INFO = "xilinx.com:signal:reset:1.0 {reset} RST" *)',
        '    (* X_INTERFACE_PARAMETER = "POLARITY ACTIVE_LOW" *)',
        f"    input  wire {reset},",
    ]


def _reset(prefix: str) -> list[str]:
    return [
        f"  wire {prefix}rst;",
        f"  bramcast_reset u_{prefix}reset (",
        f"      .clk({prefix}aclk),",
        f"      .aresetn({prefix}aresetn),",
        f"      .rst_o({prefix}rst)",
        "  );",
    ]


def _inputs(manifest: Manifest, options: HdlOptions) -> list[str]:
    """What comes: of several inputs one behind the other, a packet for each or for all."""
    if not manifest.more_inputs:
        return [f"// Input: {_frame(manifest.input)}."]
    each = [f"//   {frame.name}: {_frame(frame)}" for frame in manifest.inputs]
    packets = "a packet for each" if options.tlast_ends == 2 else "in one packet"
    return [f"// Inputs, one behind the other, {packets}:", *each]


def _frame(frame: Frame) -> str:
    y, x, c = frame.dims
    planes = f", {frame.planes} planes {frame.plane_shift} bits apart" if frame.planes > 1 else ""
    steps = [f"minus {frame.offsets}[c]"] if frame.offsets else []
    if any(frame.exponents):
        steps.append(f"times 2 to the power of {frame.exponents}[c]")
    scaled = f", feature c {', then '.join(steps)}" if steps else ""
    return f"{y} x {x} x {c} elements (y, x, c; c fastest) in {frame.format.q}{planes}{scaled}"

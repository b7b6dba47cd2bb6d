# SPDX-License-Identifier: Apache-2.0
"""The test bench of a written folder: a recorded frame, and what golden says of it.

Plain SystemVerilog that checks itself. It sees what every nest writes in the core's own log
(hw/bramcast_log.sv), results at the ports, and the ledger through the registers, where the core
has them.
"""

import re
import zlib
from collections.abc import Mapping

from bramcast.pack.axi.registers import (
    IDENTIFICATION,
    LEDGER_SLOT,
    mask,
    offset,
    window_bits,
)
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.formats.binary import bin_bytes, sections
from bramcast.pack.bundle.manifest import IMAGES, Core
from bramcast.pack.bundle.words import Words
from bramcast.sim.folder.boards import Board
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.recorded import (
    Recorded,
    beat_rows,
    frame_rows,
    ledger_rows,
    mem_lines,
    tops,
    word_rows,
)
from bramcast.sim.folder.template import filled, without_licence

BENCH = "bench.sv"
_LOG = {
    "core": "u_core.u_log",
    "axi": "u_core.u_core.u_log",
    "serial": "u_serial.u_axi.u_core.u_log",
    "line": "u_line.u_core.u_log",
}


def bench_files(
    record: Recorded, images: Mapping[str, Words], name: str, options: HdlOptions
) -> dict[str, str]:
    """The bench and the files that it reads, by name.

    Args:
        images: what the memories begin with.
        name: of the network, as a Verilog name; the bench simulates ``NAME_top``.
    """
    core, beats = record.machine.core, list(beat_rows(record))
    frame = list(frame_rows(record, options.beat, options.packets(record.machine.frame)))
    words = list(word_rows(record))
    entries = list(ledger_rows(record, options.ledger_depth))
    cycles = predict(record.machine.program, core).total
    kind = "serial" if options.serial else "axi" if options.axi else "core"
    if options.board is not None and not options.board.registers:
        kind = "line"
    values: dict[str, object] = {
        "name": name,
        "data_bits": core.data_bits,
        "stream_bits": options.beat * core.data_bits,
        "inputs": len(frame),
        "beats": len(beats),
        "words": len(words),
        "word_bits": core.lanes * core.data_bits,
        "word_pitch": max(core.lanes, core.taps) * core.data_bits,
        "tiles": core.tiles,
        "bank": core.scratch_depth * core.taps,
        "top_class": tops(record)[-1],
        "cycles": cycles,
        "ledger": len(entries),
        "patience": _patience(record, cycles, len(entries), options.serial),
        "image_checks": _image_checks(images, core),
        "log": _LOG[kind],
        "layer_cases": _cases([layer.name for layer in record.manifest.layers]),
        **_map(record, options),
    }
    values["checks"] = without_licence(filled("bench_checks.sv", values))
    if kind in ("serial", "line"):
        values |= _pins(options.board)
        text = filled(f"bench_{kind}.sv", values)
    else:
        values |= {part: _part(kind, part, options) for part in ("signals", "ports")}
        values["address_bits"] = options.address_bits(core) if options.axi else 0
        values["signals"] = str(values["signals"]).format(**values)
        values["run"] = without_licence(filled(f"bench_{kind}.sv", values))
        text = filled("bench_streams.sv", values)
    files = {BENCH: text, "bench_frame.mem": mem_lines(frame)}
    files["bench_beats.mem"] = mem_lines(beats)
    files |= {"bench_words.mem": mem_lines(words)} if words else {}
    return files | ({"bench_ledger.mem": mem_lines(entries)} if entries else {})


def _patience(record: Recorded, cycles: int, entries: int, serial: bool) -> str:
    """Clock cycles behind which nothing can come any more, generously; in the bench's words."""
    core = record.machine.core
    size = core.data_bits // 8
    read = 4 * sum(section.words * section.axi_words for section in sections(core))
    moved = record.frame.size * size + 4 * record.machine.beats_out
    if serial:  # two bytes for each at worst, of ten bits; packets around them, pauses of PULL
        return f"DIVISOR * {40 * (moved + 40 * entries + 400)} + {4 * cycles + 2 * read + 200_000}"
    return f"{4 * (cycles + moved) + 2 * read + 200 * entries + 20_000}"


def _image_checks(images: Mapping[str, Words], core: Core) -> str:
    """Lines that check each image, those of docs/axi.md's CHECK."""
    data = bin_bytes(images, core)
    lines = []
    for section in sections(core):
        crc = zlib.crc32(data[section.offset : section.offset + section.bytes])
        number = f"2'd{IMAGES.index(section.name)}"
        call = f"check_image({number}, 24'd{section.words}, 32'h{crc:08x}, \"{section.name}\");"
        lines.append(f"    {call}")
    return "\n".join(lines)


def _map(record: Recorded, options: HdlOptions) -> dict[str, object]:
    """Addresses and bits of the registers that the bench uses."""
    window = window_bits(record.machine.core, options.ledger_depth, options.peek)
    names = (
        "id",
        "status",
        "control",
        "errors",
        "frames",
        "class",
        "limit",
        "interrupt",
        "check",
        "crc32",
    )
    return {
        **{name: f"{offset(name.upper()):x}" for name in names},
        "cycles_at": f"{offset('CYCLES'):x}",
        "ledger_at": f"{LEDGER_SLOT << window:x}",
        "identification": f"{IDENTIFICATION:08X}",
        "ready_bit": mask("STATUS", "READY").bit_length() - 1,
        "checking_bit": mask("STATUS", "CHECKING").bit_length() - 1,
        "done_bit": mask("STATUS", "DONE").bit_length() - 1,
        "interrupt_done": mask("INTERRUPT", "DONE"),
        "start": mask("CONTROL", "START"),
    }


def _cases(names: list[str]) -> str:
    """Lines of a case statement that writes the layers' names, which may hold anything."""
    return "\n".join(
        f'      15\'d{number}: $write("%s", "{_printable(name)}");'
        for number, name in enumerate(names)
    )


def _printable(name: str) -> str:
    """What may stand between quotation marks in every simulator.

    >>> _printable('a."b\\\\c" é')
    'a._b_c_ _'
    """
    return re.sub(r'[^ -~]|["\\]', "_", name) or "_"


_SIGNALS = {
    "core": """
  wire        done;
  wire [31:0] cycles;
""",
    "axi": """
  localparam int ADDRESS_BITS = {address_bits};
  logic [ADDRESS_BITS-1:0] s_axil_awaddr, s_axil_araddr;
  logic [31:0]             s_axil_wdata;
  logic                    s_axil_awvalid, s_axil_wvalid, s_axil_arvalid;
  wire                     s_axil_awready, s_axil_wready, s_axil_bvalid;
  wire                     s_axil_arready, s_axil_rvalid;
  wire  [1:0]              s_axil_bresp, s_axil_rresp;
  wire  [31:0]             s_axil_rdata;
  wire                     irq;
""",
}
_ONE_CLOCK = """\
  logic                    bus_resetn;
  wire                     bus_clk = clk;
"""
_OWN_CLOCK = """\
  logic                    bus_clk, bus_resetn;
  initial bus_clk = 1'b0;
  always #7 bus_clk = !bus_clk;
"""
_PORTS = {
    "core": """\
      .busy_o(),
      .done_o(done),
      .cycles_o(cycles),
      .class_o(),
      .ready_o(),
      .program_error_o(),
      .dropped_o(),
      .frame_error_o(),
      .abort_i(1'b0),
      .aborting_o(),
      .running_o(),
      .broken_o(),
""",
    "axi": """\
      .s_axil_awaddr(s_axil_awaddr),
      .s_axil_awprot(3'd0),
      .s_axil_awvalid(s_axil_awvalid),
      .s_axil_awready(s_axil_awready),
      .s_axil_wdata(s_axil_wdata),
      .s_axil_wstrb(4'hF),
      .s_axil_wvalid(s_axil_wvalid),
      .s_axil_wready(s_axil_wready),
      .s_axil_bresp(s_axil_bresp),
      .s_axil_bvalid(s_axil_bvalid),
      .s_axil_bready(1'b1),
      .s_axil_araddr(s_axil_araddr),
      .s_axil_arprot(3'd0),
      .s_axil_arvalid(s_axil_arvalid),
      .s_axil_arready(s_axil_arready),
      .s_axil_rdata(s_axil_rdata),
      .s_axil_rresp(s_axil_rresp),
      .s_axil_rvalid(s_axil_rvalid),
      .s_axil_rready(1'b1),
      .irq_o(irq),
""",
}
_OWN_PORTS = """\
      .s_axil_aclk(bus_clk),
      .s_axil_aresetn(bus_resetn),
"""
_PINS = """\
      .clk(clk),
      {reset}.rx(rx),
      .tx(tx),
      {lamp}"""


def _pins(board: Board | None) -> dict[str, object]:
    """What of the serial line's bench hangs on the top's pins."""
    if board is None:
        return {
            "signals": "  logic clk, resetn, rx;\n  wire  tx, irq;",
            "ports": _PINS.format(reset=".resetn(resetn),\n      ", lamp=".irq(irq)"),
            "awake": "20 * DIVISOR",
            "lamp_task": "",
            "dark": "",
            "lit": "",
        }
    count, shown = len(board.lamps), board.class_lamps
    button = board.button
    reset = "" if button is None else f".button({'' if button.low else '!'}resetn),\n      "
    lamps = [".led(led)", *(f".{name}({name})" for name, _, _ in board.wired)]
    wired = "".join(f"\n  wire  {name};" for name, _, _ in board.wired)
    levels = " || ".join(f"{name} !== 1'b{level}" for name, _, level in board.wired)
    return {
        "signals": f"  logic clk, resetn, rx;\n  wire  tx;\n  wire  [{count - 1}:0] led;{wired}",
        "ports": _PINS.format(reset=reset, lamp=",\n      ".join(lamps)),
        "awake": "300 + 20 * DIVISOR",  # bramcast_board's reset
        "lamp_task": _LAMPS.format(top=count - 1, low=board.low_lamps, levels=levels or "1'b0"),
        "dark": f"    check_lamps({{2'b00, {{{shown}{{1'b1}}}}}});  // no class yet\n",
        "lit": f"    check_lamps({{2'b01, {shown}'(CLASS)}});  // busy not long ago\n",
    }


_LAMPS = """
  // {{error, busy, class}}; high is lit.
  task check_lamps(input [{top}:0] golden);
    if (!ended && ((led ^ {low}) !== golden || {levels})) begin
      $display("FAIL: the lamps show %b, expected %b", led ^ {low}, golden);
      failed;
    end
  endtask
"""
_KEEP = "      .s_axis_tkeep(s_axis_tkeep),\n"


def _part(kind: str, part: str, options: HdlOptions) -> str:
    """What a top needs beside the streams: its signals, or the lines of its ports."""
    if part == "signals":
        clock = (_OWN_CLOCK if options.axi_clock else _ONE_CLOCK) if options.axi else ""
        return _SIGNALS[kind] + clock
    ports = _PORTS[kind] + _OWN_PORTS * options.axi_clock + _KEEP * (options.beat > 1)
    return ports.removesuffix("\n")

# SPDX-License-Identifier: Apache-2.0
"""bramcast hdl: what it writes is clean, complete and computes what golden does."""

import math
import re
import shutil
import subprocess
import sys
import zlib

import numpy as np
import pytest
from support import DIGITS, need

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.load import load
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.run.runner import verilator_environment

BENCH = """
`timescale 1ns/1ps
module bench;
  reg clk = 0, rstn = 0;
  always #5 clk = ~clk;
  reg  [7:0]  data, frame [0:{last}];
  reg         valid = 0, last = 0;
  wire        ready, out_valid, out_last;
  wire [31:0] out;
  wire [16:0] user;
  integer     i = 0;
  {name}_top dut (
      .aclk(clk), .aresetn(rstn), .s_axis_tdata(data), .s_axis_tvalid(valid),
      .s_axis_tready(ready), .s_axis_tlast(last), .m_axis_tdata(out),
      .m_axis_tvalid(out_valid), .m_axis_tready(1'b1), .m_axis_tlast(out_last),
      .m_axis_tuser(user){more}
  );
  initial begin
    $readmemh("frame.hex", frame);
    repeat (20) @(negedge clk);
    rstn = 1;
    while (i <= {last}) begin
      @(negedge clk);
      valid = 1;
      data  = frame[i];
      last  = i == {last};
      @(posedge clk) if (ready) i = i + 1;
    end
    @(negedge clk) valid = 0;
  end
  always @(posedge clk) if (out_valid) begin
    $display("beat %0d %0d", $signed(out), user);
    if (out_last) $finish;
  end
  initial #{limit} $finish;
endmodule
"""
STREAMS_ONLY = """,
      .busy_o(), .done_o(), .cycles_o(), .class_o(), .ready_o(), .program_error_o(),
      .dropped_o(), .frame_error_o(), .abort_i(1'b0), .aborting_o(), .running_o(), .broken_o()"""


def bramcast(*arguments):
    command = [sys.executable, "-c", "from bramcast.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hdl")
    pack(read_recipe(DIGITS / "mlp.toml"), folder / "mlp")
    return folder / "mlp"


@pytest.mark.cosim
@pytest.mark.parametrize("tlast", [True, False])
def test_icarus_runs_the_streams(bundle, tmp_path, tlast):
    """A bench without anything of ours, run inside the folder: the images are found by name."""
    need("icarus")
    options = [] if tlast else ["--count-frames"]
    assert bramcast("hdl", bundle, "-o", tmp_path / "fpga", *options).returncode == 0
    machine = load(bundle)
    x = read_inputs(DIGITS / "mlp.toml").x[:1]
    frame = frames_from_arrays(x, machine.manifest.input)
    beats = machine.run(frame).beats[0]
    folder = tmp_path / "fpga"
    (folder / "frame.hex").write_text("".join(f"{v & 255:02x}\n" for v in frame[0]))
    bench = BENCH.format(name="digits_mlp", last=frame.size - 1, limit=200_000, more=STREAMS_ONLY)
    if not tlast:
        bench = bench.replace(".s_axis_tlast(last)", ".s_axis_tlast(1'b0)")
    (folder / "bench.v").write_text(bench)
    built = subprocess.run(
        ["iverilog", "-g2012", "-o", "bench.vvp", "-s", "bench", "-f", "sources.f", "bench.v"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    ran = subprocess.run(["vvp", "bench.vvp"], cwd=folder, capture_output=True, text=True)
    got = [tuple(map(int, m)) for m in re.findall(r"beat (-?\d+) (\d+)", ran.stdout)]
    assert [value for value, _ in got] == beats.tolist()
    assert got[-1][1] == int(np.argmax(beats))


@pytest.mark.parametrize("options", [[], ["--serial"]])
def test_the_folder_has_what_its_scripts_name(bundle, tmp_path, options):
    assert bramcast("hdl", bundle, "-o", tmp_path / "fpga", *options).returncode == 0
    folder = tmp_path / "fpga"
    names = (folder / "sources.f").read_text().split()
    assert names[-1] == "digits_mlp_top.v" and all((folder / n).is_file() for n in names)
    for script in ("vivado.tcl", "quartus.tcl"):
        text = (folder / script).read_text()
        for file in re.findall(r"\$here[/ ]([\w.]+\.(?:sv|v|mem|xdc|sdc))", text):
            assert (folder / file).is_file(), file
        if shutil.which("tclsh"):
            check = f"puts [info complete [read [open {folder / script}]]]"
            done = subprocess.run(["tclsh"], input=check, capture_output=True, text=True)
            assert done.stdout.strip() == "1"
    for image in ("program", "weights", "bias"):
        assert (folder / f"{image}.mem").read_bytes() == (bundle / f"{image}.mem").read_bytes()


OPTIONS = {
    "streams": [],
    "beats": ["--beat", "4"],
    "axi": ["--axi"],
    "clock": ["--axi", "--axi-clock", "--beat", "2"],
}
REGISTERS = ["--axi", "--ledger", "16", "--peek", "--counters", "--no-readback", "--limit", "5000"]
SERIAL = ["--serial", "--ledger", "16", "--peek", "--clock-mhz", "12", "--baud", "3000000"]


@pytest.mark.cosim
@pytest.mark.parametrize("options", [*OPTIONS.values(), REGISTERS, SERIAL, ["--patchable"]])
def test_verilator_finds_nothing_to_warn_of(bundle, tmp_path, options):
    need("verilator")
    done = bramcast("hdl", bundle, "-o", tmp_path / "fpga", *options)
    assert done.returncode == 0, done.stderr
    lint = subprocess.run(
        ["verilator", "--lint-only", "-Wall", "--top-module", "digits_mlp_top", "-f", "sources.f"],
        cwd=tmp_path / "fpga", env=verilator_environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert lint.returncode == 0 and not lint.stderr, lint.stderr


def ports_of(text):
    """The top's ports with their widths, in order."""
    body = text.split("module ")[1].split(");\n")[0]
    return re.findall(r"^    (?:input|output) +wire (?:\[\d+:0\] )?\w+", body, re.M)


def test_options_add_ports_and_move_none(bundle, tmp_path):
    tops = {}
    for name, options in OPTIONS.items():
        assert bramcast("hdl", bundle, "-o", tmp_path / name, *options).returncode == 0
        tops[name] = ports_of((tmp_path / name / "digits_mlp_top.v").read_text())
    plain, axi = tops["streams"], tops["axi"]
    wide = [p.replace("[7:0] s_axis_tdata", "[31:0] s_axis_tdata") for p in plain]
    assert tops["beats"] == [*wide, "    input  wire [3:0] s_axis_tkeep"]
    wide = [p.replace("[7:0] s_axis_tdata", "[15:0] s_axis_tdata") for p in axi]
    own = ["    input  wire s_axil_aclk", "    input  wire s_axil_aresetn"]
    assert tops["clock"] == [*wide[:2], *own, *wide[2:], "    input  wire [1:0] s_axis_tkeep"]


def parameters_of(text):
    """What the top gives the core, by name; its own parameters by what they are if nobody says."""
    given = dict(re.findall(r"^      \.(\w+)\(([^)]*)\),?$", text.split(") u_core (")[0], re.M))
    own = dict(re.findall(r"^    parameter (\w+) = (\d+),? ", text, re.M))
    return {name: own.get(value, value) for name, value in given.items()}


def test_register_options_become_parameters(bundle, tmp_path):
    tops = {}
    for name, options in {"axi": ["--axi"], "all": REGISTERS}.items():
        assert bramcast("hdl", bundle, "-o", tmp_path / name, *options).returncode == 0
        tops[name] = (tmp_path / name / "digits_mlp_top.v").read_text()
    plain, full = parameters_of(tops["axi"]), parameters_of(tops["all"])
    added = {name: value for name, value in full.items() if plain.get(name) != value}
    assert added == {
        "LEDGER_DEPTH": "16", "PEEK": "1", "COUNTERS": "1", "READBACK": "0", "LIMIT": "5000",
    }  # fmt: skip
    assert set(plain) < set(full) and ports_of(tops["axi"]) == ports_of(tops["all"])


def test_the_address_grows_with_the_widest_window(bundle, tmp_path):
    """Entries of the ledger take 8 bytes each; 2**14 of them 2**17, in each of eight slots."""
    done = bramcast("hdl", bundle, "-o", tmp_path / "fpga", "--axi", "--ledger", "16384")
    assert done.returncode == 0, done.stderr
    top = (tmp_path / "fpga/digits_mlp_top.v").read_text()
    assert parameters_of(top)["AXI_ADDRESS_BITS"] == "20"
    assert "    input  wire [19:0] s_axil_awaddr" in ports_of(top)


def test_a_board_has_five_pins(bundle, tmp_path):
    done = bramcast("hdl", bundle, "-o", tmp_path / "fpga", *SERIAL)
    assert done.returncode == 0, done.stderr
    assert "DIVISOR 4, 3,000,000 baud at 12 MHz" in done.stdout
    top = (tmp_path / "fpga/digits_mlp_top.v").read_text()
    assert [port.split()[-1] for port in ports_of(top)] == ["clk", "resetn", "rx", "tx", "irq"]
    given = dict(re.findall(r"^      \.(\w+)\(([^)]*)\),?$", top.split(") u_serial")[0], re.M))
    assert {name: given[name] for name in ("LEDGER_DEPTH", "PEEK", "DIVISOR")} == {
        "LEDGER_DEPTH": "16", "PEEK": "1", "DIVISOR": "DIVISOR",
    }  # fmt: skip
    assert re.findall(r"parameter (\w+) = (\d+)", top) == [("DIVISOR", "4")]
    assert given["WEIGHTS_IMAGE"] == '"weights.mem"' and "READBACK" not in given
    for clock in ("clock.xdc", "clock.sdc"):
        text = (tmp_path / "fpga" / clock).read_text()
        assert "create_clock -name clk -period 83.3333 [get_ports clk]" in text


@pytest.mark.parametrize(
    "options, divisor",
    [
        ([], 868),  # 100 MHz, 115,200 baud
        (["--clock-mhz", "27"], 234),
        (["--baud", "921600"], 109),
        (["--divisor", "65536"], 65536),
        (["--divisor", "50", "--clock-mhz", "50"], 50),
    ],
)
def test_a_bit_takes_the_clock_over_the_baud_rate(bundle, tmp_path, options, divisor):
    done = bramcast("hdl", bundle, "-o", tmp_path / "fpga", "--serial", *options)
    assert done.returncode == 0 and f"; DIVISOR {divisor}, " in done.stdout, done.stderr
    assert f"parameter DIVISOR = {divisor} " in (tmp_path / "fpga/digits_mlp_top.v").read_text()


LINE = """
`timescale 1ns/1ps
module bench;
  reg clk = 0, resetn = 0, rx = 1;
  always #5 clk = ~clk;
  wire tx, irq;
  reg [7:0] bytes [0:{last}], got;
  integer i, b, n;
  digits_mlp_top dut (.clk(clk), .resetn(resetn), .rx(rx), .tx(tx), .irq(irq));
  initial begin
    $readmemh("bytes.hex", bytes);
    repeat (20) @(negedge clk);
    resetn = 1;
    repeat (200) @(negedge clk);
    for (i = 0; i <= {last}; i = i + 1) begin
      rx = 0;
      repeat (4) @(negedge clk);
      for (b = 0; b < 8; b = b + 1) begin
        rx = bytes[i][b];
        repeat (4) @(negedge clk);
      end
      rx = 1;
      repeat (bytes[i] == 8'hC0 ? 6000 : 4) @(negedge clk);  // an answer's time
    end
    $finish;
  end
  always @(negedge clk) if (tx === 1'b0) begin
    repeat (2) @(negedge clk);
    for (n = 0; n < 8; n = n + 1) begin
      repeat (4) @(negedge clk);
      got[n] = tx;
    end
    repeat (4) @(negedge clk);
    $display("byte %0d", tx === 1'b1 ? got : 8'hxx);
  end
endmodule
"""


def packet(sequence, command, count, address, payload=b""):
    """A request as docs/board.md has it."""
    body = bytes([sequence, command]) + count.to_bytes(2, "little")
    body += address.to_bytes(4, "little") + payload
    body += zlib.crc32(body).to_bytes(4, "little")
    return b"\xc0" + body.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


@pytest.mark.cosim
def test_icarus_asks_a_board_for_its_images(bundle, tmp_path):
    """By its two wires: VALID, and the CRC-32 of the program, which nobody has loaded."""
    need("icarus")
    assert bramcast("hdl", bundle, "-o", tmp_path / "fpga", *SERIAL).returncode == 0
    folder = tmp_path / "fpga"
    lines = (folder / "program.mem").read_text().splitlines()
    words = [int(line, 16) for line in lines if re.fullmatch("[0-9A-Fa-f]+", line)]
    asked = packet(1, 2, 1, 0x6C) + packet(2, 1, 1, 0x60, len(words).to_bytes(4, "little"))
    asked += packet(3, 2, 1, 0x64)
    (folder / "bytes.hex").write_text("".join(f"{b:02x}\n" for b in asked))
    (folder / "bench.v").write_text(LINE.format(last=len(asked) - 1))
    built = subprocess.run(
        ["iverilog", "-g2012", "-o", "bench.vvp", "-s", "bench", "-f", "sources.f", "bench.v"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    ran = subprocess.run(["vvp", "bench.vvp"], cwd=folder, capture_output=True, text=True)
    heard = bytes(int(byte) for byte in re.findall(r"^byte (\d+)$", ran.stdout, re.M))
    answers = [
        a.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
        for a in heard.split(b"\xc0") if a
    ]  # fmt: skip
    found = [(a[0], a[1], int.from_bytes(a[4:8], "little")) for a in answers]
    program = zlib.crc32(b"".join(word.to_bytes(4, "little") for word in words))
    assert len(words) > 60 and found == [(1, 0, 15), (2, 0, 1), (3, 0, program)]


def test_constraints_name_what_is_in_the_sources(bundle, tmp_path):
    """Every cell that crossing.xdc and .sdc speak of is a register of the instance named there."""
    assert bramcast("hdl", bundle, "-o", tmp_path / "fpga", *OPTIONS["clock"]).returncode == 0
    folder = tmp_path / "fpga"
    texts = {path.stem: path.read_text() for path in folder.glob("*.*v")}
    instances = {
        instance: module
        for text in texts.values()
        for module, instance in re.findall(
            r"^ +(bramcast_\w+) (?:#\((?:.|\n)*?\) )?(u_\w+) \(", text, re.M
        )
    }
    names = set()
    for file in ("crossing.xdc", "crossing.sdc"):
        text = (folder / file).read_text()
        found = re.findall(r"\*(\w+[/|](?:\w+[/|])?\w+?)(?:_reg)?\*?[}/|]", text)
        assert len(found) >= 2 * 3 + 6, found
        names |= {tuple(re.split(r"[/|]", name)) for name in found}
    for *path, register in names:
        for instance in path:
            modules = [instances[i] for i in instances if i.endswith(instance)]
            assert modules, instance
        assert all(re.search(rf"\b{register} +<=", texts[module]) for module in modules), register
    assert {name[-1] for name in names} >= {
        "release_q",
        "request_q",
        "answer_q",
        "meta_q",
        "wdata_o",
    }
    plain = bramcast("hdl", bundle, "-o", tmp_path / "plain")
    assert plain.returncode == 0 and "u_cross" not in (tmp_path / "plain/crossing.xdc").read_text()


IN_RESET = """
`timescale 1ns/1ps
module bench;
  reg  clk = 0, bus = 0, rstn = 1, bus_rstn = 1, low = 0, bus_low = 0;
  always #5 clk = ~clk;
  always #{half} bus = ~bus;
  integer wrong = 0, seen = 0, bus_seen = 0, resets = 0, beat = 0;
  wire in_ready, out_valid;
  wire [4:0] answers;
  {name}_top dut (
      .aclk(clk), .aresetn(rstn), .s_axis_tdata({{{bits}{{1'b0}}}}), .s_axis_tvalid(1'b1),
      .s_axis_tready(in_ready), .s_axis_tlast(beat == {last}), .m_axis_tdata(),
      .m_axis_tvalid(out_valid), .m_axis_tready(1'b0), .m_axis_tlast(), .m_axis_tuser(){more}
  );
  // In every cycle of a reset but the one with whose edge it comes; and X is not low.
  always @(posedge clk) begin
    low <= !rstn;
    if (low && !rstn) begin
      seen = seen + 1;
      if ({{in_ready, out_valid}} !== 2'd0) wrong = wrong + 1;
    end
  end
  always @(posedge bus) begin
    bus_low <= !bus_rstn;
    if (bus_low && !bus_rstn) begin
      bus_seen = bus_seen + 1;
      if (answers !== 5'd0) wrong = wrong + 1;
    end
  end
  always @(posedge clk) begin
    if (in_ready === 1'b1) beat <= beat == {last} ? 0 : beat + 1;
    if (!rstn) beat <= 0;
  end
  integer ready_q = 0, answered_q = 0, valid_q = 0;
  always @(posedge clk) if (out_valid === 1'b1) valid_q = valid_q + 1;
  always @(posedge clk) if (in_ready === 1'b1) ready_q = ready_q + 1;
  always @(posedge bus) if (|answers === 1'b1) answered_q = answered_q + 1;
  initial begin
    #0.25;  // never together with a clock's edge
    repeat (60) begin
      #($urandom % 7000 + 100) rstn = 0;
      bus_rstn = 0;
      #($urandom % 90 + 3) rstn = 1;
      bus_rstn = 1;
      resets = resets + 1;
    end
    $display("wrong %0d seen %0d bus %0d ready %0d answered %0d valid %0d", wrong, seen,
             bus_seen, ready_q, answered_q, valid_q);
    $finish;
  end
endmodule
"""
BUS_PORTS = """,
      .s_axil_awaddr({ab}'h40), .s_axil_awprot(3'd0), .s_axil_awvalid(1'b1),
      .s_axil_awready(answers[0]), .s_axil_wdata(32'd1), .s_axil_wstrb(4'hF),
      .s_axil_wvalid(1'b1), .s_axil_wready(answers[1]), .s_axil_bresp(),
      .s_axil_bvalid(answers[2]), .s_axil_bready(1'b0), .s_axil_araddr({ab}'h0),
      .s_axil_arprot(3'd0), .s_axil_arvalid(1'b1), .s_axil_arready(answers[3]),
      .s_axil_rdata(), .s_axil_rresp(), .s_axil_rvalid(answers[4]), .s_axil_rready(1'b0),
      .irq_o()"""


@pytest.mark.cosim
@pytest.mark.parametrize("kind", OPTIONS)
def test_nothing_is_valid_or_ready_in_reset(bundle, tmp_path, kind):
    """Resets at any time, of any length, on a core that is at work; the bus never rests."""
    need("icarus")
    assert bramcast("hdl", bundle, "-o", tmp_path / "fpga", *OPTIONS[kind]).returncode == 0
    folder = tmp_path / "fpga"
    top = (folder / "digits_mlp_top.v").read_text()
    beat = int(re.search(r"\.BEAT\((\d)\)", top)[1])
    more = "" if beat == 1 else f", .s_axis_tkeep({{{beat}{{1'b1}}}})"
    if kind in ("streams", "beats"):
        more += STREAMS_ONLY
        bus = "assign answers = 5'd0;"
    else:
        width = int(re.search(r"\[(\d+):0\] s_axil_awaddr", top)[1]) + 1
        more += BUS_PORTS.format(ab=width)
        bus = ""
    if kind == "clock":
        more += ", .s_axil_aclk(bus), .s_axil_aresetn(bus_rstn)"
    bench = IN_RESET.format(
        name="digits_mlp", more=more, bits=8 * beat, half=3.7 if kind == "clock" else 5,
        last=math.prod(load(bundle).manifest.input.dims) // beat - 1,
    )  # fmt: skip
    (folder / "bench.v").write_text(
        bench.replace("  // In every cycle", f"  {bus}\n  // In every cycle")
    )
    built = subprocess.run(
        ["iverilog", "-g2012", "-o", "bench.vvp", "-s", "bench", "-f", "sources.f", "bench.v"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    ran = subprocess.run(["vvp", "bench.vvp"], cwd=folder, capture_output=True, text=True)
    found = dict(re.findall(r"(\w+) (\d+)", ran.stdout.splitlines()[-1]))
    counts = {name: int(count) for name, count in found.items()}
    assert counts["wrong"] == 0, ran.stdout
    assert min(counts[name] for name in ("seen", "bus", "ready", "valid")) > 100, ran.stdout
    assert bool(counts["answered"]) == (kind in ("axi", "clock"))


def test_wrong_calls(bundle, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "Notes.txt").write_text("mine")
    for arguments, word in (
        ((tmp_path / "none", "-o", tmp_path / "x"), "no such bundle"),
        ((bundle, "-o", tmp_path / "mine"), "Notes.txt"),
        ((bundle, "-o", tmp_path / "x", "--frame-depth", "24"), "power of two"),
        ((bundle, "-o", tmp_path / "x", "--beat", "3"), "1, 2, 4 or 8"),
        ((bundle, "-o", tmp_path / "x", "--axi-clock"), "add --axi"),
        ((bundle, "-o", tmp_path / "x", "--axi", "--ledger", "12"), "power of two"),
        ((bundle, "-o", tmp_path / "x", "--axi", "--ledger", str(1 << 27)), "33 bits"),
        ((bundle, "-o", tmp_path / "x", "--axi", "--limit", str(1 << 31)), "2147483647 cycles"),
        ((bundle, "-o", tmp_path / "x", "--serial", "--axi"), "leave --axi out"),
        ((bundle, "-o", tmp_path / "x", "--serial", "--beat", "2"), "--serial has not"),
        ((bundle, "-o", tmp_path / "x", "--serial", "--axi-clock"), "add --axi"),
        ((bundle, "-o", tmp_path / "x", "--serial", "--ledger", str(1 << 26)), "there are 31"),
        ((bundle, "-o", tmp_path / "x", "--serial", "--divisor", "3"), "4 to 65536"),
        ((bundle, "-o", tmp_path / "x", "--serial", "--baud", "1200"), "not 83333 (1,200 baud"),
        ((bundle, "-o", tmp_path / "x", "--serial", "--baud", "22000000"), "2 % beside it"),
        ((bundle, "-o", tmp_path / "x", "--serial", "--baud", "0"), "1 or more"),
        ((bundle, "-o", tmp_path / "x", "--serial", "--clock-mhz", "nan"), "1 to 1000"),
        (
            (bundle, "-o", tmp_path / "x", "--serial", "--divisor", "9", "--baud", "9600"),
            "leave one of them out",
        ),
        *(
            ((bundle, "-o", tmp_path / "x", "--axi", *option), "add --serial")
            for option in (("--divisor", "9"), ("--baud", "9600"), ("--clock-mhz", "12"))
        ),
        *(
            ((bundle, "-o", tmp_path / "x", *option), f"{option[0]} is of the AXI4-Lite slave")
            for option in (
                ("--ledger", "16"),
                ("--peek",),
                ("--counters",),
                ("--no-readback",),
                ("--limit", "0"),
            )
        ),
    ):
        done = bramcast("hdl", *arguments)
        assert done.returncode == 2 and word in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1 and not done.stdout
    assert not (tmp_path / "x").exists()

# SPDX-License-Identifier: Apache-2.0
"""bramcast hdl: what it writes is clean, complete and computes what golden does."""

import re
import shutil
import subprocess
import sys

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
@pytest.mark.parametrize("axi", [False, True])
def test_verilator_finds_nothing_to_warn_of(bundle, tmp_path, axi):
    need("verilator")
    done = bramcast("hdl", bundle, "-o", tmp_path / "fpga", *(["--axi"] if axi else []))
    assert done.returncode == 0, done.stderr
    lint = subprocess.run(
        ["verilator", "--lint-only", "-Wall", "--top-module", "digits_mlp_top", "-f", "sources.f"],
        cwd=tmp_path / "fpga", env=verilator_environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert lint.returncode == 0 and not lint.stderr, lint.stderr


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


def test_the_folder_has_what_its_scripts_name(bundle, tmp_path):
    assert bramcast("hdl", bundle, "-o", tmp_path / "fpga").returncode == 0
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


def test_wrong_calls(bundle, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "Notes.txt").write_text("mine")
    for arguments, word in (
        ((tmp_path / "none", "-o", tmp_path / "x"), "no such bundle"),
        ((bundle, "-o", tmp_path / "mine"), "Notes.txt"),
        ((bundle, "-o", tmp_path / "x", "--frame-depth", "24"), "power of two"),
    ):
        done = bramcast("hdl", *arguments)
        assert done.returncode == 2 and word in done.stderr, done.stderr
    assert not (tmp_path / "x").exists()

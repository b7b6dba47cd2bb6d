# SPDX-License-Identifier: Apache-2.0
"""README.md of a written folder names what is there, and its commands are right."""

import re
import subprocess
from fnmatch import fnmatch

import pytest
from support import ROOT, need

from bramcast.golden.load import load
from bramcast.pack.bundle.cycles import predict
from bramcast.sim.folder.boards import BOARDS
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.project import write_project

BUNDLE = ROOT / "tests" / "data" / "bundles" / "digits_gru"
KINDS = {
    "streams": HdlOptions(beat=2),
    "axi": HdlOptions(axi=True, ledger_depth=64),
    "serial": HdlOptions(serial=True),
    "patchable": HdlOptions(axi=True, patchable=True),
    "board": HdlOptions(serial=True, board=BOARDS["ulx3s"]),
    "vivado": HdlOptions(serial=True, board=BOARDS["arty-a7-35t"], ledger_depth=64),
}


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    return write_project(BUNDLE, tmp_path / "fpga", KINDS[request.param]).parent


def test_it_names_every_file_and_no_other(folder):
    text = (folder / "README.md").read_text()
    table = text.split("| file | |")[1].split("## Simulate")[0]
    patterns = re.findall(r"`([^`]+)`", table)
    files = {path.name for path in folder.iterdir()} - {"README.md"}
    for pattern in patterns:
        assert any(fnmatch(name, pattern) for name in files), pattern
    assert not [n for n in files if not any(fnmatch(n, pattern) for pattern in patterns)]
    named = re.findall(r"(?<![\w./])[\w.]+\.(?:tcl|sv|f|xml)\b", text)  # not ../pins.tcl
    assert named and set(named) <= files
    machine = load(BUNDLE)
    cycles = predict(machine.program, machine.core).total
    assert f"\n{cycles:,} clock cycles a frame" in text and "@" not in text


def test_it_says_which_images_are_a_pattern(folder, request):
    patchable = request.node.callspec.params["folder"] == "patchable"
    text = (folder / "README.md").read_text()
    assert ("`bias.mem`, `table.mem` | the pattern, for synthesis |" in text) == patchable
    assert ("bramcast patch" in text) == patchable == ("`network_*.mem`" in text)


@pytest.mark.cosim
@pytest.mark.parametrize("folder", [k for k in KINDS if KINDS[k].board is None], indirect=True)
def test_its_command_for_icarus_passes(folder):
    need("icarus")
    text = (folder / "README.md").read_text()
    command = re.search(r"^\| Icarus Verilog 11 \| `(.+)` \|$", text, re.M)[1]
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and re.search("^PASS: ", done.stdout, re.M), done.stderr


def test_the_page_has_the_same_commands(folder):
    """docs/folder.md, the folder's own page and its Makefile."""
    found = [
        dict(re.findall(r"^\| ([\w, ]+?)(?: \(Vivado\))? \| `(.*bench.*)` \|$", text, re.M))
        for text in ((folder / "README.md").read_text(), (ROOT / "docs/folder.md").read_text())
    ]
    simulators = {"Icarus Verilog 11", "Verilator 5", "Questa, ModelSim", "xsim"}
    assert found[0] == found[1] and set(found[0]) == simulators
    make = (folder / "Makefile").read_text()
    make = make.replace("verilator --binary $(VERILATOR_FLAGS)", "verilator --binary")
    steps = [step.strip() for command in found[0].values() for step in command.split("&&")]
    assert all(step in make for step in steps)

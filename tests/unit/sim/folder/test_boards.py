# SPDX-License-Identifier: Apache-2.0
"""bramcast hdl --board: pins, PLL, commands of each board that is known."""

import re
import subprocess
from fractions import Fraction

import pytest
from support import ROOT, bramcast
from vendor_tcl import VIVADO, run_script

from bramcast.pack.bundle.errors import InputError
from bramcast.sim.folder.boards import BOARDS
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.pll import PLLS, dividers
from bramcast.sim.folder.project import write_project

BUNDLE = ROOT / "tests" / "data" / "bundles" / "digits_mlp"
PLACES = {
    ".lpf": r'LOCATE COMP "([^"]+)" SITE "(\w+)"',
    ".pcf": r"set_io (?:-pullup yes )?(\S+) (\w+)",
    ".cst": r'IO_LOC "([^"]+)" (\w+);',
    ".xdc": r"PACKAGE_PIN (\w+) .*get_ports \{(\S+)\}",
}


@pytest.fixture(scope="module", params=BOARDS)
def folder(request, tmp_path_factory):
    options = HdlOptions(serial=True, board=BOARDS[request.param])
    top = write_project(BUNDLE, tmp_path_factory.mktemp("fpga") / request.param, options)
    return top.parent


def places(folder):
    """Port to pin, as the constraint file says."""
    (file,) = folder.glob("board.*")
    found = re.findall(PLACES[file.suffix], file.read_text())
    return {port: pin for port, pin in (f[::-1] if file.suffix == ".xdc" else f for f in found)}


def test_every_port_has_a_pin_of_its_own(folder):
    top = (folder / "digits_mlp_top.v").read_text()
    declared = re.findall(r"^    (?:input|output) +wire (?:\[(\d+):0\] )?(\w+)", top, re.M)
    bits = {
        name if high == "" else f"{name}[{i}]"
        for high, name in declared
        for i in range(int(high or 0) + 1)
    }
    pins = places(folder)
    assert set(pins) == bits and len(set(pins.values())) == len(pins)


@pytest.mark.parametrize(
    "name, pins",
    [  # as the makers' files have them
        ("ulx3s", {"clk": "G2", "rx": "M1", "tx": "L4", "led[0]": "B2", "led[7]": "H3"}),
        ("icebreaker", {"clk": "35", "rx": "6", "tx": "9", "button": "10", "led[6]": "11"}),
        ("hx8k", {"clk": "J3", "rx": "B10", "tx": "B12", "led[0]": "B5", "led[7]": "C3"}),
        ("tangnano9k", {"clk": "52", "rx": "18", "tx": "17", "button": "3", "led[5]": "16"}),
        ("arty-a7-35t", {"clk": "E3", "rx": "A9", "tx": "D10", "button": "C2", "led[0]": "H5"}),
    ],
)
def test_pins_are_those_of_the_board(tmp_path, name, pins):
    done = bramcast("hdl", BUNDLE, "-o", tmp_path / "fpga", "--board", name)
    assert done.returncode == 0, done.stderr
    assert f"board {name}: {BOARDS[name].title}; clock " in done.stdout
    assert pins.items() <= places(tmp_path / "fpga").items()


@pytest.mark.parametrize(
    "kind, clock, wanted, settings",
    [  # of ecppll, icepll, gowin_pll; None: other values give the same clock
        ("ecp5", 25, 100, (1, 4, 6)),
        ("ice40_pad", 12, 18, (1, 48, 32)),
        ("ice40_core", 12, 48, (1, 64, 16)),
        ("gowin9", 27, 54, (1, 2, None)),
        ("mmcm", 100, 80, (1, None, None)),
    ],
)
def test_dividers_are_those_of_the_tools(kind, clock, wanted, settings):
    found = dividers(kind, clock, wanted)
    given = (found.reference, found.feedback, found.output)
    assert all(mine in (None, theirs) for mine, theirs in zip(settings, given, strict=True))
    assert found.mhz == wanted


@pytest.mark.parametrize("kind", PLLS)
def test_a_setting_stays_within_the_ranges(kind):
    pll = PLLS[kind]
    found = list(pll.settings(Fraction(25)))
    assert len(found) > 100
    for d in found:
        oscillator = d.mhz * d.output
        assert pll.oscillator[0] <= oscillator <= pll.oscillator[1]
        assert pll.clock[0] <= d.mhz <= pll.clock[1]
        assert pll.compared[0] <= Fraction(25) / d.reference <= pll.compared[1]
        assert Fraction(25) / d.reference * d.feedback == (d.mhz if pll.behind else oscillator)


def test_the_top_has_the_clock_that_is_asked_for(tmp_path):
    """What comes out of the PLL, by the numbers that stand in the text; DIVISOR follows."""
    done = bramcast("hdl", BUNDLE, "-o", tmp_path, "--board", "ulx3s", "--clock-mhz", "87.5")
    assert done.returncode == 0, done.stderr
    top = (tmp_path / "digits_mlp_top.v").read_text()
    given = {name: int(value) for name, value in re.findall(r"\.(CLK\w+DIV)\((\d+)\)", top)}
    assert 25 / given["CLKI_DIV"] * given["CLKFB_DIV"] == 87.5
    assert 400 <= 87.5 * given["CLKOP_DIV"] <= 800
    assert 'FREQUENCY_PIN_CLKOP = "87.5"' in top
    assert "parameter DIVISOR = 760 " in top  # 87.5 MHz / 115,200 baud
    assert "--freq 87.5 " in (tmp_path / "Makefile").read_text()
    assert 'FREQUENCY PORT "clk" 25 MHZ;' in (tmp_path / "board.lpf").read_text()


def test_the_boards_own_clock_needs_no_pll(tmp_path):
    done = bramcast("hdl", BUNDLE, "-o", tmp_path, "--board", "icebreaker", "--clock-mhz", "12")
    assert done.returncode == 0, done.stderr
    top = (tmp_path / "digits_mlp_top.v").read_text()
    assert "PLL" not in top and "ifdef" not in top and "assign core_clk = clk;" in top


def test_the_ledger_holds_what_the_network_executes(tmp_path):
    """By itself where there is room for it, and as deep as somebody says."""
    gru = ROOT / "tests" / "data" / "bundles" / "digits_gru"
    for bundle, board, more, depth in (
        (BUNDLE, "ulx3s", [], "4"),
        (gru, "ulx3s", [], "128"),
        (BUNDLE, "ulx3s", ["--ledger", "0"], None),
        (BUNDLE, "hx8k", [], None),
        (BUNDLE, "hx8k", ["--ledger", "16"], "16"),
        (BUNDLE, "icebreaker", [], None),
    ):
        done = bramcast("hdl", bundle, "-o", tmp_path, "--board", board, *more)
        assert done.returncode == 0, done.stderr
        (top,) = tmp_path.glob("*_top.v")
        found = re.search(r"LEDGER_DEPTH\((\d+)\)", top.read_text())
        assert (found and found[1]) == depth


def make(folder, target):
    command = ["make", "-n", target]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_knows_the_part_and_how_it_is_loaded(folder):
    said = {
        "ulx3s": (
            "python3 build.py ecp5 --device 85k --package CABGA381 --speed 6 --pins board.lpf "
            "--freq 75 -o ../digits_mlp_ulx3s",
            "openFPGALoader -b ulx3s ../digits_mlp_ulx3s/digits_mlp_top.bit",
        ),
        "icebreaker": (
            "python3 build.py ice40 --device up5k --package sg48 --pins board.pcf "
            "--freq 18 -o ../digits_mlp_icebreaker",
            "openFPGALoader -b ice40_generic ../digits_mlp_icebreaker/digits_mlp_top.bin",
        ),
        "hx8k": (
            "python3 build.py ice40 --device hx8k --package ct256 --pins board.pcf "
            "--freq 24 -o ../digits_mlp_hx8k",
            "openFPGALoader -b ice40_generic ../digits_mlp_hx8k/digits_mlp_top.bin",
        ),
        "tangnano9k": (
            "python3 build.py gowin --device GW1NR-LV9QN88PC6/I5 --pins board.cst "
            "--freq 27 -o ../digits_mlp_tangnano9k",
            "openFPGALoader -b tangnano9k ../digits_mlp_tangnano9k/digits_mlp_top.fs",
        ),
        "arty-a7-35t": (
            "vivado -mode batch -source vivado.tcl",
            "openFPGALoader -b arty_a7_35t digits_mlp_top.bit",
        ),
    }
    build, load = said[folder.name]
    assert make(folder, "board").split("\n")[0].rstrip() == build
    assert make(folder, "flash") == f"{load}\n"
    assert load in make(folder, "board")
    listed = subprocess.run(["make"], cwd=folder, capture_output=True, text=True).stdout
    assert re.search(r"^board +the bitstream", listed, re.M)


def test_vivado_takes_the_boards_pins(tmp_path):
    options = HdlOptions(serial=True, board=BOARDS["arty-a7-35t"])
    folder = write_project(BUNDLE, tmp_path / "fpga", options).parent
    calls = run_script(folder / "vivado.tcl", VIVADO)
    read = [words[1] for words in calls if words[0] == "read_xdc"]
    assert read == [f"{folder}/{name}.xdc" for name in ("clock", "crossing", "board")]
    assert [words[1:] for words in calls if words[0] == "synth_design"] == [
        ["-top", "digits_mlp_top", "-part", "xc7a35ticsg324-1L"]
    ]
    assert calls[-1][0] == "write_bitstream" and calls[-1][-1] == f"{folder}/digits_mlp_top.bit"
    for name in ("clock", "crossing", "board"):
        assert run_script(folder / f"{name}.xdc", VIVADO)
    assert "create_clock -name clk -period 10 [get_ports clk]" in (folder / "clock.xdc").read_text()
    ports = (folder / "digits_mlp_top.v").read_text()
    for words in run_script(folder / "crossing.xdc", VIVADO):
        for name in words[1].replace("[*]", "").split() if words[0] == "get_ports" else []:
            assert re.search(rf"wire (\[.*\] )?{name}\b", ports), name


@pytest.mark.parametrize(
    "options, said",
    [
        (["--board", "ulx4s"], "--board ulx4s: there are ulx3s, icebreaker, hx8k, tangnano9k, "),
        (["--board", "ulx3s", "--axi"], "leave --axi out"),
        (["--board", "icebreaker", "--ledger", "4"], "--ledger is of the registers, for which ice"),
        (["--board", "icebreaker", "--peek"], "--peek is of the registers, for which icebreaker "),
        (["--board", "ulx3s", "--clock-mhz", "101"], "the board's PLL makes 100 MHz of 25"),
        (["--board", "ulx3s", "--baud", "17000000"], "choose another rate"),
    ],
)
def test_wrong_calls_say_what_is_there(tmp_path, options, said):
    done = bramcast("hdl", BUNDLE, "-o", tmp_path / "fpga", *options)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "fpga").exists()


def test_an_impossible_clock_is_refused_where_options_are_made():
    with pytest.raises(InputError, match="nothing nearer"):
        HdlOptions(serial=True, board=BOARDS["icebreaker"], clock_mhz=10)


def test_a_line_has_no_choice_of_how_frames_end(tmp_path):
    """bramcast_line counts them: it has no parameter for it, whatever was asked."""
    texts = []
    for ends in (True, False):
        options = HdlOptions(serial=True, board=BOARDS["icebreaker"], tlast_ends=ends)
        texts.append(write_project(BUNDLE, tmp_path / str(ends), options).read_text())
    assert "TLAST_ENDS" not in texts[0] + texts[1]

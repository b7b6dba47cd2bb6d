# SPDX-License-Identifier: Apache-2.0
"""JUnit XML of a board: a test case for each layer, for what arrived, and for the cycles."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from bramcast.pack.bundle.manifest import Core
from bramcast.sim.board.check import BoardResult, LayerRow
from bramcast.sim.board.junit import write_error, write_junit

CORE = Core(8, 1, 8, 8, 2, 1024, 2048, 1024, 1024, 64)
LAYERS = (
    LayerRow("conv", "conv2d", 2, 2, 90, 90, 0, 0x12345678, 0x12345678),
    LayerRow("fc", "linear", 1, 0, 0, 0, 0),
    LayerRow("output stream", "stream", 0, 0, 0, 0, 0),
)
EQUAL = BoardResult(CORE, 2, ("weights",), 3, LAYERS, (120, 120, 120), 120, "", 0)


def read(path):
    """Counts of the document, and of each case its name, class, result and output."""
    root = ElementTree.parse(path).getroot()
    counts = {name: int(root.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    cases = {}
    for case in root.iter("testcase"):
        ends = [(end.tag, end.get("message")) for end in case if end.tag != "system-out"]
        cases[case.get("name")] = (case.get("classname"), ends, case.findtext("system-out"))
    return counts, cases


def test_what_is_equal_passes_and_what_nobody_saw_is_skipped(tmp_path):
    write_junit(tmp_path / "r.xml", tmp_path / "net", EQUAL)
    counts, cases = read(tmp_path / "r.xml")
    assert counts == {"tests": 4, "failures": 0, "errors": 0, "skipped": 1}
    unseen = ("skipped", "the core's ledger (LEDGER_DEPTH = 2) does not hold it")
    assert cases == {
        "conv": ("bramcast.net", [], "CRC-32 12345678, golden 12345678"),
        "fc": ("bramcast.net", [unseen], None),
        "output stream": ("bramcast.net", [], None),
        "cycles": ("bramcast.net", [], "120 cycles predicted for each of 3 samples"),
    }


def test_a_layer_that_differs_fails_with_the_first_difference(tmp_path):
    wrong = replace(LAYERS[0], different=2, crc=1)
    first = "sample 1, layer conv: the CRC-32 of nest 2"
    result = replace(EQUAL, layers=(wrong, *LAYERS[1:]), first=first)
    write_junit(tmp_path / "r.xml", tmp_path / "net", result)
    counts, cases = read(tmp_path / "r.xml")
    assert counts == {"tests": 4, "failures": 1, "errors": 0, "skipped": 1}
    told = f"differs in 2 of 3 samples; first of all: {first}"
    said = "CRC-32 00000001, golden 12345678"
    assert cases["conv"] == ("bramcast.net", [("failure", told)], said)


def test_other_cycles_fail_though_every_layer_is_equal(tmp_path):
    result = replace(EQUAL, cycles=(120, 1121, 120), first="sample 1: 1,121 cycles")
    write_junit(tmp_path / "r.xml", tmp_path / "net", result)
    counts, cases = read(tmp_path / "r.xml")
    assert counts["failures"] == 1
    assert cases["cycles"][1] == [("failure", "sample 1: 1,121 cycles, predicted 120")]


@pytest.mark.parametrize("message", ["no answer", "\x1b[31mno\x1b[0m answer"])
def test_without_a_verdict_there_is_an_error(tmp_path, message):
    write_error(tmp_path / "r.xml", message)
    counts, cases = read(tmp_path / "r.xml")
    assert counts == {"tests": 1, "failures": 0, "errors": 1, "skipped": 0}
    assert cases == {"verdict": ("bramcast.board", [("error", "no answer")], None)}

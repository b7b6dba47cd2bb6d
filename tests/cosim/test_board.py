# SPDX-License-Identifier: Apache-2.0
"""bramcast board against a Verilated core behind a pseudo-terminal, at the level of its pins."""

import json
import os
import pty
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import several
from support import DIGITS, bramcast, model_recipe, need

from bramcast.board import line
from bramcast.board.line import Line, open_port
from bramcast.board.packet import Command
from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.load import load
from bramcast.hw import sources
from bramcast.pack.axi.driver import Driver
from bramcast.pack.axi.registers import mask
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import read_manifest
from bramcast.pack.bundle.words import from_axi, to_axi
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.run.serial import serial_core

pytestmark = pytest.mark.cosim

INPUTS = DIGITS / "mlp.toml"
VERDICTS = ["equal", "equal", "DIFFERENT", "DIFFERENT"]  # the third layer, and what arrives


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    """The packed digits MLP."""
    need("verilator")
    bundle = tmp_path_factory.mktemp("board") / "mlp"
    pack(read_recipe(INPUTS), bundle)
    return bundle


@pytest.fixture
def port(mlp):
    """A board with the MLP's core, its memories empty."""
    with simulated(mlp) as board:
        yield board.port


def simulated(bundle, **options):
    manifest = read_manifest(bundle)
    return serial_core(manifest.core, len(manifest.nests), **options)


def board(port, bundle, *arguments):
    return bramcast("board", port, bundle, "--inputs", INPUTS, *arguments)


def failed(report):
    """Of each test case of a JUnit report whether something is wrong with it."""
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return {case.get("name"): case.find("failure") is not None for case in cases}


def test_a_board_is_loaded_run_and_found_equal(port, mlp, tmp_path):
    done = board(port, mlp, "--samples", 2, "--junit", tmp_path / "r.xml")
    assert done.returncode == 0, done.stderr
    assert f"{port}: 16 lanes x 1 taps, data of 8 bits, weights of 8;" in done.stdout
    assert "images loaded: program, weights, bias\n" in done.stdout
    assert "2 samples: 384 cycles each, predicted 384; 0 requests" in done.stdout
    assert done.stdout.splitlines()[-1] == "equal"
    assert [li.split()[-1] for li in done.stdout.splitlines()[3:-2]] == ["equal"] * 4
    sums = [li.split()[-3:-1] for li in done.stdout.splitlines()[3:-2]]
    assert sums[-1] == ["-", "-"] and all(mine == golden for mine, golden in sums)
    assert [mine for mine, _ in sums[:3]] == sums_of_golden(mlp)
    names = [*(layer.name for layer in read_manifest(mlp).layers), "output stream", "cycles"]
    assert failed(tmp_path / "r.xml") == dict.fromkeys(names, False)
    # Again: the images are there. One that is not is loaded.
    done = board(port, mlp, "--samples", 1)
    assert done.returncode == 0 and "loaded: none, all were there\n" in done.stdout
    with Line(open_port(port, 115200), port) as serial:
        write_word(Driver(serial), mlp, "bias", 3, 1)
    done = board(port, mlp, "--samples", 1, "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 0 and answer["equal"] and answer["written"] == ["bias"]
    assert answer["samples"] == 1 and answer["cycles"] == [384] and answer["first"] == ""
    done = board(port, mlp, "--samples", 1, "--reload")
    assert "images loaded: program, weights, bias\n" in done.stdout


def sums_of_golden(bundle):
    """CRC-32 of what each layer of the first sample makes, as docs/axi.md defines it."""
    machine = load(bundle)
    frame = frames_from_arrays(read_inputs(INPUTS).x[:1], machine.manifest.input)
    results = machine.run(frame, keep_layers=True)
    sums = []
    for layer, kept in zip(machine.manifest.layers, results.nests, strict=True):
        mask = (1 << layer.format.bits) - 1
        numbers = kept.words[0].reshape(-1).tolist()[: layer.shape[-1]]
        made = b"".join((number & mask).to_bytes(4, "little") for number in numbers)
        sums.append(f"{zlib.crc32(made):08x}")
    return sums


def write_word(driver, bundle, name, word, bit):
    """One bit of an image's word turned over in the core, and the image called valid."""
    beats = to_axi(load_images(bundle, read_manifest(bundle))[name])
    beats[word, bit // 32] ^= 1 << bit % 32
    driver.write_image(name, from_axi(beats, read_manifest(bundle).core.word_bits(name)))
    driver.write("VALID", driver.read("VALID") | mask("VALID", name.upper()))


def test_results_of_several_groups_wait_while_taps_run(tmp_path):
    """Ten results of four lanes: while some wait for the line, the next ones are computed."""
    need("verilator")
    recipe = read_recipe(INPUTS)
    pack(replace(recipe, core=replace(recipe.core, lanes=4)), tmp_path / "b")
    with simulated(tmp_path / "b") as one:
        done = board(one.port, tmp_path / "b", "--samples", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DIFFERENT" not in done.stdout


@pytest.mark.parametrize("seed, rate", [(1, 1000), (2, 5000)])
def test_a_bad_line_takes_longer_and_ends_the_same(seed, rate, mlp):
    with simulated(mlp, noise=seed, rate=rate) as bad:
        done = board(bad.port, mlp, "--samples", 1, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["equal"] and answer["repeated"] > 3


def test_a_wrong_weight_is_found(port, mlp, monkeypatch, tmp_path):
    """In the block RAM, behind the check sums: what a failing cell would do."""
    good = Driver.load

    def load_and_spoil(self, *arguments, **options):
        written = good(self, *arguments, **options)
        write_word(self, mlp, "weights", 300, 6)
        return written

    monkeypatch.setattr(Driver, "load", load_and_spoil)
    done = board(port, mlp, "--junit", tmp_path / "r.xml")
    assert done.returncode == 1, done.stderr
    assert list(failed(tmp_path / "r.xml").values()) == [False, False, True, True, False]
    last = done.stdout.splitlines()[-1]
    assert last.startswith("DIFFERENT, first: sample 0, layer 6: 6[channel ")
    assert "hdl 0x" in last and ", golden 0x" in last
    rows = [li.split() for li in done.stdout.splitlines()[3:-2]]
    assert [row[-3] == row[-2] for row in rows] == [True, True, False, True]
    assert [li.split()[-1] for li in done.stdout.splitlines()[3:-2]] == VERDICTS


def test_of_two_layers_that_differ_the_first_is_named(mlp, monkeypatch):
    """Without a look at the scratchpad, by its CRC-32; each fault is of its own."""
    good = Driver.load

    def load_and_spoil(self, *arguments, **options):
        written = good(self, *arguments, **options)
        write_word(self, mlp, "weights", 300, 6)  # of the last layer
        write_word(self, mlp, "bias", 27, 16)  # of the second one
        return written

    monkeypatch.setattr(Driver, "load", load_and_spoil)
    with simulated(mlp, extra={"PEEK": 0}) as blind:
        done = board(blind.port, mlp, "--samples", 1)
    assert done.returncode == 1, done.stderr
    rows = [li.split() for li in done.stdout.splitlines()[3:-2]]
    assert [row[-1] for row in rows] == ["equal", "DIFFERENT", "DIFFERENT", "DIFFERENT"]
    name, mine, golden = rows[1][0], rows[1][-3], rows[1][-2]
    assert golden == sums_of_golden(mlp)[1] != mine
    assert done.stdout.splitlines()[-1] == (
        f"DIFFERENT, first: sample 0, layer {name}: nest 2: CRC-32 0x{mine}, golden 0x{golden}"
    )


def test_a_wrong_bit_of_the_stream_is_found(port, mlp, monkeypatch):
    good = line.Line.send

    def spoil(self, elements):
        good(self, [elements[0], elements[1] ^ 64, *elements[2:]])

    monkeypatch.setattr(line.Line, "send", spoil)
    done = board(port, mlp, "--samples", 1)
    assert done.returncode == 1, done.stderr
    first = read_manifest(mlp).layers[0].name
    assert f"DIFFERENT, first: sample 0, layer {first}: {first}[channel " in done.stdout


def test_a_session_that_was_cut_does_not_disturb_the_next(port, mlp):
    assert board(port, mlp, "--samples", 1).returncode == 0
    elements = load(mlp).beats_in
    with Line(open_port(port, 115200), port) as serial:
        driver = Driver(serial)
        driver.start()
        serial.send([1] * elements)  # nobody takes its results
        answer = serial._ask(Command.PUSH, 0, 3, bytes(4))  # stands before the core
        assert answer.words == (1,)
    with Line(open_port(port, 115200), port) as serial:
        assert serial.identity.standing
    assert board(port, mlp, "--samples", 1).returncode == 0
    with Line(open_port(port, 115200), port) as serial:
        assert not serial.identity.standing
        Driver(serial).start()
        assert serial._ask(Command.PUSH, 0, 4, bytes(4)).words == (4,)  # half a frame
    assert board(port, mlp, "--samples", 1).returncode == 0


def test_a_bundle_for_another_core_is_refused(port, tmp_path):
    text = INPUTS.read_text().replace('= "', f'= "{DIGITS}/').replace("lanes = 16", "lanes = 8")
    (tmp_path / "mlp.toml").write_text(text)
    pack(read_recipe(tmp_path / "mlp.toml"), tmp_path / "other")
    done = board(port, tmp_path / "other")
    assert done.returncode == 2
    assert "is packed for lanes = 8, the core has 16" in done.stderr


def test_nobody_there_is_one_line(mlp, monkeypatch, tmp_path):
    monkeypatch.setattr(line, "FIRST_WAIT", 0.01)
    here, there = pty.openpty()
    try:
        report = ("--junit", tmp_path / "r.xml")
        done = board(os.ttyname(there), mlp, "--baud", 921600, *report)
    finally:
        os.close(here)
        os.close(there)
    assert done.returncode == 2 and not done.stdout
    assert len(done.stderr.strip().splitlines()) == 1
    assert "no answer at 921,600 baud; is the board configured" in done.stderr
    (error,) = ElementTree.parse(tmp_path / "r.xml").getroot().iter("error")
    assert "no answer at 921,600 baud" in error.get("message")
    done = board("/dev/nowhere", mlp)
    assert done.returncode == 2 and "/dev/nowhere: can't be opened" in done.stderr


@pytest.mark.slow
@pytest.mark.ci
def test_a_broken_lane_is_found(mlp, tmp_path):
    """Bit 0 of the weight of one lane of sixteen stuck at 0."""
    copies = [Path(shutil.copy(source, tmp_path)) for source in sources()]
    array = next(copy for copy in copies if copy.name == "bramcast_lane_array.sv")
    text = array.read_text()
    old = "weight_word_i[WEIGHT_BITS*M +: WEIGHT_BITS]"
    assert text.count(old) == 2  # of lanes, and of pairs of them
    stuck = "(M == 5 ? ~WEIGHT_BITS'(1) : ~WEIGHT_BITS'(0))"
    array.write_text(text.replace(old, f"{old} & {stuck}"))
    with simulated(mlp, sources=copies) as broken:
        done = board(broken.port, mlp)
    assert done.returncode == 1, done.stderr
    first = read_manifest(mlp).layers[0].name
    assert f"DIFFERENT, first: sample 0, layer {first}: {first}[channel " in done.stdout


@pytest.mark.slow
def test_the_examples_dscnn_on_a_board(tmp_path):
    need("verilator")
    pack(read_recipe(DIGITS / "dscnn.toml"), tmp_path / "dscnn")
    with simulated(tmp_path / "dscnn") as there:
        done = bramcast("board", there.port, tmp_path / "dscnn", "--inputs", DIGITS / "dscnn.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert there.clocks > 1_000_000


@pytest.mark.slow
def test_a_real_network_on_a_board(tmp_path):
    """The keyword spotter: each layer by its CRC-32, its cycles and its place."""
    need("verilator")
    recipe, bundle = model_recipe(tmp_path, "kws_dscnn_mlperf"), tmp_path / "bundle"
    pack(read_recipe(recipe), bundle)
    with simulated(bundle) as there:
        done = bramcast("board", there.port, bundle, "--inputs", recipe, "--samples", 2, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    layers = read_manifest(bundle).layers
    *rows, arrived = answer["layers"]
    assert [row["name"] for row in rows] == [layer.name for layer in layers] and len(rows) == 11
    for row in rows:
        assert row["checked"] == row["nests"] > 0 == row["different"], row
        assert row["crc"] == row["golden_crc"] is not None and row["cycles"] == row["predicted"]
    assert arrived["name"] == "output stream" and arrived["different"] == 0
    assert answer["equal"] and answer["cycles"] == [answer["predicted"]] * 2
    assert sum(row["cycles"] for row in rows) <= answer["predicted"]


@pytest.mark.parametrize(
    "name, tlast_ends", [("Heads", 1), ("PictureAndVector", 2), ("PictureAndVector", 1)]
)
def test_several_outputs_and_inputs_are_packets(name, tlast_ends, tmp_path):
    """A packet for each output, and for each input where the core wants it so."""
    need("verilator")
    recipe = several.write_recipe(tmp_path, name)
    pack(read_recipe(recipe), tmp_path / "b")
    with simulated(tmp_path / "b", extra={"TLAST_ENDS": tlast_ends}) as there:
        arguments = ("board", there.port, tmp_path / "b", "--inputs", recipe)
        done = bramcast(*arguments, "--samples", 2, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["equal"]
        with Line(open_port(there.port, line.BAUD), there.port) as serial:
            assert Driver(serial).packets == (tlast_ends == 2)


def test_a_core_with_tiles_is_compared_and_a_wrong_word_of_any_bank_is_found(tmp_path, monkeypatch):
    """Banks of the scratchpad are read through PEEK's window, each in a power of two of words."""
    need("verilator")
    recipe = read_recipe(DIGITS / "dscnn.toml")
    core = replace(recipe.core, lanes=16, tiles=4, scratch_depth=70)  # a bank is 128 apart
    pack(replace(recipe, core=core), tmp_path / "b")
    with simulated(tmp_path / "b") as tiled:
        arguments = ("board", tiled.port, tmp_path / "b", "--inputs", DIGITS / "dscnn.toml")
        done = bramcast(*arguments, "--samples", 1)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{tiled.port}: 16 lanes x 1 taps x 4 tiles, data of 8 bits" in done.stdout
        good = Driver.load

        def load_and_spoil(self, *arguments, **options):
            written = good(self, *arguments, **options)
            write_word(self, tmp_path / "b", "weights", 20, 5)
            return written

        monkeypatch.setattr(Driver, "load", load_and_spoil)
        done = bramcast(*arguments, "--samples", 1)
        assert done.returncode == 1, done.stderr
        last = done.stdout.splitlines()[-1]
        assert last.startswith("DIFFERENT, first: sample 0, layer features.") and "hdl 0x" in last

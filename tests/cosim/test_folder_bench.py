# SPDX-License-Identifier: Apache-2.0
"""The test bench that `bramcast hdl` writes: PASS, and FAIL with the layer whatever is changed."""

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import several
from support import DIGITS, ROOT, bramcast, need

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.load import load
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.run.runner import verilator_environment

BUNDLES = ROOT / "tests" / "data" / "bundles"
KINDS = {
    "core": [],
    "beats": ["--beat", "8", "--count-frames"],
    "axi": ["--axi", "--ledger", "16"],
    "clock": ["--axi", "--axi-clock", "--peek", "--beat", "2", "--limit", "50"],
    "serial": ["--serial", "--ledger", "4", "--frame-depth", "16"],
}


def written(folder, name="digits_mlp", *options):
    done = bramcast("hdl", BUNDLES / name, "-o", folder, *options)
    assert done.returncode == 0, done.stderr
    return folder


def call(folder, *command, **more):
    return subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False, **more
    )


def built(folder, *macros):
    need("icarus")
    command = ["iverilog", "-g2012", *macros, "-s", "bench", "-o", "bench.vvp", "-f", "sources.f"]
    done = call(folder, *command, "bench.sv")
    assert done.returncode == 0, done.stderr
    return folder


def verdict(folder, *command):
    """(exit code, the bench's own line) of a simulation."""
    done = call(folder, *(command or ("vvp", "-n", "bench.vvp")))
    lines = [line for line in done.stdout.splitlines() if re.match("(PASS|FAIL): ", line)]
    assert len(lines) == 1, done.stdout + done.stderr
    return done.returncode, lines[0]


@pytest.fixture(scope="module")
def axi(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "fpga"
    return built(written(folder, "digits_dscnn", "--axi", "--ledger", "16"))


@pytest.fixture
def copy(axi, tmp_path):
    return shutil.copytree(axi, tmp_path / "copy")


@pytest.mark.cosim
@pytest.mark.parametrize("kind", KINDS)
def test_icarus_passes(tmp_path, kind):
    folder = built(written(tmp_path / "fpga", "digits_mlp", *KINDS[kind]))
    entries = {"axi": 3, "serial": 3}.get(kind, 0)
    words = len((folder / "bench_words.mem").read_text().splitlines())
    said = f"10 results, {words} words of the scratchpad, {entries} entries of the ledger"
    assert verdict(folder) == (0, f"PASS: {said}")


@pytest.mark.cosim
@pytest.mark.parametrize("kind", ["core", "axi", "serial"])
def test_a_patchable_folder_simulates_the_network(tmp_path, kind):
    """Its pattern is for synthesis; the bench and its commands are those of any folder."""
    need("icarus")
    folder = written(tmp_path / "fpga", "digits_dscnn", *KINDS[kind], "--patchable")
    done = call(folder, "make", "icarus")
    assert done.returncode == 0 and re.search("^PASS: 10 results", done.stdout, re.M), done.stdout
    changed(folder / "weights.mem", 60, 21)
    assert verdict(folder)[1].startswith("PASS: ")
    changed(folder / "network_weights.mem", 60, 21)
    assert verdict(folder)[1].startswith("FAIL: layer ")


@pytest.mark.cosim
def test_icarus_passes_with_loops(tmp_path):
    folder = built(written(tmp_path / "fpga", "digits_gru", "--axi", "--ledger", "64"))
    code, line = verdict(folder)
    assert code == 0 and line.endswith(" 64 entries of the ledger")


@pytest.mark.cosim
def test_icarus_passes_with_tiles(tmp_path):
    """All tiles write at the same time; a wrong weight is found in the first word it spoils."""
    need("icarus")
    recipe = read_recipe(DIGITS / "dscnn.toml")
    pack(replace(recipe, core=replace(recipe.core, tiles=4)), tmp_path / "b")
    done = bramcast("hdl", tmp_path / "b", "-o", tmp_path / "f", "--axi", "--ledger", 16, "--peek")
    assert done.returncode == 0, done.stderr
    folder = built(tmp_path / "f")
    code, line = verdict(folder)
    assert code == 0 and line.startswith("PASS: 10 results")
    assert line.endswith(" 9 entries of the ledger")
    changed(folder / "weights.mem", 20, 9)  # of the second layer
    code, line = verdict(folder)
    assert code != 0 and line.startswith("FAIL: layer features.3 (descriptor 2), sub-word ")


@pytest.mark.cosim
@pytest.mark.parametrize("kind", [[], ["--axi"], ["--serial"]])
def test_icarus_passes_with_several_outputs(kind, tmp_path):
    """4 results of one output, 2 of the other, each a packet with TLAST and TUSER of its own."""
    need("icarus")
    pack(read_recipe(several.write_recipe(tmp_path, "Heads")), tmp_path / "bundle")
    done = bramcast("hdl", tmp_path / "bundle", "-o", tmp_path / "fpga", *kind)
    assert done.returncode == 0, done.stderr
    top = (tmp_path / "fpga" / "heads_top.v").read_text()
    assert "//   output0: 4 beats, 4 in Q" in top and "//   output1: 2 beats, 2 in Q" in top
    text = (tmp_path / "fpga" / "README.md").read_text()
    assert "output: 6 results in 32 bits, a packet for each of several outputs: 4 of out" in text
    folder = built(tmp_path / "fpga")
    code, line = verdict(folder)
    assert code == 0 and line.startswith("PASS: 6 results")
    # Packets that are expected elsewhere: of 3 and 3 beats.
    changed(folder / "bench_beats.mem", 2, 15, bit=8)
    code, line = verdict(folder)
    assert code != 0 and line.startswith("FAIL: TLAST is 0 with result 2 of 6")


@pytest.mark.cosim
@pytest.mark.parametrize("kind", [[], ["--axi", "--beat", 4], ["--serial"], ["--one-packet"]])
def test_icarus_passes_with_several_inputs(kind, tmp_path):
    """A packet for each input, or one for both; a frame that lacks a TLAST is dropped."""
    need("icarus")
    recipe = several.write_recipe(tmp_path, "PictureAndVector")
    pack(read_recipe(recipe), tmp_path / "bundle")
    done = bramcast("hdl", tmp_path / "bundle", "-o", tmp_path / "fpga", *kind)
    assert done.returncode == 0, done.stderr
    (top,) = (tmp_path / "fpga").glob("*_top.v")
    packets = "in one packet" if "--one-packet" in kind else "a packet for each"
    assert f"// Inputs, one behind the other, {packets}:" in top.read_text()
    folder = built(tmp_path / "fpga")
    code, line = verdict(folder)
    assert code == 0 and line.startswith("PASS: 6 results"), line
    if not kind:  # 7 elements of the vector, then the picture: TLAST is lost, the frame dropped
        changed(folder / "bench_frame.mem", 6, 2, bit=2)
        code, line = verdict(folder)
        assert code != 0 and line.startswith("FAIL: nothing more within")


def changed(path, line, digit, bit=4):
    """Flip one bit of a .mem: in its line, in the hex digit counted from the right."""
    lines = path.read_text().split("\n")
    text = lines[line]
    at = len(text) - 1 - digit
    lines[line] = f"{text[:at]}{int(text[at], 16) ^ bit:X}{text[at + 1 :]}"
    path.write_text("\n".join(lines))


def first_wrong_word(changed_bundle):
    """Layer, descriptor, sub-word and both words where golden's own results part."""
    good = load(BUNDLES / "digits_dscnn")
    bad = load(changed_bundle, allow_modified=True)
    q = good.manifest.input.format.q
    frame = np.random.default_rng(1).integers(q.min, q.max + 1, (1, good.beats_in))
    pairs = zip(good.run(frame, True).nests, bad.run(frame, True).nests, strict=True)
    for one, two in pairs:
        rows = np.flatnonzero((one.words[0] != two.words[0]).any(axis=1))
        if rows.size:
            layer = good.manifest.layers[good.manifest.nests[one.descriptor - 1].layer].name
            texts = [
                "".join(f"{v & 255:02x}" for v in r.words[0][rows[0]][::-1]) for r in (two, one)
            ]
            return layer, one.descriptor, int(one.addresses[rows[0]]), *texts
    raise AssertionError("golden sees no difference")


@pytest.mark.cosim
@pytest.mark.parametrize(
    "image, line, digit", [("weights", 3, 0), ("weights", 60, 21), ("bias", 10, 3)]
)
def test_one_bit_of_an_image_is_found_in_its_layer(copy, tmp_path, image, line, digit):
    changed(copy / f"{image}.mem", line, digit)
    bundle = shutil.copytree(BUNDLES / "digits_dscnn", tmp_path / "bundle")
    shutil.copy(copy / f"{image}.mem", bundle)
    layer, descriptor, place, core, golden = first_wrong_word(bundle)
    assert verdict(copy) == (
        1,
        f"FAIL: layer {layer} (descriptor {descriptor}), sub-word {place} of the scratchpad: "
        f"core {core}, golden {golden}",
    )


@pytest.mark.cosim
@pytest.mark.parametrize("kind", ["core", "beats", "clock", "serial"])
def test_every_bench_names_the_layer(tmp_path, kind):
    folder = built(written(tmp_path / "fpga", "digits_dscnn", *KINDS[kind]))
    changed(folder / "weights.mem", 60, 21)
    bundle = shutil.copytree(BUNDLES / "digits_dscnn", tmp_path / "bundle")
    shutil.copy(folder / "weights.mem", bundle)
    layer, descriptor, place, *_ = first_wrong_word(bundle)
    code, line = verdict(folder)
    assert code == 1 and line.startswith(
        f"FAIL: layer {layer} (descriptor {descriptor}), sub-word {place} of the scratchpad: core "
    )


@pytest.mark.cosim
def test_a_weight_lane_that_is_stuck_is_found(copy, tmp_path):
    path = copy / "weights.mem"
    lines = [line[:-6] + "00" + line[-4:] for line in path.read_text().split()]
    path.write_text("\n".join(lines) + "\n")
    bundle = shutil.copytree(BUNDLES / "digits_dscnn", tmp_path / "bundle")
    shutil.copy(path, bundle)
    layer, descriptor, place, *_ = first_wrong_word(bundle)
    code, line = verdict(copy)
    assert code == 1 and line.startswith(
        f"FAIL: layer {layer} (descriptor {descriptor}), sub-word {place} of the scratchpad: core "
    )


@pytest.mark.cosim
@pytest.mark.parametrize("kind", ["axi", "serial"])
def test_a_bit_that_the_frame_does_not_need_is_found_in_its_image(tmp_path, kind):
    """Weights of a channel that its ReLU cuts: golden's results are the same without them."""
    folder = built(written(tmp_path / "fpga", "digits_mlp", *KINDS[kind]))
    changed(folder / "weights.mem", 2, 0)
    bundle = shutil.copytree(BUNDLES / "digits_mlp", tmp_path / "bundle")
    shutil.copy(folder / "weights.mem", bundle)
    good, bad = load(BUNDLES / "digits_mlp"), load(bundle, allow_modified=True)
    q = good.manifest.input.format.q
    frame = np.random.default_rng(1).integers(q.min, q.max + 1, (1, good.beats_in))
    for one, two in zip(good.run(frame, True).nests, bad.run(frame, True).nests, strict=True):
        assert np.array_equal(one.words, two.words)
    code, line = verdict(folder)
    assert code == 1 and line.startswith("FAIL: image weights: CRC-32 of the core ")


@pytest.mark.cosim
def test_another_frame_is_found_in_the_first_layer(copy):
    changed(copy / "bench_frame.mem", 20, 0)
    first = load(BUNDLES / "digits_dscnn").manifest.layers[0].name
    code, line = verdict(copy)
    assert code == 1 and line.startswith(f"FAIL: layer {first} (descriptor 1), sub-word ")


@pytest.mark.cosim
@pytest.mark.parametrize(
    "file, line, digit, said",
    [
        ("bench_beats.mem", 4, 0, "FAIL: layer {last} (descriptor {n}), result 4 of the stream: "),
        ("bench_ledger.mem", 2, 9, "FAIL: layer {third} (entry 2 of the ledger): CRC-32 of the "),
        ("bench_ledger.mem", 2, 0, "FAIL: layer {third} (entry 2 of the ledger): "),
    ],
)
def test_results_and_the_ledger_are_compared(copy, file, line, digit, said):
    changed(copy / file, line, digit)
    manifest = load(BUNDLES / "digits_dscnn").manifest
    names = {
        "last": manifest.layers[-1].name,
        "n": len(manifest.nests),
        "third": manifest.layers[manifest.nests[2].layer].name,
    }
    code, found = verdict(copy)
    assert code == 1 and found.startswith(said.format(**names)), found


@pytest.mark.cosim
def test_a_netlist_is_judged_by_its_ports_and_its_ledger(copy, tmp_path):
    built(copy, "-DNETLIST")
    assert verdict(copy)[1].startswith("PASS: 10 results, 0 words of the scratchpad, 9 entries")
    changed(copy / "weights.mem", 60, 21)
    bundle = shutil.copytree(BUNDLES / "digits_dscnn", tmp_path / "bundle")
    shutil.copy(copy / "weights.mem", bundle)
    layer, descriptor, *_ = first_wrong_word(bundle)
    code, line = verdict(copy)
    entry = f"FAIL: layer {layer} (entry {descriptor - 1} of the ledger): CRC-32 of the core "
    assert code == 1 and line.startswith(entry)


@pytest.mark.cosim
@pytest.mark.parametrize("kind", ["core", "axi", pytest.param("serial", marks=[pytest.mark.slow])])
def test_a_core_without_a_program_ends_the_bench(tmp_path, kind):
    folder = built(written(tmp_path / "fpga", "digits_mlp", *KINDS[kind]))
    lines = (folder / "program.mem").read_text().split()
    (folder / "program.mem").write_text("00000000\n" * len(lines))
    code, line = verdict(folder)
    assert code == 1 and line.startswith("FAIL: nothing more within ")


@pytest.mark.cosim
def test_other_cycles_are_an_error(tmp_path):
    folder = written(tmp_path / "fpga")
    text = (folder / "bench.sv").read_text()
    cycles = int(re.search(r"CYCLES += (\d+);", text)[1])
    (folder / "bench.sv").write_text(text.replace(f"= {cycles};", f"= {cycles + 1};"))
    built(folder)
    said = f"FAIL: the run took {cycles} cycles, golden says {cycles + 1}"
    assert verdict(folder) == (1, said)


@pytest.mark.cosim
def test_the_bench_sends_the_sample_that_it_is_given(tmp_path):
    done = bramcast(
        "hdl", BUNDLES / "digits_mlp", "-o", tmp_path / "fpga", "--inputs", DIGITS / "inputs.npz"
    )
    assert done.returncode == 0, done.stderr
    machine = load(BUNDLES / "digits_mlp")
    x = read_inputs(DIGITS / "inputs.npz").x[:1]
    frame = frames_from_arrays(x, machine.manifest.input)
    sent = [int(line, 16) for line in (tmp_path / "fpga/bench_frame.mem").read_text().split()]
    assert [value & 255 for value in sent] == [int(v) & 255 for v in frame[0]]
    assert [value >> 8 for value in sent] == [1] * (frame.size - 1) + [3]  # TKEEP, TLAST
    beats = [int(v[-8:], 16) for v in (tmp_path / "fpga/bench_beats.mem").read_text().split()]
    assert beats == [int(v) & 0xFFFFFFFF for v in machine.run(frame).beats[0]]
    assert verdict(built(tmp_path / "fpga"))[0] == 0


@pytest.mark.cosim
@pytest.mark.parametrize(
    "kind", ["axi", *(pytest.param(k, marks=[pytest.mark.slow]) for k in ("core", "serial"))]
)
def test_verilator_passes_and_fails(tmp_path, kind):
    need("verilator")
    folder = written(tmp_path / "fpga", "digits_dscnn", *KINDS[kind])
    command = ["verilator", "--binary", "-CFLAGS", "-std=gnu++20 -fcoroutines"]
    command += ["--top-module", "bench", "-f", "sources.f", "bench.sv"]
    done = call(folder, *command, env=verilator_environment())
    assert done.returncode == 0 and "%Warning" not in done.stderr, done.stderr
    assert verdict(folder, "obj_dir/Vbench")[1].startswith("PASS: 10 results, ")
    changed(folder / "weights.mem", 60, 21)
    bundle = shutil.copytree(BUNDLES / "digits_dscnn", tmp_path / "bundle")
    shutil.copy(folder / "weights.mem", bundle)
    layer, descriptor, place, core, golden = first_wrong_word(bundle)
    code, line = verdict(folder, "obj_dir/Vbench")
    assert code != 0 and line == (
        f"FAIL: layer {layer} (descriptor {descriptor}), sub-word {place} of the scratchpad: "
        f"core {core}, golden {golden}"
    )


@pytest.mark.cosim
@pytest.mark.parametrize("kind", KINDS)
def test_verilator_finds_nothing_to_warn_of_in_the_bench(tmp_path, kind):
    need("verilator")
    folder = written(tmp_path / "fpga", "digits_dscnn", *KINDS[kind])
    command = ["verilator", "--lint-only", "--timing", "--top-module", "bench", "-f", "sources.f"]
    for macros in ([], ["-DNETLIST"]):
        done = call(folder, *command, *macros, "bench.sv", env=verilator_environment())
        assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.cosim
def test_the_makefile_tells_pass_from_fail(copy):
    assert call(copy, "make", "-s", "icarus").returncode == 0
    changed(copy / "bench_beats.mem", 4, 0)
    assert call(copy, "make", "-s", "icarus").returncode != 0
    listed = call(copy, "make").stdout
    assert all(name in listed for name in ("icarus", "verilator", "questa", "xsim"))


def test_a_makefile_of_somebody_else_stays(tmp_path):
    (tmp_path / "fpga").mkdir()
    (tmp_path / "fpga" / "Makefile").write_text("all:\n")
    done = bramcast("hdl", BUNDLES / "digits_mlp", "-o", tmp_path / "fpga")
    assert done.returncode == 2 and "'Makefile'" in done.stderr
    written(tmp_path / "mine")
    written(tmp_path / "mine")  # again, over what is ours

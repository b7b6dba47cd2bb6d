# SPDX-License-Identifier: Apache-2.0
"""Whole test sets through the RTL: sim --fast and rtl_predict."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from support import COMMON_CORE, DIGITS, model_recipe, need, write_recipe

import bramcast.sim
from bramcast.golden.frames import arrays_from_beats, frames_from_arrays
from bramcast.golden.load import load
from bramcast.golden.metrics import accuracy
from bramcast.pack.bundle.errors import ToolError
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.run import fast
from bramcast.sim.run.fast import rtl_predict, simulate_fast
from bramcast.sim.run.runner import cache_folder

pytestmark = pytest.mark.cosim


@pytest.fixture(autouse=True)
def _verilator():
    need("verilator")


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    """The packed digits MLP."""
    bundle = tmp_path_factory.mktemp("mlp") / "bundle"
    pack(read_recipe(DIGITS / "mlp.toml"), bundle)
    return bundle


def sim(*arguments):
    """bramcast sim --fast, as its user types it."""
    command = [sys.executable, "-c", "from bramcast.cli import main; main()", "sim"]
    command += [str(a) for a in arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def samples_of(name, count=None):
    return read_inputs(DIGITS / f"{name}.toml").x[:count]


def flip(good, bundle, image, line, bit):
    """A copy of a bundle with one bit of one image line inverted."""
    shutil.copytree(good, bundle)
    path = bundle / f"{image}.mem"
    lines = path.read_text().splitlines()
    digits = len(lines[line - 1])
    lines[line - 1] = f"{int(lines[line - 1], 16) ^ (1 << bit):0{digits}X}"
    path.write_text("\n".join(lines) + "\n")
    return bundle


@pytest.mark.parametrize("layers", [False, True], ids=["output", "layers"])
@pytest.mark.parametrize("name", ["mlp", "dscnn"])
def test_all_samples_of_the_example_equal_golden(name, layers, tmp_path):
    pack(read_recipe(DIGITS / f"{name}.toml"), tmp_path / "bundle")
    inputs = read_inputs(DIGITS / f"{name}.toml")
    result = simulate_fast(tmp_path / "bundle", inputs.x, layers=layers)
    assert result.equal, str(result.comparison.first)
    assert not result.wrong_cycles and not result.lost
    assert result.samples == len(inputs.x) == 599
    machine = load(tmp_path / "bundle")
    every = len(machine.manifest.layers)
    assert len(result.comparison.layers) == (every if layers else 1)
    golden = machine.run(frames_from_arrays(inputs.x, machine.manifest.input)).beats
    integers = arrays_from_beats(golden, machine)[0]
    assert np.array_equal(result.outputs[0].integers, integers)
    assert accuracy(result.outputs[0].integers, inputs.y) > 0.94
    assert result.clocks > 599 * result.predicted


@pytest.mark.parametrize("layers", [False, True], ids=["output", "layers"])
def test_sixteen_bits_and_more_processes_than_samples(layers, tmp_path):
    extra = COMMON_CORE.format(lanes=4) + "[quantize]\nactivation_bits = 16\n"
    recipe = write_recipe(tmp_path, "Slices", extra)
    pack(read_recipe(recipe), tmp_path / "bundle")
    x = read_inputs(recipe).x[:3]
    result = simulate_fast(tmp_path / "bundle", x, layers=layers, jobs=8)
    assert result.equal, str(result.comparison.first)
    assert result.jobs == 3 and not result.wrong_cycles


@pytest.mark.parametrize("layers", [False, True], ids=["output", "layers"])
def test_tiles_equal_golden(layers, tmp_path):
    extra = "[core]\nlanes = 4\ntaps = 2\ntiles = 4\n"
    recipe = write_recipe(tmp_path, "Averages", extra)
    pack(read_recipe(recipe), tmp_path / "bundle")
    result = simulate_fast(tmp_path / "bundle", read_inputs(recipe).x, layers=layers)
    assert result.equal, str(result.comparison.first)
    assert not result.wrong_cycles and not result.lost


def test_json_has_speed_and_accuracy(mlp):
    done = sim(mlp, "--inputs", DIGITS / "mlp.toml", "--fast", "--json", "--jobs", 1)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["equal"] and answer["cycles_as_predicted"]
    assert answer["samples"] == 599 and answer["elements"] == 5990
    assert answer["inferences_per_second"] > 100 and answer["cycles_per_second"] > 10_000
    assert answer["accuracy"] > 0.94


def test_a_damaged_image_is_a_mismatch_with_exit_code_1(mlp, tmp_path):
    # A bit of class 3's bias, LSB 2**-frac of the logits: every sample differs in that class.
    machine = load(mlp)
    line = machine.program[-1].bias_base + 3 // machine.core.rq + 1
    damaged = flip(mlp, tmp_path / "damaged", "bias", line, 36 * (3 % machine.core.rq))
    arguments = (damaged, "--inputs", DIGITS / "mlp.toml", "--fast", "--allow-modified")
    done = sim(*arguments, "--against", mlp)
    assert done.returncode == 1, done.stderr
    first = next(li for li in done.stdout.splitlines() if li.startswith("first:"))
    assert "6[channel 3, y 0, x 0] of sample 0: hdl 0x" in first and ", golden 0x" in first
    assert f"bias in bias.mem:{line} " in first and f"bias.mem:{line}\n" in done.stdout
    assert "DIFFERENT: 599 of 5,990 elements" in done.stdout
    layers = sim(*arguments, "--against", mlp, "--layers")
    assert layers.returncode == 1
    assert first in layers.stdout and "DIFFERENT: 599 of 53,910 elements" in layers.stdout
    # The same bits on both sides are equal: it is the images that are run, not the manifest.
    assert sim(*arguments).returncode == 0


def test_the_first_difference_of_a_later_process_has_its_number(mlp, tmp_path, monkeypatch):
    damaged = flip(mlp, tmp_path / "damaged", "weights", 12, 7)
    x = samples_of("mlp", 40)[2:]  # that weight matters to neither 2 nor 3
    monkeypatch.setattr(fast, "LOG_BYTES", 1)  # every frame a process of its own
    result = simulate_fast(
        damaged, x, layers=True, jobs=2, against=mlp, allow_modified=True
    ).comparison
    golden, other = (load(b, allow_modified=True) for b in (mlp, damaged))
    frames = frames_from_arrays(x, golden.manifest.input)
    one, two = (m.run(frames, keep_layers=True).nests[0].words for m in (golden, other))
    differ = np.flatnonzero((one != two).any(axis=(1, 2)))
    assert differ.size and result.first.sample == differ[0] > 0
    assert result.first.layer == "1" and result.first.channel == 0


def test_other_cycles_than_predicted_are_reported(mlp, monkeypatch):
    exact = fast.predict

    def one_more(program, core):
        answer = exact(program, core)
        return replace(answer, total=answer.total + 1)

    monkeypatch.setattr(fast, "predict", one_more)
    result = simulate_fast(mlp, samples_of("mlp", 5))
    assert result.equal and result.wrong_cycles == (0, 1, 2, 3, 4)


def test_a_frame_without_an_answer_is_a_mismatch(mlp, monkeypatch):
    monkeypatch.setattr(fast, "SPARE_CLOCKS", -800)  # less than a frame takes
    x = samples_of("mlp", 4)
    result = simulate_fast(mlp, x, jobs=1)
    assert not result.equal and "frame 0" in result.lost
    assert result.comparison.mismatches == 40
    assert "sample 0: hdl no result" in str(result.comparison.first)
    assert not simulate_fast(mlp, x, jobs=1, layers=True).equal
    with pytest.raises(ToolError, match="sample 0: 0 of 10 results"):
        rtl_predict(mlp, x)


@pytest.mark.parametrize("count, hdl", [(9, "no result"), (11, "11 beats")])
def test_a_beat_too_few_or_too_many_is_a_mismatch_whatever_the_others_are(mlp, count, hdl):
    machine = load(mlp)
    beats = machine.run(frames_from_arrays(samples_of("mlp", 3), machine.manifest.input)).beats
    beats[1, 9] = 0  # what the harness leaves where nothing came
    counts = np.array([10, count, 10])
    answer = fast._Answer(np.full(3, 376), counts, beats, 1500, "")
    verdict = fast._compare_beats(machine, beats, answer)
    assert verdict.mismatches == 1 and verdict.first.sample == 1
    assert verdict.first.channel == 9 and verdict.first.hdl == hdl


def test_rtl_predict_gives_what_golden_gives(mlp):
    x = samples_of("mlp", 50)
    machine = load(mlp)
    beats = machine.run(frames_from_arrays(x, machine.manifest.input)).beats
    integers, real = arrays_from_beats(beats, machine)
    answer = bramcast.sim.rtl_predict(mlp, x)
    assert answer.dtype == np.float64 and answer.shape == (50, 10)
    assert np.array_equal(answer, real)
    whole = rtl_predict(mlp, x, jobs=3, integers=True)
    assert whole.dtype == np.int64 and np.array_equal(whole, integers)


def test_importing_sim_is_light():
    code = "import sys, bramcast.sim; print('numpy' in sys.modules, bramcast.sim.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False ['rtl_predict']"


def test_new_weights_compile_nothing(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    cache.mkdir()
    for kept in cache_folder().glob("runtime-*.o"):  # what is no part of the core
        shutil.copy(kept, cache)
    monkeypatch.setenv("BRAMCAST_CACHE", str(cache))
    made = []
    for name in ("dscnn", "dscnn_retrained"):
        pack(read_recipe(DIGITS / f"{name}.toml"), tmp_path / name)
        assert simulate_fast(tmp_path / name, samples_of(name, 2)).equal
        made.append({p: p.stat().st_mtime_ns for p in cache.rglob("*") if p.is_file()})
        assert len([p for p in cache.iterdir() if p.is_dir()]) == 1
    programs = [{p: t for p, t in m.items() if p.suffix != ".lock"} for m in made]
    assert programs[0] == programs[1] and any(p.name == "fast_core" for p in programs[0])


@pytest.mark.parametrize(
    "options",
    [["--layers"], ["--jobs", "2"], ["--fast", "--simulator", "icarus"], ["--fast", "--waves"]],
    ids=" ".join,
)
def test_options_that_do_not_go_together_are_refused(mlp, options):
    done = sim(mlp, "--inputs", DIGITS / "mlp.toml", *options)
    assert done.returncode == 2 and "--fast" in done.stderr


@pytest.mark.slow
def test_all_samples_of_a_real_network_equal_golden(tmp_path):
    recipe = model_recipe(tmp_path, "kws_dscnn_mlperf")
    pack(read_recipe(recipe), tmp_path / "bundle")
    inputs = read_inputs(recipe)
    assert len(inputs.x) == 960
    result = simulate_fast(tmp_path / "bundle", inputs.x, layers=True)
    assert result.equal, str(result.comparison.first)
    assert not result.wrong_cycles and len(result.comparison.layers) == 11
    assert accuracy(result.outputs[0].integers, inputs.y) > 0.94

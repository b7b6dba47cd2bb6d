# SPDX-License-Identifier: Apache-2.0
"""Flipped bits: refused by the validator, in a padding lane, or alike in golden and in the HDL."""

import shutil

import numpy as np
import pytest
from support import COMMON_CORE, DIGITS, need, write_recipe

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.load import load
from bramcast.golden.validate import describe_bit
from bramcast.pack.bundle.errors import ProgramError
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import read_manifest
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.run.cosim import changed_lines, simulate

pytestmark = pytest.mark.cosim


def flip(bundle, image, line, bit):
    """Invert one bit of one line (counted from 1) of an image."""
    path = bundle / f"{image}.mem"
    lines = path.read_text().splitlines()
    digits = len(lines[line - 1])
    lines[line - 1] = f"{int(lines[line - 1], 16) ^ (1 << bit):0{digits}X}"
    path.write_text("\n".join(lines) + "\n")


def random_places(bundle, count, seed):
    """Random bits of the images' used words: (image, line, bit)."""
    rng = np.random.default_rng(seed)
    infos = {i.name: i for i in read_manifest(bundle).images}
    for _ in range(count):
        info = infos[rng.choice(["program", "weights", "bias"])]
        yield info.name, int(rng.integers(info.used)) + 1, int(rng.integers(info.bits))


def judge(good, samples, place, folder, simulator="verilator"):
    """What becomes of one flipped bit: refused, padding, silent or changed."""
    image, line, bit = place
    damaged = folder / "damaged"
    shutil.rmtree(damaged, ignore_errors=True)
    shutil.copytree(good, damaged)
    flip(damaged, image, line, bit)
    try:
        machine = load(damaged, allow_modified=True)
    except ProgramError as error:
        assert image == "program" and "line" in str(error), error
        return "refused"
    manifest = machine.manifest
    frames = frames_from_arrays(samples, manifest.input)
    good_beats = load(good).run(frames, keep_layers=True)
    bad_beats = machine.run(frames, keep_layers=True)
    same = len(good_beats.nests) == len(bad_beats.nests) and all(
        np.array_equal(a.words, b.words) and np.array_equal(a.addresses, b.addresses)
        for a, b in zip(good_beats.nests, bad_beats.nests, strict=True)
    )
    described = describe_bit(load_images(good, manifest), manifest.core, image, line, bit, manifest)
    alike = simulate(damaged, samples, simulator, allow_modified=True, seed=1)
    assert alike.equal, (place, described, str(alike.comparison.first))
    against = simulate(damaged, samples, simulator, allow_modified=True, against=good, seed=1)
    assert against.equal == same, (place, described)
    if not same:
        assert changed_lines(damaged, good, manifest.core) == [f"{image}.mem:{line}"]
        assert against.comparison.first is not None
        assert f"{image}.mem:" in str(against.comparison.first)
        return "changed"
    return "padding" if "padding" in described or "unused" in described else "silent"


def run(bundle, samples, count, seed, folder):
    verdicts = {"refused": 0, "padding": 0, "silent": 0, "changed": 0}
    for place in random_places(bundle, count, seed):
        verdicts[judge(bundle, samples, place, folder)] += 1
    return verdicts


def test_some_flipped_bits_of_the_example(tmp_path):
    need("verilator")
    good = tmp_path / "good"
    pack(read_recipe(DIGITS / "mlp.toml"), good)
    samples = read_inputs(DIGITS / "mlp.toml").x[:1]
    verdicts = run(good, samples, 12, 5, tmp_path)
    assert verdicts["changed"] and verdicts["refused"], verdicts


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, seed",
    [(name, seed) for name in ("Grouped", "VggCeil") for seed in range(4)],
)
def test_many_flipped_bits(name, seed, tmp_path):
    need("verilator")
    good = tmp_path / "good"
    pack(read_recipe(write_recipe(tmp_path, name, COMMON_CORE.format(lanes=16))), good)
    samples = read_inputs(tmp_path / "recipe.toml").x[:1]
    verdicts = run(good, samples, 40, seed, tmp_path)
    print(name, seed, verdicts)
    assert verdicts["changed"] >= 5 and verdicts["refused"] >= 5, verdicts


def test_a_changed_weight_is_reported_with_its_line(tmp_path):
    need("icarus")
    good, damaged = tmp_path / "good", tmp_path / "damaged"
    pack(read_recipe(DIGITS / "mlp.toml"), good)
    shutil.copytree(good, damaged)
    flip(damaged, "weights", 12, 7)  # sign of the weight of pixel (1, 3), lane 0, group 0
    samples = read_inputs(DIGITS / "mlp.toml").x[:2]
    result = simulate(damaged, samples, "icarus", allow_modified=True, against=good, seed=1)
    first = result.comparison.first
    assert not result.equal and first.layer == "1" and first.channel == 0
    assert "weights.mem:1-64 lane 0" in first.where
    assert changed_lines(damaged, good, load(good).core) == ["weights.mem:12"]

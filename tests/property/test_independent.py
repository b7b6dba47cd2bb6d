# SPDX-License-Identifier: Apache-2.0
"""Golden against a machine that knows docs/format.md only, on every network of the suite."""

import networks
import numpy as np
import pytest
from independent import Independent, fields_of_the_page
from support import text_recipe, write_recipe

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.load import load
from bramcast.pack.bundle import program as descriptor
from bramcast.pack.bundle.program import Nest
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe


def check(bundle, x):
    """Every beat, and every sub-word that a nest stores, of each sample."""
    machine, plain = load(bundle), Independent(bundle)
    frames = frames_from_arrays(x, machine.manifest.input)
    results = machine.run(frames, keep_layers=True)
    assert len(plain.program) == len(machine.program) == len(results.nests) + 1
    for sample, frame in enumerate(frames):
        beats, stores = plain.run(frame, seed=sample)
        assert beats == results.beats[sample].tolist()
        for ran, mine in zip(results.nests, stores, strict=True):
            nest = machine.program[ran.descriptor]
            assert isinstance(nest, Nest)
            if not nest.stream:
                words = ran.words[sample].tolist()
                stored = list(zip(ran.addresses.tolist(), words, strict=True))
                assert by_bank(mine, machine.core) == by_bank(stored, machine.core), ran.descriptor


def by_bank(stores, core):
    """A nest's stores, those of each bank in their order: golden runs one tile after the other."""
    return sorted(stores, key=lambda store: store[0] // (core.scratch_depth * core.taps))


CORES = {
    "16": "lanes = 16\n",
    "4 x 4, 16 bits": "lanes = 4\ntaps = 4\n[quantize]\nactivation_bits = 16\n",
    "4 x 1 x 2, 16 bits": "lanes = 4\ntiles = 2\n[quantize]\nactivation_bits = 16\n",
    "8 x 2 x 4": "lanes = 8\ntaps = 2\ntiles = 4\nrq = 4\n",
    "2 x 8 x 8": "lanes = 2\ntaps = 8\ntiles = 8\n",
}


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", networks.SHAPES)
def test_golden_computes_what_the_page_says(name, core, tmp_path):
    recipe = write_recipe(tmp_path, name, f"[core]\n{CORES[core]}", samples=2)
    packed = pack(read_recipe(recipe), tmp_path / "b")
    check(tmp_path / "b", packed.inputs.x[:1])


NARROW = {
    "Mlp96": {"0": 4, "2": 2, "4": 4},
    "Grouped": {"tiny": 4, "wide": 2, "multi": 4},
    "UnalignedConcat": {"depthwise": 2, "c": 4},
}


@pytest.mark.parametrize(
    "core",
    ["lanes = 8\ntaps = 2\nrq = 4\n", "lanes = 1\ntaps = 8\n", "lanes = 2\ntaps = 2\ntiles = 8\n"],
)
@pytest.mark.parametrize("name", NARROW)
def test_narrow_weights_are_where_the_page_says(name, core, tmp_path):
    layers = "".join(f'"{k}" = {{ weight_bits = {v} }}\n' for k, v in NARROW[name].items())
    extra = f"[core]\n{core}[quantize.layers]\n{layers}"
    packed = pack(read_recipe(write_recipe(tmp_path, name, extra, samples=2)), tmp_path / "b")
    assert any(d.get("narrow") for d in Independent(tmp_path / "b").program)
    check(tmp_path / "b", packed.inputs.x)


ROUNDS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(2, 6, 3, padding=1), nn.Linear(24, 5)

    def forward(self, x):
        x = torch.clamp(torch.floor(self.conv(x) / 128 + 0.5), -128, 127)
        x = torch.clamp(torch.floor(nn.functional.avg_pool2d(x, 2)), min=-3)
        return torch.floor(self.fc(x.flatten(1)) / 16 + 0.5)
"""


def test_a_network_that_rounds_is_executed_as_the_page_says(tmp_path):
    rng = np.random.default_rng(0)
    state = {"conv.weight": (6, 2, 3, 3), "conv.bias": (6,), "fc.weight": (5, 24), "fc.bias": (5,)}
    state = {name: rng.integers(-99, 99, shape) for name, shape in state.items()}
    x = rng.integers(-128, 128, (20, 2, 4, 4)).astype(np.float32)
    pack(read_recipe(text_recipe(tmp_path, ROUNDS, x, state)), tmp_path / "b")
    check(tmp_path / "b", x)


@pytest.mark.parametrize("tiled", [False, True])
def test_the_pages_fields_are_those_that_the_packer_writes(tiled):
    declared = {
        descriptor.OP_INPUT: descriptor.TILED_INPUT_FIELDS if tiled else descriptor.INPUT_FIELDS,
        descriptor.OP_NEST: descriptor.TILED_NEST_FIELDS if tiled else descriptor.NEST_FIELDS,
        descriptor.OP_LOOP: descriptor.LOOP_FIELDS,
    }
    assert fields_of_the_page(tiled) == {
        op: {n: (f.word, f.lsb, f.bits, f.signed) for n, f in layout.items()}
        for op, layout in (
            (op, {"opcode": descriptor.OPCODE, **fields}) for op, fields in declared.items()
        )
    }

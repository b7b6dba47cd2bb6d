# SPDX-License-Identifier: Apache-2.0
"""Vectors for other cores are what golden computes, in the formats that their index says."""

import csv

import numpy as np
import pytest
from support import DIGITS, ROOT, bramcast

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.layers import layer_results
from bramcast.golden.load import load
from bramcast.pack.samples.inputs import read_inputs

BUNDLES = ROOT / "tests" / "data" / "bundles"
INPUTS = DIGITS / "inputs.npz"


def written(folder, name, *options):
    done = bramcast("golden", BUNDLES / name, "--inputs", INPUTS, "--vectors", folder, *options)
    assert done.returncode == 0, done.stderr
    with open(folder / "index.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file)), done.stdout


def tensor(folder, row):
    """A file's numbers, by its row of the index alone."""
    bits = int(row["bits"])
    raw = np.array([int(line, 16) for line in (folder / row["file"]).read_text().split()])
    assert all(len(line) == -(-bits // 4) for line in (folder / row["file"]).read_text().split())
    signed = np.where(raw >> (bits - 1), raw - (1 << bits), raw) if int(row["signed"]) else raw
    return signed.reshape([int(n) for n in row["shape"].split("x")])


@pytest.mark.parametrize("name", ["digits_mlp", "digits_dscnn", "digits_gru"])
def test_every_layer_is_what_golden_computes(tmp_path, name):
    rows, said = written(tmp_path / "v", name, "--vector-samples", "3")
    assert f"vectors of 3 samples written to {tmp_path / 'v'}, see index.csv" in said
    machine = load(BUNDLES / name)
    frames = frames_from_arrays(read_inputs(INPUTS).x[:3], machine.manifest.input)
    layers = list(layer_results(machine, machine.run(frames, keep_layers=True)))
    assert [row["file"] for row in rows] == [
        "input.mem", *(f"layer{n:03d}.mem" for n in range(len(layers))), "output.mem",
    ]  # fmt: skip
    assert np.array_equal(tensor(tmp_path / "v", rows[0]).reshape(3, -1), frames)
    for row, layer in zip(rows[1:-1], layers, strict=True):
        assert (row["name"], row["operation"]) == (layer.layer.name, layer.layer.op)
        assert np.array_equal(tensor(tmp_path / "v", row), layer.values)
        assert int(row["frac"]) == layer.layer.format.frac


def test_the_output_is_that_of_the_results_file(tmp_path):
    rows, _ = written(tmp_path / "v", "digits_dscnn", "-o", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as file:
        assert np.array_equal(tensor(tmp_path / "v", rows[-1]), file["out_int"][:1])
        real = tensor(tmp_path / "v", rows[-1]) * 2.0 ** -int(rows[-1]["frac"])
        assert np.array_equal(real, file["out"][:1])


def test_a_folder_of_somebody_else_stays(tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "mine.mem").write_text("00\n")
    done = bramcast(
        "golden", BUNDLES / "digits_mlp", "--inputs", INPUTS, "--vectors", tmp_path / "v"
    )
    assert done.returncode == 2 and "'mine.mem'" in done.stderr
    assert [path.name for path in (tmp_path / "v").iterdir()] == ["mine.mem"]
    written(tmp_path / "w", "digits_mlp", "--vector-samples", "2")
    rows, _ = written(tmp_path / "w", "digits_mlp")  # again, and fewer
    assert rows[0]["shape"].startswith("1x")

# SPDX-License-Identifier: Apache-2.0
"""golden and sim repeat the judgement where the bundle knows the float results of the samples."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from support import DIGITS, ROOT, bramcast

from bramcast.pack.bundle import float_results as module
from bramcast.pack.bundle.float_results import float_results_bytes, read_float_results
from bramcast.pack.bundle.manifest import read_manifest

OLD = ROOT / "tests" / "data" / "bundles" / "digits_mlp"


@pytest.fixture
def bundle(mlp_bundle):
    return mlp_bundle


@pytest.fixture
def samples():
    with np.load(DIGITS / "inputs.npz") as file:
        return file["x"], file["y"]


def golden(bundle, inputs, *more):
    done = bramcast("golden", bundle, "--inputs", inputs, "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_golden_says_what_pack_said(bundle):
    judged = read_manifest(bundle).judgement
    ran = golden(bundle, DIGITS / "inputs.npz")
    assert ran["beside_float"] == {
        "samples": judged.samples, "snr": judged.snr, "agreement": judged.agreement
    }  # fmt: skip
    assert ran["accuracy"] == judged.accuracy
    said = bramcast("golden", bundle, "--inputs", DIGITS / "inputs.npz").stdout
    assert f"beside the float network, 599 samples: {judged.snr:.1f} dB of what varies" in said


def test_only_samples_that_the_bundle_knows_count(bundle, samples, tmp_path):
    x, y = samples
    mixed = np.concatenate([x[7:10] + np.float32(0.25), x[20:22], x[3:4]])
    np.savez(tmp_path / "mixed.npz", x=mixed, y=np.resize(y, 6))
    done = bramcast("golden", bundle, "--inputs", tmp_path / "mixed.npz")
    assert "beside the float network, 3 of 6 samples: " in done.stdout
    np.savez(tmp_path / "other.npz", x=mixed[:3])
    assert golden(bundle, tmp_path / "other.npz")["beside_float"] is None


def test_a_result_is_found_by_its_samples_sha256(bundle, samples):
    x, _ = samples
    floats = read_float_results(bundle, read_manifest(bundle))
    assert bytes(floats.digests[5]) == hashlib.sha256(x[5].astype("<f4").tobytes()).digest()
    numbers, exact = floats.known(np.stack([x[5] * 2, x[5], x[0]]))
    assert numbers.tolist() == [1, 2]
    assert (exact == floats.results[[5, 0]]).all()
    with np.load(bundle / "float_results.npz") as file:
        assert sorted(file.files) == ["results", "sha256"]  # never the samples


def test_a_large_set_is_cut(monkeypatch):
    monkeypatch.setattr(module, "MOST_RESULTS", 30)
    data = float_results_bytes(np.arange(40.0).reshape(8, 5), np.arange(80.0).reshape(8, 10))
    import io

    with np.load(io.BytesIO(data)) as file:
        assert file["results"].shape == (3, 10) and file["sha256"].shape == (3, 32)


def test_images_that_were_damaged_show_in_the_judgement(bundle, tmp_path):
    copy = tmp_path / "b"
    shutil.copytree(bundle, copy)
    lines = (copy / "weights.mem").read_text().splitlines()
    (copy / "weights.mem").write_text("\n".join(reversed(lines)) + "\n")
    ran = golden(copy, DIGITS / "inputs.npz", "--allow-modified")
    assert ran["beside_float"]["snr"] < 5


def test_float_results_that_were_changed_are_refused_and_absent_ones_are_not_missed(
    bundle, tmp_path
):
    copy = tmp_path / "b"
    shutil.copytree(bundle, copy)
    path = copy / "float_results.npz"
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    done = bramcast("golden", copy, "--inputs", DIGITS / "inputs.npz")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "float_results.npz: differs from what was packed" in done.stderr
    with np.load(bundle / "float_results.npz") as file:  # a good file, but another
        np.savez(path, sha256=file["sha256"], results=file["results"] + np.float32(1))
    assert bramcast("golden", copy, "--inputs", DIGITS / "inputs.npz").returncode == 2
    done = bramcast("images", copy)
    assert done.returncode == 1 and "float_results.npz" in done.stdout
    path.unlink()
    assert golden(copy, DIGITS / "inputs.npz")["beside_float"] is None
    assert bramcast("images", copy).returncode == 0


def test_a_bundle_of_before_has_no_judgement():
    assert golden(OLD, DIGITS / "inputs.npz")["beside_float"] is None
    done = bramcast("inspect", OLD)
    assert done.returncode == 0 and "was not judged against the float network" in done.stdout


def test_inspect_shows_the_judgement_of_a_bundle(bundle):
    done = bramcast("inspect", bundle)
    assert done.returncode == 0
    assert "beside the float network, 599 samples: " in done.stdout
    assert "of the output's error " in done.stdout
    said = json.loads(bramcast("inspect", bundle, "--json").stdout)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert said["judgement"] == manifest["judgement"]


def test_the_images_do_not_know_of_it(bundle):
    """Neither the images nor what an FPGA project gets."""
    manifest = read_manifest(bundle)
    assert not any("float" in file for image in manifest.images for file in image.files)


@pytest.mark.cosim
def test_sim_repeats_the_judgement(bundle):
    from support import need

    need("verilator")
    inputs = DIGITS / "inputs.npz"
    done = bramcast("sim", bundle, "--inputs", inputs, "--samples", 3, "--json")
    assert done.returncode == 0, done.stderr
    slow = json.loads(done.stdout)["beside_float"]
    done = bramcast("sim", bundle, "--inputs", inputs, "--fast", "--samples", 3, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["beside_float"] == slow
    assert slow["samples"] == 3 and slow["snr"] > 25

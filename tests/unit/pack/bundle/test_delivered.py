# SPDX-License-Identifier: Apache-2.0
"""Whatever is altered in a bundle is noticed by those who run, compare or copy it."""

import json
import re
import shutil

import pytest
from support import DIGITS, ROOT, bramcast

from bramcast.golden.load import load
from bramcast.pack.bundle.delivered import verify_delivered
from bramcast.pack.bundle.errors import UserError
from bramcast.pack.bundle.manifest import manifest_json, read_manifest
from bramcast.sim.folder.options import HdlOptions
from bramcast.sim.folder.project import write_project

OLD = ROOT / "tests" / "data" / "bundles" / "digits_mlp"
INPUTS = DIGITS / "inputs.npz"


@pytest.fixture
def bundle(mlp_bundle):
    return mlp_bundle


@pytest.fixture
def copy(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "b")


def alter(path, at=None, bit=1):
    """Turn one bit of a file, in its middle if not told otherwise."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 if at is None else at] ^= bit
    path.write_bytes(raw)


def test_one_bit_of_any_file_is_noticed(bundle, copy):
    load(copy)
    for file in sorted({p.name for p in bundle.iterdir()} - {"provenance.json"}):
        for at in (0, None, -2, -1):
            alter(copy / file, at)
            with pytest.raises(UserError, match=re.escape(file)):
                load(copy)
            shutil.copy(bundle / file, copy / file)
    load(copy)


@pytest.mark.parametrize("bit", [1, 4, 32])
def test_each_byte_of_a_manifest_counts(copy, bit):
    """Also where JSON and the manifest's rules are kept: in names, numbers and blanks."""
    path = copy / "manifest.json"
    text = path.read_bytes()
    for at in (*range(0, len(text), 97), *range(len(text) - 90, len(text))):
        alter(path, at, bit)
        with pytest.raises(UserError, match=r"manifest\.json"):
            verify_delivered(copy, read_manifest(copy))
        path.write_bytes(text)


@pytest.mark.parametrize("file", ["weights.coe", "images.bin", "bramcast_driver.c"])
def test_every_verb_that_runs_or_copies_notices(bundle, copy, tmp_path, file):
    alter(copy / file)
    calls = {
        "golden": ("golden", copy, "--inputs", INPUTS),
        "sim": ("sim", copy, "--inputs", INPUTS, "--samples", 1),
        "sim --fast": ("sim", copy, "--inputs", INPUTS, "--samples", 1, "--fast"),
        "regress old": ("regress", copy, bundle, "--inputs", INPUTS),
        "regress new": ("regress", bundle, copy, "--inputs", INPUTS),
        "report": ("report", copy, "-o", tmp_path / "r.html"),
        "hdl": ("hdl", copy, "-o", tmp_path / "project"),
    }
    for verb, call in calls.items():
        done = bramcast(*call)
        assert done.returncode == 2 and done.stdout == "", verb
        assert done.stderr.count("\n") == 1, done.stderr
        assert f"{copy / file}: differs from what was packed" in done.stderr, verb
        assert "--allow-modified" in done.stderr
    assert not (tmp_path / "project").exists() and not (tmp_path / "r.html").exists()
    done = bramcast("golden", copy, "--inputs", INPUTS, "--allow-modified")
    assert done.returncode == 0, done.stderr
    done = bramcast("regress", bundle, copy, "--inputs", INPUTS, "--allow-modified", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["verdict"] == "drop-in"
    assert bramcast("hdl", copy, "-o", tmp_path / "project", "--allow-modified").returncode == 0


@pytest.mark.parametrize(
    "file", ["weights.mem", "weights.coe", "images.bin", "float_results.npz", "manifest.json"]
)
def test_a_device_in_place_of_a_file_is_one_line(copy, file):
    (copy / file).unlink()
    (copy / file).symlink_to("/dev/zero")
    needed = file not in ("weights.coe", "images.bin")
    for more in ((), ("--allow-modified",)):
        done = bramcast("golden", copy, "--inputs", INPUTS, *more)
        if more and not needed:
            assert done.returncode == 0
            continue
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert f"{copy / file}: " in done.stderr and "internal" not in done.stderr
    done = bramcast("images", copy)
    assert done.returncode in (1, 2) and file in done.stdout + done.stderr


def test_a_file_that_is_larger_than_what_images_reads_is_verified(copy, monkeypatch):
    """A C header has 13 bytes where .mem has 8 and images.bin 4, .memb has 32."""
    largest = max((p for p in copy.iterdir()), key=lambda p: p.stat().st_size)
    mem = max(p.stat().st_size for p in copy.glob("*.mem"))
    assert largest.suffix != ".mem" and largest.stat().st_size > mem
    monkeypatch.setattr("bramcast.pack.bundle.formats.text.MAX_FILE_BYTES", mem)
    manifest = (copy / "manifest.json").stat().st_size
    assert manifest <= mem
    load(copy)
    alter(largest)
    with pytest.raises(UserError, match="differs from what was packed"):
        load(copy)


def test_what_a_killed_writer_left_is_no_file_of_the_bundle(copy):
    (copy / ".bramcast-new.abcd1234").mkdir()
    assert bramcast("images", copy).returncode == 0
    (copy / ".bramcast-other").mkdir()
    assert "is not in the manifest" in bramcast("images", copy).stdout


def test_images_names_an_altered_manifest(copy):
    path = copy / "manifest.json"
    path.write_text(path.read_text().replace('"macs": ', '"macs": 1', 1))
    done = bramcast("images", copy)
    assert done.returncode == 1 and re.search(r"manifest\.json .*WRONG", done.stdout)


def test_the_images_alone_can_be_mailed_but_not_compared(bundle, copy):
    for path in copy.iterdir():
        if path.suffix not in (".mem", ".json"):
            path.unlink()
    assert bramcast("golden", copy, "--inputs", INPUTS).returncode == 0
    done = bramcast("regress", bundle, copy, "--inputs", INPUTS)
    assert done.returncode == 2 and "program.coe: is not there" in done.stderr
    done = bramcast("regress", bundle, copy, "--inputs", INPUTS, "--allow-modified", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert all(f.endswith(".mem") for image in found["images"] for f in image["files"])


def test_a_manifest_without_its_own_sum_is_read(copy):
    """As those of older versions."""
    assert read_manifest(OLD).sha256 is None
    load(OLD)
    path = copy / "manifest.json"
    document = json.loads(path.read_text())
    del document["sha256"]
    path.write_text(json.dumps(document))
    load(copy)


def test_a_file_elsewhere_is_refused(copy):
    manifest = read_manifest(copy)
    manifest.images[0].files["../other"] = "0" * 64
    (copy / "manifest.json").write_text(manifest_json(manifest))
    with pytest.raises(UserError, match=r"manifest\.json: .*'\.\./other' is no file of the bundle"):
        load(copy)


def test_a_project_has_the_bytes_that_were_verified(copy, tmp_path):
    write_project(copy, tmp_path / "p", HdlOptions())
    assert (tmp_path / "p" / "weights.mem").read_bytes() == (copy / "weights.mem").read_bytes()

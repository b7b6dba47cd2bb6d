# SPDX-License-Identifier: Apache-2.0
"""bramcast patch and hdl --patchable: what they write, print and refuse."""

import hashlib
import json
import re
import shutil
import subprocess
import sys

import bitstreams as made
import pytest
import support
from support import ROOT

from bramcast.pack.bitstream.pattern import pattern
from bramcast.pack.bundle.formats.readmem import read_mem
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import read_manifest

BUNDLES = ROOT / "tests" / "data" / "bundles"
MLP = BUNDLES / "digits_mlp"
MANIFEST = read_manifest(MLP)
DEPTH, WIDTH = 512, 36


def bramcast(*arguments):
    done = support.bramcast(*arguments)
    return done.returncode, done.stdout, done.stderr


def blocks(images):
    parts = [p for words in images.values() for p in made.pieces(words, WIDTH, DEPTH)]
    return {number: made.ecp5_block(part, WIDTH) for number, part in enumerate(parts)}


@pytest.fixture
def bitstream(tmp_path):
    path = tmp_path / "top.bit"
    path.write_bytes(made.ecp5_bit(blocks(pattern(MANIFEST.core))))
    return path


def test_a_bitstream_gets_the_bundles_images(bitstream, tmp_path):
    code, text, _ = bramcast("patch", bitstream, MLP, "-o", tmp_path / "new.bit")
    assert code == 0
    wanted = made.ecp5_bit(blocks(load_images(MLP, MANIFEST)))
    assert (tmp_path / "new.bit").read_bytes() == wanted
    words = sum(info.words for info in MANIFEST.images)
    assert f"{words:,} words read back from the new file, all equal to {MLP}" in text
    assert "DP16KD" in text.splitlines()[0]


def test_json_has_what_was_patched(bitstream, tmp_path):
    code, text, _ = bramcast("patch", bitstream, MLP, "-o", tmp_path / "new.bit", "--json")
    found = json.loads(text)
    assert code == 0
    assert found["family"] == "ECP5" and found["output"] == str(tmp_path / "new.bit")
    assert [(i["name"], i["words"], i["bits"], i["blocks"]) for i in found["images"]] == [
        ("program", 128, 32, 1), ("weights", 320, 128, 4), ("bias", 48, 72, 2),
    ]  # fmt: skip
    assert found["verified_words"] == 128 + 320 + 48 and found["blocks"] == 7


def test_the_file_may_go_to_standard_output(bitstream, tmp_path):
    main = (sys.executable, "-c", "from bramcast.cli import main; main()")
    command = [*main, "patch", str(bitstream), str(MLP), "-o", "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout == made.ecp5_bit(blocks(load_images(MLP, MANIFEST)))


def test_a_refusal_leaves_what_was_there(bitstream, tmp_path):
    before = bitstream.read_bytes()
    new = tmp_path / "new.bit"
    new.write_bytes(b"old")
    for bundle, output, why in (
        (BUNDLES / "digits_dscnn", new, "program_depth is 128, the bundle's 320"),
        (MLP, bitstream, "which the next patch needs"),
        (tmp_path, new, "manifest.json"),
    ):
        code, _, text = bramcast("patch", bitstream, bundle, "-o", output)
        assert code == 2 and why in text, text
    assert bitstream.read_bytes() == before and new.read_bytes() == b"old"
    assert bramcast("patch", tmp_path / "none.bit", MLP, "-o", new)[0] == 2
    assert bramcast("patch", tmp_path, MLP, "-o", new)[0] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.bit", "top.bit"]


def test_a_patchable_folder_has_the_pattern_for_synthesis_alone(tmp_path):
    """Simulation and software get the network, and all else is as ever."""
    plain, patchable = tmp_path / "plain", tmp_path / "patchable"
    assert bramcast("hdl", MLP, "-o", plain, "--axi")[0] == 0
    code, text, _ = bramcast("hdl", MLP, "-o", patchable, "--axi", "--patchable")
    assert code == 0 and "bramcast patch" in text
    for name, words in pattern(MANIFEST.core).items():
        assert read_mem(patchable / f"{name}.mem", words.bits, len(words)) == words
        network = (patchable / f"network_{name}.mem").read_bytes()
        assert network == (MLP / f"{name}.mem").read_bytes()
    named = {"README.md", "component.xml", "digits_mlp.core", "digits_mlp_litex.py"}
    banked = {"digits_mlp_top.v", "digits_mlp_vhdl.vhd", "vivado.tcl"}  # a parameter, for AMD
    differ = {f"{name}.mem" for name in pattern(MANIFEST.core)} | banked | named
    for path in plain.iterdir():
        same = (patchable / path.name).read_bytes() == path.read_bytes()
        assert same != (path.name in differ), path.name
    for name in named:
        assert "network_weights.mem" in (patchable / name).read_text() or name == "README.md"
    for name in banked:
        assert "BANKED" in (patchable / name).read_text()
        assert "BANKED" not in (plain / name).read_text()
    assert "digits_mlp_top.mmi" in (patchable / "mmi.tcl").read_text()
    assert "mmi.tcl" in (patchable / "README.md").read_text()
    both = (patchable / "digits_mlp_top.v").read_text()
    split = re.compile(r"`ifdef SYNTHESIS .*\n((?:.*\n)+)`else .*\n((?:.*\n)+)`endif\n")
    synthesis, simulation = (split.sub(part, both) for part in (r"\1", r"\2"))
    without = re.sub(r",(  // .*)\n    parameter BANKED = 0 .*\n", r"\1\n", synthesis)
    without = without.replace("      .BANKED(BANKED),\n", "")
    assert without == (plain / "digits_mlp_top.v").read_text()
    assert simulation == re.sub(r'"(\w+\.mem)"', r'"network_\1"', synthesis)


def test_a_depth_that_leaves_a_few_words_for_a_block_is_noted(tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(MLP, bundle)
    manifest = json.loads((MLP / "manifest.json").read_text())
    manifest["core"]["weights_depth"] = 520
    manifest["images"][1]["words"] = 520
    content = (MLP / "weights.mem").read_bytes() + (b"0" * 32 + b"\n") * 200
    manifest["images"][1]["sha256"] = hashlib.sha256(content).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    (bundle / "weights.mem").write_bytes(content)
    command = ("hdl", bundle, "-o", tmp_path / "fpga", "--allow-modified")
    code, text, _ = bramcast(*command, "--patchable")
    assert code == 0 and "note: weights_depth = 520 may leave" in text
    assert ": 544 in the recipe is safe" in text
    assert "note" not in bramcast(*command)[1]

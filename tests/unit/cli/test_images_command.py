# SPDX-License-Identifier: Apache-2.0
"""bramcast images: shows, converts and compares files, checks bundles."""

import contextlib
import hashlib
import io
import json
import re
import shlex
import shutil
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
from support import DIGITS, ROOT

from bramcast.cli.app import main
from bramcast.golden.load import load
from bramcast.pack.bundle.check import check_bundle
from bramcast.pack.bundle.errors import RecipeError
from bramcast.pack.bundle.formats.table import NAMES, RECIPE_NAMES, SAME, TABLE, image_format
from bramcast.pack.bundle.formats.text import MAX_BITS, MAX_DEPTH, MAX_FILE_BYTES
from bramcast.pack.bundle.images import load_images, write_image_files
from bramcast.pack.bundle.manifest import Core, manifest_json, read_manifest
from bramcast.pack.bundle.words import Words
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import ImagesSection, read_recipe


def run(*arguments):
    """The console script in this process: exit code, standard output, standard error."""
    errors, output = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["bramcast", "images", *map(str, arguments)]
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(output):
            main()
    except SystemExit as leave:
        return leave.code or 0, output.getvalue(), errors.getvalue()
    finally:
        sys.argv = before
    raise AssertionError("main() returned")


def refused(*arguments):
    code, output, errors = run(*arguments)
    assert code == 2 and output == "" and len(errors.strip().splitlines()) == 1, errors
    assert "internal error" not in errors
    return errors.strip().removeprefix("bramcast: error: ")


@pytest.fixture
def coe(tmp_path):
    path = tmp_path / "a.coe"
    path.write_text(
        "memory_initialization_radix=16;\nmemory_initialization_vector=\n12345678,\n9ABCDEF0,\n0;\n"
    )
    return path


def test_a_file_is_shown_with_its_sums(coe, tmp_path):
    code, output, _ = run(coe, "--json")
    data = bytes.fromhex("78563412" + "f0debc9a" + "00000000")
    assert code == 0 and json.loads(output)["files"] == [
        {"file": str(coe), "format": "coe", "detail": "radix 16", "words": 3, "bits": 32,
         "first": 0, "last": 2, "gaps": 0, "largest": "9ABCDEF0", "repeats": 0, "warnings": [],
         "crc32": f"{zlib.crc32(data):08X}", "sha256": hashlib.sha256(data).hexdigest()}
    ]  # fmt: skip
    gaps = tmp_path / "g.mem"
    gaps.write_text("@2 1\n@5 2\n@5 3\n")
    code, output, _ = run(coe, gaps)
    assert code == 0 and "2..5" in output and "9ABCDEF0" in output
    assert f"{gaps}: 2 words between the first and the last one are not given" in output
    assert f"{gaps}: 1 words are given again later" in output


def test_a_file_is_converted_as_a_whole_or_not_at_all(coe, tmp_path):
    out = tmp_path / "new" / "b.mif"
    assert run(coe, "--to", "mif", "-o", out, "--depth", "power-of-two")[0] == 0
    assert out.read_text() == (
        "WIDTH=32;\nDEPTH=4;\nADDRESS_RADIX=HEX;\nDATA_RADIX=HEX;\nCONTENT BEGIN\n"
        "0 : 12345678;\n1 : 9ABCDEF0;\n2 : 00000000;\n3 : 00000000;\nEND;\n"
    )
    before = out.read_bytes()
    message = refused(coe, "--to", "mif", "-o", out, "--depth", "2")
    assert message == f"{coe}: 3 words don't fit a depth of 2; raise --depth"
    message = refused(coe, "--to", "mif", "-o", out, "--bits", "31")
    assert message == f"{coe}:4: word 1 is 0x9ABCDEF0, more than 31 bits"
    assert out.read_bytes() == before and [p.name for p in out.parent.iterdir()] == ["b.mif"]


def test_a_file_against_the_book_is_used_with_a_warning(coe, tmp_path):
    loose, out = tmp_path / "b.coe", tmp_path / "b.mem"
    loose.write_text("12345678\n9abcdef0\n00000000\n")
    code, output, errors = run(loose)
    assert code == 0 and "3" in output and errors.count("\n") == 2
    lines = errors.splitlines()
    assert lines[0].startswith(f"bramcast: warning: {loose}:1: no memory_initialization_radix and")
    assert lines[1].startswith(f"bramcast: warning: {loose}:3: no semicolon behind the last word")
    code, output, errors = run(loose, "--to", "mem", "-o", out)
    assert code == 0 and errors.splitlines() == lines
    assert out.read_text() == "12345678\n9ABCDEF0\n00000000\n"
    code, output, errors = run(coe, loose, "--compare")
    assert (code, output) == (0, "equal: 3 words\n") and errors.splitlines() == lines
    code, output, _ = run(loose, "--json")
    (shown,) = json.loads(output)["files"]
    assert [f"bramcast: warning: {w}" for w in shown["warnings"]] == lines


def test_banks_hold_the_least_significant_bits_first(coe, tmp_path):
    out = tmp_path / "w.lattice.mem"
    code, output, _ = run(coe, "--to", "lattice", "-o", out, "--bank-bits", "12", "--json")
    assert code == 0 and json.loads(output) == {
        "files": [str(tmp_path / f"w_bank{k}.lattice.mem") for k in range(3)],
        "format": "lattice", "words": 3, "bits": 12, "banks": 3,
    }  # fmt: skip
    lines = [(tmp_path / f"w_bank{k}.lattice.mem").read_text().split()[-3:] for k in range(3)]
    assert lines == [["678", "EF0", "000"], ["345", "BCD", "000"], ["012", "09A", "000"]]


def test_widths_and_formats_can_be_given(coe, tmp_path):
    raw = tmp_path / "w.bin"
    assert run(coe, "--to", "bin", "-o", raw, "--bits", "40")[0] == 0
    assert raw.read_bytes().hex() == "7856341200" + "f0debc9a00" + "0000000000"
    assert refused(raw) == f"{raw}: raw binary does not say how wide its words are; give --bits"
    back = tmp_path / "back.mem"
    assert run(raw, "--to", "mem", "-o", back, "--bits", "40")[0] == 0
    assert back.read_text() == "0012345678\n009ABCDEF0\n0000000000\n"
    assert run(coe, back, "--compare")[0] == 0


def test_equal_files_of_two_formats_are_equal(coe, tmp_path):
    other = tmp_path / "b.mem"
    other.write_text("// ours\n@1 9abc_def0\n@0 12345678\n@7 0")
    code, output, _ = run(coe, other, "--compare")
    assert code == 0 and output.strip() == f"equal: 3 words; {other} has 5 more, all zero"


def test_the_first_difference_is_named_in_both_files(coe, tmp_path):
    other = tmp_path / "b.mif"
    other.write_text("WIDTH=32;\nDEPTH=4;\nCONTENT BEGIN\n0:12345678;\n1:1ABCDEF0;\n3:1;\nEND;\n")
    code, output, _ = run(coe, other, "--compare")
    assert code == 1 and output.strip() == (
        f"differ: 2 of 4 words, first at address 1 (0x1): {coe}:4 has 0x9ABCDEF0, "
        f"{other}:5 has 0x1ABCDEF0"
    )
    code, output, _ = run(coe, other, "--compare", "--json")
    assert code == 1 and json.loads(output)["first_difference"] == {
        "address": 1,
        "values": ["0x9ABCDEF0", "0x1ABCDEF0"],
        "places": [f"{coe}:4", f"{other}:5"],
    }
    wide = tmp_path / "c.mif"
    wide.write_text("WIDTH=33;\nDEPTH=4;\nCONTENT BEGIN\n0:12345678;\n1:1ABCDEF0;\n3:1;\nEND;\n")
    code, output, _ = run(other, wide, "--compare")
    assert code == 1 and "states words of 32 bits" in output


def test_options_that_do_not_fit_are_refused(coe, tmp_path):
    assert "--compare takes two files" in refused(coe, "--compare")
    assert "needs --to FORMAT" in refused(coe, "-o", tmp_path / "x")
    assert "give --to FORMAT" in refused(coe, "--depth", 4)
    assert "--to takes one file" in refused(coe, coe, "--to", "mif")
    assert "unknown image format 'xls'" in refused(coe, "--to", "xls", "-o", tmp_path / "x")
    assert "expected a number of words" in refused(
        coe, "--to", "mif", "-o", tmp_path / "x", "--depth", "many"
    )
    wide = tmp_path / "wide.mem"
    wide.write_text("0" * 100 + "\n")
    message = refused(wide, "--to", "lattice", "-o", tmp_path / "x")
    assert "at most 256 bits, not 400; cut them into banks (--bank-bits)" in message
    assert "gone.mem: No such file" in refused(tmp_path / "gone.mem")
    assert "is checked as a whole" in refused(tmp_path, "--to", "mif", "-o", "x")
    assert not (tmp_path / "x").exists()


# --- bundles


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The digits MLP with every format, in banks, deeper than its memories."""
    folder = tmp_path_factory.mktemp("packed")
    images = ImagesSection(formats=RECIPE_NAMES, bank_bits=32, pad_depth="power of two")
    pack(replace(read_recipe(DIGITS / "mlp.toml"), images=images), folder / "bundle")
    return folder / "bundle"


@pytest.fixture
def bundle(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "bundle")


def test_a_bundle_holds_every_format_in_banks(bundle):
    manifest = read_manifest(bundle)
    assert load(bundle).manifest == manifest  # golden reads NAME.mem as ever
    program, weights, bias = manifest.images
    assert (program.bank_bits, weights.bank_bits, bias.bank_bits) == (0, 32, 32)
    suffixes = {fmt.suffix for fmt in TABLE if fmt.in_bundle}
    assert set(weights.files) == {"weights.mem"} | {
        f"weights_bank{k}{suffix}" for k in range(4) for suffix in suffixes
    }
    lines = [
        (bundle / f"weights{b}.mem").read_text().split()
        for b in ("", *map("_bank{}".format, range(4)))
    ]
    assert len(lines[0]) == weights.words
    assert len(lines[1]) == 1 << (weights.words - 1).bit_length()
    for whole, *banks in zip(*lines, strict=False):
        assert whole == "".join(reversed(banks))
    bias_lines = [(bundle / f"bias{b}.mem").read_text().split() for b in ("", "_bank2")]
    assert bias_lines[1][0] == f"{int(bias_lines[0][0], 16) >> 64:08X}"


def test_a_bundle_as_packed_passes_its_check(bundle):
    code, output, errors = run(bundle)
    assert code == 0 and errors == "" and "all files say the same" in output
    code, output, _ = run(bundle, "--json")
    document = json.loads(output)
    assert code == 0 and document["equal"] is True
    checked = {row["file"] for row in document["files"]}
    assert checked == {p.name for p in bundle.iterdir()} - {"provenance.json"}


def flipped(path, at):
    """Change one digit so that the file stays well-formed."""
    raw = bytearray(path.read_bytes())
    place = [i for i, byte in enumerate(raw) if byte in b"01"][at]
    raw[place] ^= 1
    path.write_bytes(raw)
    return bytes(raw[:place]).count(b"\n") + 1


@pytest.mark.parametrize(
    "file", ["weights.mem", "weights_bank1.mem", "weights_bank2.memb.mem", "bias_bank0.lattice.mem",
             "program.mi", "bias_bank1.bin.mi", "program.coe"],
)  # fmt: skip
def test_a_changed_word_is_found_in_its_line(bundle, file):
    line = flipped(bundle / file, 100)
    wrong = [s for s in check_bundle(bundle, read_manifest(bundle)) if not s.equal]
    assert [s.file for s in wrong] == [file]
    assert wrong[0].detail.startswith(f"{bundle / file}:{line}: word ")
    assert wrong[0].detail.endswith("; 1 words differ")
    code, output, errors = run(bundle)
    assert code == 1 and f"{file}:{line}: word" in output and "1 of " in errors


@pytest.mark.parametrize(
    "change, file, detail",
    [
        (lambda p: p.unlink(), "weights_bank3.mi", "No such file"),
        (lambda p: p.write_bytes(p.read_bytes()[:-9]), "bias_bank0.mif", "expected 'END;'"),
        (lambda p: p.write_bytes(p.read_bytes()[:-4]), "images.bin", "bytes, expected"),
        (lambda p: p.write_bytes(b"// x\n" + p.read_bytes()), "program.memb.mem", ":1: expected '"),
        (lambda p: p.write_bytes(p.read_bytes() + b"\n"), "bramcast_images.h", "same words, but"),
        (lambda p: p.write_bytes(p.read_bytes() + b"\n"), "bramcast_driver.c", "differs from what"),
        (lambda p: p.write_text("x"), "weights_bank9.mem", "is not in the manifest"),
        (lambda p: p.write_text("x"), "weights_bank0.npz", "not an .npz file"),
    ],
)
def test_damaged_files_of_a_bundle_are_named(bundle, change, file, detail):
    change(bundle / file)
    wrong = [s for s in check_bundle(bundle, read_manifest(bundle)) if not s.equal]
    assert {s.file for s in wrong} == {file} and all(detail in s.detail for s in wrong), wrong


def test_a_changed_word_of_a_shared_file_is_found(bundle):
    raw = bytearray((bundle / "images.bin").read_bytes())
    at = next(i for i in range(4 * 70, len(raw)) if raw[i])  # behind the first descriptors
    raw[at] ^= 1
    (bundle / "images.bin").write_bytes(raw)
    wrong = [s for s in check_bundle(bundle, read_manifest(bundle)) if not s.equal]
    assert {s.file for s in wrong} == {"images.bin"}
    text = (bundle / "bramcast_images.h").read_text()
    (bundle / "bramcast_images.h").write_text(text.replace("= {\n 0x0", "= {\n 0x1", 1))
    wrong = [s for s in check_bundle(bundle, read_manifest(bundle)) if not s.equal]
    assert "bramcast_images.h" in {s.file for s in wrong}


def test_a_manifest_with_strange_names_is_refused_quietly(bundle):
    manifest = read_manifest(bundle)
    weights = manifest.images[1]
    files = {**weights.files, "weights_bank7.mem": "0" * 64, "weights_x": "0", "weights.doc": "1"}
    odd = replace(manifest, images=[manifest.images[0], replace(weights, files=files, bank_bits=0),
                                    manifest.images[2]])  # fmt: skip
    (bundle / "manifest.json").write_text(manifest_json(odd))
    code, _, errors = run(bundle)
    assert code == 1 and "internal error" not in errors


def test_an_image_that_a_format_cannot_hold_is_refused(tmp_path):
    core = Core(64, 1, 8, 8, 1, 64, 40, 64, 0, 64)
    images = {"program": Words(32, np.zeros((64, 4), np.uint8))}
    with pytest.raises(RecipeError, match="image 'weights': format lattice holds words of at most"):
        write_image_files(tmp_path, images, core, ["lattice"])
    with pytest.raises(RecipeError, match="image 'bias': format hex .* multiple of 8 bits, not 36"):
        write_image_files(tmp_path, images, core, ["hex"])
    with pytest.raises(RecipeError, match="image 'program': 64 words don't fit a depth of 63"):
        write_image_files(tmp_path, images, core, [], pad_depth=63)
    infos = write_image_files(tmp_path, images, core, ["hex", "lattice"], 32, 100)
    assert len((tmp_path / "weights_bank15.mem").read_text().split()) == 100  # always made
    assert [i.bank_bits for i in infos] == [0, 32, 32]
    assert (
        (tmp_path / "weights_bank15.lattice.mem")
        .read_text()
        .startswith("#Format=Hex\n#Depth=100\n")
    )


def test_a_writer_that_writes_other_words_is_caught(tmp_path, monkeypatch):
    broken = replace(image_format("coe"), write=lambda words, depth: image_format("coe").write(
        Words(words.bits, words.data ^ 1), depth))  # fmt: skip
    monkeypatch.setattr("bramcast.pack.bundle.images.image_format", lambda name: broken)
    core = Core(1, 1, 8, 8, 1, 64, 4, 4, 0, 64)
    with pytest.raises(AssertionError, match="coe reads other words than it wrote"):
        write_image_files(tmp_path, {}, core, ["coe"])


@pytest.mark.parametrize(
    "line, message",
    [
        ('formats = ["xls"]', "unknown image format 'xls'; known are mem, memb"),
        ("bank_bits = 0", "bank_bits"),
        ('pad_depth = "deep"', "pad_depth"),
        ("pad_depth = 0", "pad_depth"),
    ],
)
def test_the_recipe_names_a_wrong_value(tmp_path, line, message):
    path = tmp_path / "r.toml"
    path.write_text(f'[model]\nonnx = "n.onnx"\ninputs = "i.npz"\n[images]\n{line}\n')
    with pytest.raises(RecipeError, match=message):
        read_recipe(path)


def test_old_bundles_without_bank_bits_are_read(bundle):
    text = (bundle / "manifest.json").read_text()
    bare = re.sub(r',\n\s*"bank_bits": \d+', "", text)
    assert bare != text
    (bundle / "manifest.json").write_text(bare)
    assert load_images(bundle, read_manifest(bundle)).keys() == {"program", "weights", "bias"}


# --- docs/images.md


def test_the_commands_of_the_page_run_in_their_order(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "images.md").read_text()
    commands = re.findall(r"^    bramcast images ([^#\n]*)", page, flags=re.M)
    assert len(commands) == 6
    for command in commands:
        code, _, errors = run(*shlex.split(command))
        assert code == 0, f"{command}: {errors}"
    assert (tmp_path / "w_bank3.mem").exists()


def test_the_page_knows_every_format():
    page = (ROOT / "docs" / "images.md").read_text()
    recipe = (ROOT / "docs" / "recipe.md").read_text()
    for name in NAMES:
        assert f"`{name}`" in page, name
        assert name in SAME or f"`{image_format(name).suffix}`" in page, name
        assert name not in RECIPE_NAMES or f"`{name}`" in recipe, name
    (limits,) = re.findall(r"at most (\d+) MiB, 2\*\*(\d+) words, ([\d,]+) bits a word", page)
    assert (int(limits[0]) << 20, 1 << int(limits[1])) == (MAX_FILE_BYTES, MAX_DEPTH)
    assert int(limits[2].replace(",", "")) == MAX_BITS


def test_the_pages_recipe_is_a_recipe(tmp_path):
    page = (ROOT / "docs" / "images.md").read_text()
    (section,) = re.findall(r"    \[images\]\n(?:    .*\n)+", page)
    path = tmp_path / "r.toml"
    path.write_text(f'[model]\nonnx = "n.onnx"\ninputs = "i.npz"\n{section}')
    images = read_recipe(path).images
    assert (images.bank_bits, images.pad_depth) == (32, "power of two")

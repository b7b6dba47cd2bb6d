# SPDX-License-Identifier: Apache-2.0
"""Image files: what is written, what is refused, and what other tools read in them."""

import re
import shutil
import subprocess

import mif
import numpy as np
import pytest
from memory_words import random_words

from bramcast.pack.bundle.errors import InputError, RecipeError
from bramcast.pack.bundle.formats.binary import bin_bytes, read_bin, sections
from bramcast.pack.bundle.formats.c_header import header_text
from bramcast.pack.bundle.formats.coe import coe_text
from bramcast.pack.bundle.formats.quartus import mif_text
from bramcast.pack.bundle.formats.readmem import mem_text, read_mem
from bramcast.pack.bundle.formats.table import read_written
from bramcast.pack.bundle.images import load_images, write_image_files
from bramcast.pack.bundle.manifest import Core, Format, Frame, LayerInfo, Manifest, NestInfo
from bramcast.pack.bundle.program import NEST_FIELDS
from bramcast.pack.bundle.words import from_uint32, pack_bias, pack_lanes

CORE = Core(16, 1, 8, 8, 2, 64, 40, 8, 256, 64)


def read_coe(path, bits, depth):
    return read_written(path, "coe", bits, depth)


def read_mif(path, bits, depth):
    return read_written(path, "mif", bits, depth)


WIDTHS = [1, 4, 8, 18, 32, 36, 72, 128, 288, 512]


def random_images(core=CORE):
    rng = np.random.default_rng(2)
    return {
        "program": from_uint32(rng.integers(0, 2**32, 64).astype(np.uint32)),
        "weights": pack_lanes(rng.integers(-128, 128, (33, 16)), 8),
        "bias": pack_bias(rng.integers(-999, 999, 16), rng.integers(0, 32, 16), 2),
        "table": pack_lanes(rng.integers(-128, 128, (256, 1)), 8),
    }


def manifest_for(infos, core=CORE):
    frame = Frame([1], [1, 1, 1], [0, 0, 0], Format(8, 4, True))
    layer = LayerInfo("fc", "Linear", [1, 1, 1], Format(8, 4, True), 1, "")
    return Manifest(
        *(1, "net", "0.1.0", core, infos, frame, frame, [layer], [NestInfo(0, [0])], 1, 1, 1)
    )


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize(
    "text, read", [(mem_text, read_mem), (coe_text, read_coe), (mif_text, read_mif)]
)
def test_what_is_written_is_read_back(tmp_path, bits, text, read):
    for depth in (1, 2, 17, 300):
        words = random_words(bits, depth)
        path = tmp_path / "image"
        path.write_bytes(text(words, depth))
        assert read(path, bits, depth) == words
        path.write_bytes(text(words, depth + 5))
        assert read(path, bits, depth + 5) == words.padded(depth + 5)


@pytest.mark.parametrize("bits", WIDTHS)
def test_mem_lines_are_upper_case_hex_of_the_whole_word(bits):
    words = random_words(bits, 20)
    lines = mem_text(words, 22).decode().split("\n")
    digits = -(-bits // 4)
    assert lines[:20] == [f"{words.integer(i):0{digits}X}" for i in range(20)]
    assert lines[20:] == ["0" * digits, "0" * digits, ""]


@pytest.mark.parametrize("bits", [8, 18, 36, 128, 288])
def test_an_independent_parser_reads_the_mif(bits):
    words = random_words(bits, 300)
    text = mif_text(words, 300).decode()
    memory = mif.loads(text)
    assert memory.shape == (300, bits)  # bit 0 first
    for i in range(300):
        assert sum(int(b) << k for k, b in enumerate(memory[i])) == words.integer(i)


def test_the_coe_says_the_same_by_the_rules_of_the_vendor():
    """UG896: keyword = value; the vector is comma separated and ends in a semicolon."""
    words = random_words(36, 50)
    text = coe_text(words, 52).decode()
    pairs = [p.split("=", 1) for p in text.strip().rstrip(";").split(";")]
    values = {key.strip().lower(): value.strip() for key, value in pairs}
    assert values["memory_initialization_radix"] == "16" and list(values)[-1].endswith("vector")
    numbers = [int(v, 16) for v in values["memory_initialization_vector"].split(",")]
    assert numbers == [words.integer(i) for i in range(50)] + [0, 0]


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.parametrize("bits", [8, 32, 72, 128])
def test_icarus_reads_the_mem(tmp_path, bits):
    words = random_words(bits, 30)
    (tmp_path / "w.mem").write_bytes(mem_text(words, 33))
    (tmp_path / "t.v").write_text(
        f"""module t; reg [{bits - 1}:0] m [0:32]; integer i;
        initial begin $readmemh("w.mem", m, 0, 32);
        for (i = 0; i < 33; i = i + 1) $display("%h", m[i]); end endmodule"""
    )
    subprocess.run(["iverilog", "-o", "t.vvp", "t.v"], cwd=tmp_path, check=True)
    run = subprocess.run(["vvp", "t.vvp"], cwd=tmp_path, check=True, capture_output=True, text=True)
    shown = [int(line, 16) for line in run.stdout.split()]
    assert shown == [words.integer(i) for i in range(30)] + [0, 0, 0]


def set_line(data, line, text):
    lines = data.split(b"\n")
    lines[line - 1] = text
    return b"\n".join(lines)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda d: set_line(d, 217, b"0" * 30),
            ":217: expected 32 hex digits (16 lanes of 8 bits), got 30",
        ),
        (
            lambda d: set_line(d, 3, b"0" * 33),
            ":3: expected 32 hex digits (16 lanes of 8 bits), got 33",
        ),
        (lambda d: set_line(d, 9, b"0" * 31 + b"x"), ":9: 'x' in column 32 is not a hex digit"),
        (
            lambda d: set_line(d, 9, b"a" + b"0" * 31),
            ":9: 'a' in column 1 is not a hex digit; digits are upper case",
        ),
        (lambda d: set_line(d, 4, b"// comment"), ":4: expected 32 hex digits"),
        (lambda d: set_line(d, 5, b""), ":5: expected 32 hex digits (16 lanes of 8 bits), got 0"),
        (lambda d: set_line(d, 6, b"\xff" * 32), ":6: "),
        (lambda d: d[: 33 * 299], ": 299 lines, expected 300"),
        (lambda d: d + b"0" * 32 + b"\n", ": 301 lines, expected 300"),
        (lambda d: d + b"0", ": 301 lines, expected 300"),
        (lambda d: d[:-1], ":300: the last line does not end in a line feed"),
        (lambda d: d[: 33 * 200 + 7], ":201: the last line does not end in a line feed"),
        (lambda d: d.replace(b"\n", b"\r\n"), ":1: carriage return"),
        (lambda d: b"", ": 0 lines, expected 300"),
    ],
)
def test_a_malformed_mem_names_the_line(tmp_path, change, message):
    path = tmp_path / "weights.mem"
    path.write_bytes(change(mem_text(random_words(128, 300), 300)))
    with pytest.raises(InputError, match=re.escape(f"{path}{message}")):
        read_mem(path, 128, 300, "16 lanes of 8 bits")


def test_a_word_with_too_many_bits_is_refused(tmp_path):
    path = tmp_path / "x.mem"
    path.write_text("3FFFF\n7FFFF\n")
    with pytest.raises(InputError, match=":2: 7FFFF needs more than 18 bits"):
        read_mem(path, 18, 2)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="gone.mem: No such file"):
        read_mem(tmp_path / "gone.mem", 8, 1)


@pytest.mark.parametrize(
    "write, read, line, text, message",
    [
        (
            coe_text,
            read_coe,
            1,
            b"memory_initialization_radix=10;",
            ":3: 'F' in 'F3C18379' is not a decimal digit",
        ),
        (coe_text, read_coe, 1, b"radix=16;", ":1: unknown keyword 'radix'"),
        (coe_text, read_coe, 5, b"0000000G,", ":5: 'G' in '0000000G' is not a hexadecimal digit"),
        (coe_text, read_coe, 5, b"0000000,", ":5: expected '00000000,', got '0000000,'"),
        (coe_text, read_coe, 5, b"a0000000,", ":5: expected 'A0000000,', got 'a0000000,'"),
        (coe_text, read_coe, 5, b"00000000;", ":6: text behind the vector's semicolon"),
        (coe_text, read_coe, 22, b"00000000,", ":22: expected '00000000;', got '00000000,'"),
        (coe_text, read_coe, 5, b"", ": 19 words, expected 20"),
        (mif_text, read_mif, 1, b"WIDTH=36;", ":1: WIDTH is 36, expected 32"),
        (mif_text, read_mif, 8, b"03 : 00000000;", ":8: expected '02 : 00000000;', got '03 : "),
        (mif_text, read_mif, 8, b"02 : 0000000;", ":8: expected '02 : 00000000;', got '02 : 00"),
        (mif_text, read_mif, 26, b"END", ":26: END without a semicolon"),
    ],
)
def test_a_malformed_coe_or_mif_names_the_line(tmp_path, write, read, line, text, message):
    path = tmp_path / "image"
    path.write_bytes(set_line(write(random_words(32, 20), 20), line, text))
    with pytest.raises(InputError, match=re.escape(f"{path}{message}")):
        read(path, 32, 20)


def test_images_bin_round_trips_and_checks_its_length(tmp_path):
    images, path = random_images(), tmp_path / "images.bin"
    path.write_bytes(bin_bytes(images, CORE))
    got = read_bin(path, CORE)
    assert got == {name: words.padded(CORE.depth(name)) for name, words in images.items()}
    path.write_bytes(bin_bytes(images, CORE)[:-1])
    with pytest.raises(InputError, match=r"images.bin: \d+ bytes, expected \d+"):
        read_bin(path, CORE)
    raw = bytearray(bin_bytes(images, CORE))
    table = sections(CORE)[3]
    raw[table.offset + 4 * 7 + 1] = 1
    path.write_bytes(raw)
    with pytest.raises(InputError, match="table at byte .* word 7 has more than 8 bits"):
        read_bin(path, CORE)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_the_header_compiles_and_holds_images_bin(tmp_path):
    images = random_images()
    (tmp_path / "bramcast_images.h").write_bytes(header_text(images, CORE))
    (tmp_path / "images.bin").write_bytes(bin_bytes(images, CORE))
    dump = "\n".join(
        f'printf("{n} %d %d\\n", BRAMCAST_{n.upper()}_OFFSET, BRAMCAST_{n.upper()}_AXI_WORDS);'
        f"for (i = 0; i < BRAMCAST_{n.upper()}_AXI_WORDS; i++)"
        f' printf("%08X\\n", (unsigned)bramcast_{n}[i]);'
        for n in images
    )
    (tmp_path / "t.c").write_text(
        '#include <stdio.h>\n#include "bramcast_images.h"\n'
        f"int main(void) {{ int i;\n{dump}\n"
        'printf("tail %d %d\\n", BRAMCAST_NEST_TAIL_WORD, BRAMCAST_NEST_TAIL_LSB);\n'
        "return 0; }\n"
    )
    flags = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", "t", "t.c"], cwd=tmp_path, check=True)
    run = subprocess.run(["./t"], cwd=tmp_path, check=True, capture_output=True, text=True)
    lines = run.stdout.splitlines()
    tail = NEST_FIELDS["tail"]
    assert lines.pop() == f"tail {tail.word} {tail.lsb}"
    data = (tmp_path / "images.bin").read_bytes()
    for s in sections(CORE):
        assert lines.pop(0) == f"{s.name} {s.offset} {s.axi_words * s.words}"
        count = s.axi_words * s.words
        shown, lines = lines[:count], lines[count:]
        expected = np.frombuffer(data, "<u4", count, s.offset)
        assert shown == [f"{v:08X}" for v in expected]
    # the header alone, as a project that includes it and uses nothing
    (tmp_path / "u.c").write_text('#include "bramcast_images.h"\nint unused;\n')
    subprocess.run(["gcc", *flags, "-c", "u.c"], cwd=tmp_path, check=True)


def test_all_files_of_a_bundle_are_listed_with_their_sums(tmp_path):
    infos = write_image_files(tmp_path, random_images(), CORE, ["coe", "mif"])
    assert [(i.name, i.words, i.used, i.bits) for i in infos] == [
        ("program", 64, 64, 32),
        ("weights", 40, 33, 128),
        ("bias", 8, 8, 72),
        ("table", 256, 256, 8),
    ]
    listed = {name for i in infos for name in i.files}
    assert listed == {p.name for p in tmp_path.iterdir()}
    assert {"images.bin", "bramcast_images.h", "program.coe"} <= set(infos[0].files)
    assert infos[1].sha256 == infos[1].files["weights.mem"]


def test_a_memory_of_depth_0_has_no_files(tmp_path):
    core = Core(16, 1, 8, 8, 2, 64, 40, 8, 0, 64)
    images = {k: v for k, v in random_images().items() if k != "table"}
    infos = write_image_files(tmp_path, images, core, [])
    assert [i.name for i in infos] == ["program", "weights", "bias"]
    assert not list(tmp_path.glob("table*"))
    assert load_images(tmp_path, manifest_for(infos, core)).keys() == {"program", "weights", "bias"}


def test_an_image_that_does_not_fit_names_the_parameter(tmp_path):
    core = Core(16, 1, 8, 8, 2, 64, 32, 8, 256, 64)
    with pytest.raises(RecipeError, match="33 words of weights don't fit weights_depth = 32"):
        write_image_files(tmp_path, random_images(), core, [])
    with pytest.raises(RecipeError, match="unknown image format 'xls'"):
        write_image_files(tmp_path, random_images(), CORE, ["xls"])


def test_a_changed_weight_is_found_by_its_line(tmp_path):
    infos = write_image_files(tmp_path, random_images(), CORE, [])
    manifest, path = manifest_for(infos), tmp_path / "weights.mem"
    assert load_images(tmp_path, manifest)["weights"] == random_images()["weights"].padded(40)
    path.write_bytes(set_line(path.read_bytes(), 17, b"0" * 32))
    message = f"{path}:17: differs from what was packed (SHA-256 does not match manifest.json)"
    with pytest.raises(InputError, match=re.escape(message)):
        load_images(tmp_path, manifest)
    changed = load_images(tmp_path, manifest, allow_modified=True)
    assert changed["weights"].integer(16) == 0
    (tmp_path / "images.bin").write_bytes(b"")
    with pytest.raises(InputError, match=re.escape(f"{path}: differs from what was packed")):
        load_images(tmp_path, manifest)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="weights.mem: 0 lines, expected 40"):
        load_images(tmp_path, manifest, allow_modified=True)


def test_a_manifest_that_contradicts_its_core_is_refused(tmp_path):
    infos = write_image_files(tmp_path, random_images(), CORE, [])
    with pytest.raises(InputError, match="images: no entry for 'bias'"):
        load_images(tmp_path, manifest_for([i for i in infos if i.name != "bias"]))
    other = Core(16, 1, 8, 8, 2, 64, 41, 8, 256, 64)
    with pytest.raises(InputError, match="image 'weights' has 40 words of 128 bits, its core 41"):
        load_images(tmp_path, manifest_for(infos, other))

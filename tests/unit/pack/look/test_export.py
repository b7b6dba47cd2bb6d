# SPDX-License-Identifier: Apache-2.0
"""bramcast export: read back by numpy, csv, struct and a C compiler."""

import csv
import json
import shutil
import struct
import subprocess

import numpy as np
import pytest
import torch
from support import DIGITS, cli
from torch import nn

from bramcast.pack.bundle.errors import CheckpointError, InputError
from bramcast.pack.look.export import Integers, Style, export, integer_format, parse_slice

# Corners of float32: the least subnormal, the largest, a tenth, one step from 1, a large integer.
HARD = [1e-45, 3.4028235e38, 0.1, 1.0000001, 16777215.0, -0.0, 1e-7, 123456.79]


def save(tmp_path, **tensors):
    torch.save({n.replace("__", "."): t for n, t in tensors.items()}, tmp_path / "w.pth")
    return tmp_path / "w.pth"


def bits(values):
    return np.asarray(values, np.float32).view(np.uint32).tolist()


def numbers(text):
    """The numbers of a text export, without its comments."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [n for line in lines for n in line.replace("|", " ").split()]


# ---------------------------------------------------------------- text


def test_text_reads_back_exactly_and_has_no_exponents(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 1 << 32, 2000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([np.array(HARD, np.float32), noise[np.isfinite(noise)]])
    path = save(tmp_path, w=torch.from_numpy(values))
    export(path, tmp_path / "w.txt")
    found = numbers((tmp_path / "w.txt").read_text())
    assert len(found) == len(values)  # nothing is abbreviated
    assert not set("".join(found)) - set("0123456789.-")
    assert bits([np.float32(n) for n in found]) == bits(values)
    export(path, tmp_path / "s.txt", style=Style(scientific=True))
    found = numbers((tmp_path / "s.txt").read_text())
    assert all("e" in n for n in found) and bits([np.float32(n) for n in found]) == bits(values)


def test_shortest_decimals(tmp_path):
    path = save(tmp_path, w=torch.tensor([0.1, 1e-7, 1.0, 0.30000001192092896]))
    export(path, tmp_path / "w.txt")
    assert numbers((tmp_path / "w.txt").read_text()) == ["0.1", "0.0000001", "1", "0.3"]


def test_precision_columns_and_matrices(tmp_path):
    values = torch.arange(12.0).reshape(2, 3, 2) / 8
    path = save(tmp_path, w=values, n=torch.tensor(7))
    export(path, tmp_path / "w.txt", style=Style(precision=2))
    assert (tmp_path / "w.txt").read_text() == (
        "# w  2x3x2  float32\n"
        "# [0, :, :]\n0.00 0.12\n0.25 0.38\n0.50 0.62\n"  # ties to even, as printf
        "# [1, :, :]\n0.75 0.88\n1.00 1.12\n1.25 1.38\n"
        "\n# n  scalar  int64\n7\n"
    )
    export(path, tmp_path / "w.txt", ["w"], style=Style(precision=1, scientific=True, columns=5))
    lines = (tmp_path / "w.txt").read_text().splitlines()
    assert [len(line.split()) for line in lines[1:]] == [5, 5, 2]
    assert lines[3].split() == ["1.2e+00", "1.4e+00"]
    assert np.loadtxt(lines[:3]).shape == (2, 5)


def gru(tmp_path):
    """A GRU of 2 units and 3 inputs whose values tell their gate: r 0.., z 100.., n 200.."""
    torch.manual_seed(0)
    layer = nn.GRU(3, 2)
    with torch.no_grad():
        for value in layer.parameters():
            each = torch.arange(value[:2].numel()).reshape(value[:2].shape).float()
            value.copy_(torch.cat([each, each + 100, each + 200]))
    torch.save({f"rnn.{n}": v for n, v in layer.state_dict().items()}, tmp_path / "gru.pth")
    return tmp_path / "gru.pth"


def test_gates_of_a_gru(tmp_path):
    path = gru(tmp_path)
    export(path, tmp_path / "g.txt", ["rnn.weight_ih_l0", "rnn.bias_hh_l0"], gates=True)
    assert [" ".join(line.split()) for line in (tmp_path / "g.txt").read_text().splitlines()] == [
        "# rnn.weight_ih_l0 each 2x3 float32",
        "# w_ir | w_iz | w_in",
        "0 1 2 | 100 101 102 | 200 201 202",
        "3 4 5 | 103 104 105 | 203 204 205",
        "",
        "# rnn.bias_hh_l0 each 2 float32",
        "# b_hr | b_hz | b_hn",
        "0 | 100 | 200",
        "1 | 101 | 201",
    ]
    export(path, tmp_path / "g.csv", ["rnn.weight_hh_l0"], gates=True, style=Style(columns=1))
    rows = list(csv.reader((tmp_path / "g.csv").open()))
    assert rows[0] == ["w_hr", "w_hz", "w_hn"] and rows[4] == ["3", "103", "203"]
    export(path, tmp_path / "g.npz", gates=True, cut="0:1")
    arrays = np.load(tmp_path / "g.npz")
    assert arrays["rnn.w_iz_l0"].tolist() == [[100, 101, 102]]  # each gate is cut
    assert len(arrays.files) == 12


def test_gates_compute_what_the_lstm_computes(tmp_path):
    torch.manual_seed(1)
    cell = nn.LSTMCell(3, 2).double()
    torch.save(cell.state_dict(), tmp_path / "w.pth")
    export(tmp_path / "w.pth", tmp_path / "w.npz", gates=True)
    w = np.load(tmp_path / "w.npz")
    x = np.array([0.3, -1.0, 2.0])
    h, c = np.array([0.1, 0.2]), np.array([0.5, -0.5])
    i, f, g, o = (w[f"w_i{k}"] @ x + w[f"b_i{k}"] + w[f"w_h{k}"] @ h + w[f"b_h{k}"] for k in "ifgo")
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    state = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    with torch.no_grad():
        want = cell(*[torch.tensor(v)[None] for v in (x,)], [torch.tensor(v)[None] for v in (h, c)])
    assert np.allclose(want[1][0].numpy(), state, rtol=1e-12, atol=0)
    assert np.allclose(want[0][0].numpy(), sigmoid(o) * np.tanh(state), rtol=1e-12, atol=0)


# ---------------------------------------------------------------- other formats


def test_csv_of_one_and_of_several(tmp_path):
    path = save(tmp_path, a=torch.tensor(HARD).reshape(2, 4), b__x=torch.tensor([1.5]))
    export(path, tmp_path / "a.csv", ["a"])
    rows = list(csv.reader((tmp_path / "a.csv").open()))
    assert [len(r) for r in rows] == [4, 4]
    assert bits([np.float32(v) for row in rows for v in row]) == bits(HARD)
    export(path, tmp_path / "b.csv")
    rows = list(csv.reader((tmp_path / "b.csv").open()))
    assert [r[0] for r in rows] == ["a", "a", "b.x"] and rows[2][1:] == ["1.5"]


def test_npy_npz_and_folders(tmp_path):
    half = torch.tensor([0.5, 65504.0], dtype=torch.bfloat16)
    path = save(tmp_path, a=torch.tensor(HARD), d=torch.tensor([0.1], dtype=torch.float64), h=half)
    export(path, tmp_path / "a.npy", ["a"])
    assert bits(np.load(tmp_path / "a.npy")) == bits(HARD)
    export(path, tmp_path / "all", format="npy")
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == ["a.npy", "d.npy", "h.npy"]
    assert np.load(tmp_path / "all" / "d.npy").tolist() == [0.1]  # float64 stays
    assert np.load(tmp_path / "all" / "h.npy").tolist() == [0.5, 65536.0]  # 8 bits of mantissa
    export(path, tmp_path / "all", ["a", "d"], format="npy")
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == ["a.npy", "d.npy"]
    (tmp_path / "all" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="notes.txt"):
        export(path, tmp_path / "all", ["a", "d"], format="npy")
    with pytest.raises(InputError, match="is a folder"):
        export(path, tmp_path / "all", ["a"], format="npy")


def test_wts_as_tensorrts_samples_read_it(tmp_path):
    path = save(
        tmp_path, fc__weight=torch.tensor([[1.0, -2.5]]), n=torch.tensor(3), z=torch.tensor(HARD)
    )
    export(path, tmp_path / "w.wts")
    lines = (tmp_path / "w.wts").read_text().splitlines()
    assert lines[:3] == ["3", "fc.weight 2 3f800000 c0200000", "n 1 40400000"]
    name, count, *words = lines[3].split()
    assert (name, count) == ("z", "8")
    values = [struct.unpack(">f", bytes.fromhex(word))[0] for word in words]
    assert bits(values) == bits(HARD)
    path = save(tmp_path, w=torch.tensor([1e300], dtype=torch.float64))
    with pytest.raises(CheckpointError, match="beyond float32"):
        export(path, tmp_path / "x.wts")
    assert not (tmp_path / "x.wts").exists()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")
def test_a_c_compiler_reads_the_header(tmp_path):
    path = save(
        tmp_path,
        a__weight=torch.tensor(HARD).reshape(2, 2, 2),
        d=torch.tensor([0.1], dtype=torch.float64),
        odd=torch.tensor([float("nan"), float("inf"), -float("inf")]),
        n=torch.tensor([-(2**63), 2**63 - 1, -5]),
    )
    export(path, tmp_path / "w.h")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "w.h"\n'
        "int main(void) {\n"
        '  for (int i = 0; i < 8; i++) printf("%a\\n", a_weight[i / 4][i / 2 % 2][i % 2]);\n'
        '  printf("%a\\n", d[0]);\n'
        '  for (int i = 0; i < 3; i++) printf("%f\\n", odd[i]);\n'
        '  for (int i = 0; i < 3; i++) printf("%lld\\n", (long long)n[i]);\n  return 0;\n}\n'
    )
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "main.c", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    lines = subprocess.run([tmp_path / "main"], capture_output=True, text=True).stdout.split()
    assert bits([float.fromhex(v) for v in lines[:8]]) == bits(HARD)
    assert float.fromhex(lines[8]) == 0.1
    assert [v.strip("-") for v in lines[9:12]] == ["nan", "inf", "inf"] and lines[11] == "-inf"
    assert lines[12:] == [str(-(2**63)), str(2**63 - 1), "-5"]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")
def test_integers_in_a_c_header(tmp_path):
    path = save(tmp_path, w=torch.tensor([[0.25, -1.0, 3.0], [-3.0, 1 / 128, -1 / 128]]))
    export(path, tmp_path / "w.h", integers=Integers(integer_format("Q1.6")))
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "w.h"\nint main(void) {\n'
        '  printf("%d %d\\n", (int)sizeof w, W_FRAC);\n'
        '  for (int i = 0; i < 6; i++) printf("%d ", w[i / 3][i % 3]);\n  return 0;\n}\n'
    )
    subprocess.run(["gcc", "-Wall", "-Werror", "main.c", "-o", "main"], cwd=tmp_path, check=True)
    out = subprocess.run([tmp_path / "main"], capture_output=True, text=True).stdout
    # Saturated at 127 and -128; the ties 0.5 and -0.5 go up.
    assert out.split() == ["6", "6", "16", "-64", "127", "-128", "1", "0"]


def test_integers_in_other_formats(tmp_path):
    path = save(tmp_path, w=torch.tensor([0.25, -1.0, 3.0]))
    export(path, tmp_path / "w.npy", integers=Integers(integer_format("Q1.6")))
    array = np.load(tmp_path / "w.npy")
    assert (array.dtype, array.tolist()) == (np.int8, [16, -64, 127])
    export(path, tmp_path / "w.npy", integers=Integers(integer_format("UQ4.8")))
    array = np.load(tmp_path / "w.npy")
    assert (array.dtype, array.tolist()) == (np.uint16, [64, 0, 768])
    export(path, tmp_path / "w.txt", integers=Integers(integer_format("Q1.6")))
    assert numbers((tmp_path / "w.txt").read_text()) == ["16", "-64", "127"]


# ---------------------------------------------------------------- choosing, refusing


def test_slices(tmp_path):
    values = torch.arange(24.0).reshape(2, 3, 4)
    path = save(tmp_path, w=values)
    for text, want in (
        ("0:2,:,1", [[1, 5, 9], [13, 17, 21]]),
        ("1", values[1].tolist()),
        ("[-1, 0, ::2]", [12, 14]),
        (":,:1,3", [[3], [15]]),
        ("0,0,3::-1", [3, 2, 1, 0]),
    ):
        export(path, tmp_path / "w.npy", cut=text)
        assert np.load(tmp_path / "w.npy").tolist() == want, text
    with pytest.raises(InputError, match="leaves nothing"):
        export(path, tmp_path / "w.npy", cut="0,0,5:")


@pytest.mark.parametrize("text", ["a", "1:2:0", "", "1:2:3:4", "1.5"])
def test_what_is_no_slice(text):
    with pytest.raises(InputError, match="--slice"):
        parse_slice(text)


@pytest.mark.parametrize("text", ["1.6", "Q1", "Q40.8", "Q0.0", "UQ1.0", "q1.6"])
def test_what_is_no_format(text):
    with pytest.raises(InputError, match="fixed-point"):
        integer_format(text)


@pytest.mark.parametrize(
    "arguments, fragment",
    [
        (["fc"], "no tensor fits 'fc'"),
        (["w", "--slice", "0,0,0"], "does not fit"),
        (["w", "--slice", "5"], "has shape (2, 2)"),
        (["w", "--gates"], "nothing to split"),
        (["nan", "--q", "Q1.6"], "NaN or infinite"),
        (["w", "--format", "xml"], "there are text, csv"),
        (["sparse"], "sparse"),
        (["w", "w_", "--format", "h"], "both w_ in C"),
    ],
)
def test_refusals_leave_the_old_file(tmp_path, capsys, arguments, fragment):
    state = {
        "w": torch.zeros(2, 2), "nan": torch.tensor([float("nan")]),
        "sparse": torch.eye(2).to_sparse(),
    }  # fmt: skip
    if "w_" in arguments:
        state |= {"w.": torch.zeros(1), "w_": torch.zeros(1)}
        arguments = ["w.", *arguments[1:]]
    torch.save(state, tmp_path / "w.pth")
    (tmp_path / "out.txt").write_text("old")
    code, out, err = cli(
        capsys, "export", tmp_path / "w.pth", *arguments, "-o", tmp_path / "out.txt"
    )
    assert (code, out, err.count("\n")) == (2, "", 1) and fragment in err
    assert (tmp_path / "out.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_json(tmp_path, capsys):
    output = tmp_path / "g.csv"
    code, out, _ = cli(capsys, "export", DIGITS / "gru.toml", "gru.bias*", "-o", output, "--json")
    assert code == 0
    assert json.loads(out) == {
        "path": str(output), "format": "csv",
        "tensors": [{"name": f"gru.bias_{k}h_l0", "shape": [96]} for k in "ih"], "notes": [],
    }  # fmt: skip


def test_two_arrays_do_not_share_a_file(tmp_path, capsys):
    torch.save({"a/b": torch.zeros(2), "a_b": torch.ones(2)}, tmp_path / "n.pth")
    code, out, err = cli(
        capsys, "export", tmp_path / "n.pth", "--format", "npy", "-o", tmp_path / "n"
    )
    assert (code, out) == (2, "") and "'a/b' and 'a_b' would both be a_b.npy" in err
    assert not (tmp_path / "n").exists()

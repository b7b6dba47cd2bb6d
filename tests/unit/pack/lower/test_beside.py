# SPDX-License-Identifier: Apache-2.0
"""Pixels of a row that are computed side by side, in the lanes that a layer leaves idle."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from graphs import Made
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import text_recipe, write_recipe

from bramcast.golden.load import load
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.manifest import manifest_json, read_manifest
from bramcast.pack.bundle.program import Nest, unrolled
from bramcast.pack.graph.ops import Dense
from bramcast.pack.graph.tensor import Tensor
from bramcast.pack.graph.window import Window
from bramcast.pack.lower.beside import widened
from bramcast.pack.lower.fastest import _families
from bramcast.pack.lower.nests import dry_nests
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.regress.agree import compare_with_graph


def convolution(weight, stride, dilation, padding, size):
    """A layer [O, I, KY, KX] on a picture of that size, and its graph's tensors."""
    outputs, inputs, *kernel = weight.shape
    frame = Tensor(0, "input", inputs, *size, 0)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    outs = [
        (n + 2 * p - span) // s + 1
        for n, p, span, s in zip(size, padding, spans, stride, strict=True)
    ]
    out = Tensor(1, "conv", outputs, *outs, frame.elements)
    window = Window(tuple(kernel), stride, dilation, (*padding, *padding))
    return Dense(
        name="conv", label="Conv2d", source="model.py", views=(frame.ids,), out=out,
        weight=weight, bias=np.arange(outputs, dtype=np.float64), window=window,
    )  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_wide_pixels_are_those_of_the_layer(data):
    """The wide layer, as torch computes it, has the layer's pixels in its channels."""
    small = st.integers(1, 3)
    kernel, stride, dilation = (
        (data.draw(small), data.draw(st.integers(1, most))) for most in (5, 4, 3)
    )
    padding = data.draw(st.integers(0, 1)), data.draw(st.integers(0, 2))
    count, more = data.draw(st.integers(2, 5)), st.integers(0, 9)
    size = tuple((k - 1) * d + 1 + data.draw(more) for k, d in zip(kernel, dilation, strict=True))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    weight = rng.integers(-9, 9, (2, 3, *kernel)).astype(np.float64)
    op = convolution(weight, stride, dilation, padding, size)
    wide = widened(op, count)
    x = rng.integers(-9, 9, (1, 3, *size)).astype(np.float64)
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1], padding[1] + 99)))

    def run(layer):
        window, bias = layer.window, torch.from_numpy(layer.bias)
        weights = torch.from_numpy(layer.weight)
        made = F.conv2d(torch.from_numpy(padded), weights, bias, window.stride, 0, window.dilation)
        return made[0, :, : layer.out.height, : layer.out.width].numpy()

    whole, parts = run(op), run(wide).reshape(count, 2, wide.out.height, wide.out.width)
    assert wide.out.width == -(-op.out.width // count)
    for pixel in range(count):
        mine = whole[:, :, pixel::count]
        assert np.array_equal(parts[pixel][:, :, : mine.shape[2]], mine)


def packed(folder, name, lanes, taps, extra=""):
    """A network, whose golden equals its graph, and the pixels of each nest that has several."""
    core = f"[core]\nlanes = {lanes}\ntaps = {taps}\n"
    made = pack(read_recipe(write_recipe(folder, name, core + extra, samples=3)), folder / "bundle")
    agreement = compare_with_graph(made, folder / "bundle", lambda *_: None)
    assert agreement.elements and not agreement.mismatches, agreement.text
    return made, [nest.beside for nest in made.program.nests]


@pytest.mark.parametrize(
    "lanes, taps, pixels",
    [
        (16, 1, [4, 4, 4, 2, 2]),  # 4, 4, 4, 5 and 3 channels; three of a last row save too little
        (16, 4, [4, 4, 16, 2, 2]),  # additions have 64 lanes
        (4, 1, [1, 1, 1, 1, 1]),
    ],
)
def test_pixels_fill_the_lanes(lanes, taps, pixels, tmp_path):
    assert packed(tmp_path, "NarrowPictures", lanes, taps)[1] == pixels


@pytest.mark.parametrize(
    "name, lanes, taps, bits",
    [
        ("SignedUnsignedAdd", 64, 1, 16),
        ("UNet", 64, 4, 8),
        ("PreActivation", 32, 8, 8),
        ("TwoHeads", 64, 4, 8),
        ("StridedLast", 64, 1, 16),
        ("Probabilities", 16, 8, 8),
        ("LinearThenConv", 16, 1, 8),
    ],
)
def test_residuals_concats_and_last_layers_equal_the_graph(name, lanes, taps, bits, tmp_path):
    pixels = packed(tmp_path, name, lanes, taps, f"[quantize]\nactivation_bits = {bits}\n")[1]
    assert max(pixels) > 1


@pytest.mark.parametrize(
    "name, lanes, taps, phases",
    [
        # 20, 6 and 2 channels: alone, both of a row, and those of four pixels
        ("Decoder", 16, 4, {1: [(1, 2)] * 12, 2: [(1, 2)] * 2, 8: [(4, 2)] * 2}),
        # 7 channels with a stride of 3: eight pixels of a row begin at three places of their word
        ("DecoderOddSteps", 64, 4, {8: [(4, 2)] * 3 + [(8, 3)] * 9}),
        ("PixelShuffles", 64, 4, {8: [(4, 2)] * 6}),
        ("DecoderOverTime", 16, 1, {2: [(1, 2)]}),  # one row: it needs no others
        ("DecoderOfGroups", 16, 1, {}),
    ],
)
def test_phases_lie_side_by_side(name, lanes, taps, phases, tmp_path):
    """By the pixels of a sub-word: how many of a phase are one for each nest, and its phases."""
    made, _ = packed(tmp_path, name, lanes, taps)
    found: dict[int, list[tuple[int, int]]] = {}
    for nest in made.program.nests:
        index = nest.op.out.index
        across = made.layout.across.get(index, 1)
        if across > 1:
            found.setdefault(made.layout.beside.get(index, 1), []).append((nest.beside, across))
    assert found == phases


TRANSPOSED = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d({up})
        self.last = nn.{last}

    def forward(self, x):
        return self.last(torch.relu(self.up(x)))
"""
READERS = {  # and the shape of their weights with n channels before them
    "Identity()": lambda n: None,  # the stream
    "MaxPool2d(2, ceil_mode=True)": lambda n: None,
    "Conv2d({0}, 3, 3, padding=1)": lambda n: (3, n, 3, 3),
    "Conv2d({0}, 2, (1, 2), (1, 2))": lambda n: (2, n, 1, 2),
    "Conv2d({0}, {0}, 3, 2, 1, groups={0})": lambda n: (n, 1, 3, 3),
    "ConvTranspose2d({0}, {0}, 3, 2, 1)": lambda n: (n, n, 3, 3),
}


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_any_transposed_convolution_equals_the_graph(data):
    few = st.integers(1, 4)
    stride, kernel = (
        (data.draw(few), data.draw(few)),
        (data.draw(few), data.draw(st.integers(1, 5))),
    )
    padding = tuple(data.draw(st.integers(0, (k - 1) // 2)) for k in kernel)
    more = tuple(data.draw(st.integers(0, s - 1)) for s in stride)
    inputs, outputs = data.draw(few), data.draw(st.integers(1, 9))
    size = data.draw(st.integers(2, 4)), data.draw(st.integers(3, 7))
    last = data.draw(st.sampled_from(sorted(READERS)))
    lanes, taps = data.draw(st.sampled_from([(16, 1), (16, 4), (64, 1), (32, 2), (8, 8), (4, 8)]))
    for n, s, k, p, o in zip(size, stride, kernel, padding, more, strict=True):
        made = (n - 1) * s - 2 * p + k + o
        assume(made >= 4 and -(-made // -(-made // s)) == s)  # fewer are no picture of phases
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    up = f"{inputs}, {outputs}, {kernel}, {stride}, {padding}, {more}"
    model = TRANSPOSED.format(up=up, last=last.format(outputs))
    state = {"up.weight": (inputs, outputs, *kernel), "up.bias": (outputs,)}
    if (shape := READERS[last](outputs)) is not None:
        state |= {"last.weight": shape, "last.bias": shape[:1]}
    weights = {key: rng.normal(size=shape) for key, shape in state.items()}
    with tempfile.TemporaryDirectory() as name:
        folder, core = Path(name), f"[core]\nlanes = {lanes}\ntaps = {taps}\n"
        x = rng.normal(size=(2, inputs, *size))
        recipe = text_recipe(folder, model, x, weights, core)
        made = pack(read_recipe(recipe), folder / "bundle")
        agreement = compare_with_graph(made, folder / "bundle", lambda *_: None)
    assert agreement.elements and not agreement.mismatches, agreement.text


MOBILE = """from torch import nn


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU6(),
                         nn.Conv2d(8, {outputs}, 3, {stride}, 1, groups=8), nn.ReLU6(),
                         nn.Conv2d({outputs}, 16, 1))
"""


@pytest.mark.parametrize(
    "outputs, stride, counts",
    [
        (8, 1, (1, 8, 1, 3, 10, 2)),  # ten columns of two blocks for eight pixels, not 8 * 9 taps
        (16, 1, (1, 8, 2, 3, 6, 2)),  # two channels of each: four pixels
        (8, 2, (1, 4, 1, 3, 9, 2)),  # slower than lane by lane: the layer before gains more
    ],
)
def test_a_depthwise_layer_of_few_channels_is_dense(outputs, stride, counts, tmp_path):
    rng = np.random.default_rng(0)
    shapes = {
        "0.weight": (8, 3, 3, 3), "0.bias": (8,), "2.weight": (outputs, 1, 3, 3),
        "2.bias": (outputs,), "4.weight": (16, outputs, 1, 1), "4.bias": (16,),
    }  # fmt: skip
    state = {key: rng.normal(size=shape) for key, shape in shapes.items()}
    model = MOBILE.format(outputs=outputs, stride=stride)
    x, core = rng.normal(size=(3, 3, 16, 16)), "[core]\nlanes = 64\ntaps = 4\n"
    recipe = text_recipe(tmp_path, model, x, state, core)
    made = pack(read_recipe(recipe), tmp_path / "bundle")
    agreement = compare_with_graph(made, tmp_path / "bundle", lambda *_: None)
    assert agreement.elements and not agreement.mismatches, agreement.text
    found = [n.nest for n in made.program.nests if n.op.name == "2" and not n.nest.lanewise]
    assert [nest.counts for nest in found] == [counts]


def test_integers_are_those_of_any_core(tmp_path):
    one, some = (packed(tmp_path / str(n), "NarrowPictures", n, 1)[0] for n in (4, 64))
    assert one.quantized.keys() == some.quantized.keys()
    for name, q in one.quantized.items():
        other = some.quantized[name]
        assert np.array_equal(q.weight, other.weight) and np.array_equal(q.bias, other.bias)
        assert np.array_equal(q.shift, other.shift) and q.out == other.out


def test_three_by_three_takes_six_columns_for_four_pixels(tmp_path):
    """16 channels in 64 lanes: 16 * 3 * 6 taps for four pixels, not 4 * 16 * 3 * 3."""
    model = (
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),\n"
        "                         nn.Conv2d(16, 64, 1))\n"
    )
    rng = np.random.default_rng(0)
    shapes = {"0.weight": (16, 16, 3, 3), "0.bias": (16,), "2.weight": (64, 16, 1, 1)}
    state = {key: rng.normal(size=shape) for key, shape in (shapes | {"2.bias": (64,)}).items()}
    x, core = rng.normal(size=(3, 16, 8, 8)), "[core]\nlanes = 64\n"
    recipe = text_recipe(tmp_path, model, x, state, core)
    made = pack(read_recipe(recipe), tmp_path / "bundle")
    first = made.program.nests[0]
    assert first.beside == 4 and first.nest.counts[1:] == (8, 2, 3, 6, 16)
    machine = load(tmp_path / "bundle")
    assert predict(machine.program, machine.core).nests[0].end == 8 * 2 * 16 * 3 * 6


@pytest.mark.parametrize(
    "name, lanes, taps",
    [("VggCeil", 4, 2), ("NormBehind", 16, 1), ("Grouped", 16, 4), ("NarrowPictures", 64, 4)],
)
def test_dry_nests_are_those_of_the_program(name, lanes, taps, tmp_path):
    """What chooses a layout counts the very loops that the program has."""
    made = packed(tmp_path, name, lanes, taps)[0]
    nests = [d for _, d in unrolled(made.descriptors) if isinstance(d, Nest)]
    dry = dry_nests(made.graph, made.layout)
    for got, wanted in zip(dry, nests, strict=True):
        for field in ("counts", "tail", "lanewise", "stream", "table"):
            assert getattr(got, field) == getattr(wanted, field)


def test_columns_that_do_not_fit_the_layer_are_refused(tmp_path):
    packed(tmp_path, "NarrowPictures", 16, 1)
    path = tmp_path / "bundle" / "manifest.json"
    manifest = read_manifest(path.parent)
    nest = manifest.nests[0]
    assert nest.stride == (1, 4) and nest.columns == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    for columns in (nest.columns[:-1], [0] * 16):
        nests = [replace(nest, columns=columns), *manifest.nests[1:]]
        path.write_text(manifest_json(replace(manifest, nests=nests)))
        with pytest.raises(InputError, match=r"nests"):
            load(tmp_path / "bundle", allow_modified=True)


def test_time_steps_and_additions_are_chosen_together():
    made = Made(2, 4, 8)
    window = {"out": (3, 4, 8), "weight": np.ones((3, 2, 1, 1)), "bias": np.zeros(3)}
    one, two, other = (
        made.add(Dense, name, made.x, twins=twins, **window)
        for name, twins in (("one", ("h",)), ("two", ("h",)), ("other", ()))
    )
    total = made.sum("sum", two, other)
    both = np.concatenate([one, total])
    last = made.dense("last", both, np.ones((9, 6)))
    graph = made.graph(last)
    members = {graph.tensors[i].name for tensors in _families(graph, {}, 16) for i in tensors}
    (family,) = _families(graph, {}, 16)
    assert members == {"one", "two", "other", "sum"} and len(family) == 4
    assert _families(graph, {}, 16)[family] == [2, 4]

# SPDX-License-Identifier: Apache-2.0
"""A layer whose pixels two nests share out, on a core with TAPS = 2: golden, arrays, comparison.

A 1 x 4 picture of one channel; a convolution of kernel 2 to three channels: the neighbours 0 1 and
2 3 are pixels 0 and 2, pixel 1 needs 0 1 2 3 with zeros at its ends; then each channel times a
number, which leaves as a stream in two nests.
"""

from dataclasses import replace

import numpy as np
import pytest

from bramcast.golden.frames import arrays_from_beats
from bramcast.golden.layers import layer_results
from bramcast.golden.load import load
from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.images import write_image_files
from bramcast.pack.bundle.manifest import (
    Core,
    Format,
    Frame,
    LayerInfo,
    Manifest,
    NestInfo,
    manifest_json,
)
from bramcast.pack.bundle.program import Input, Nest, encode_program
from bramcast.pack.bundle.words import from_uint32, pack_bias, pack_lanes
from bramcast.sim.run.compare import compare
from bramcast.sim.run.hdl_log import BEAT, DONE, START, WORD, HdlLog, read_log

KERNEL = np.array([[1, 2], [-3, 4], [5, -6]])  # channel, tap
BIAS = np.array([10, -20, 30])
SCALE = np.array([7, -8, 9])
OFFSET = np.array([1000, 2000, 3000])
ZEROS = (0,) * 6
PLAIN = {"weight_steps": ZEROS, "lo": -128, "hi": 127, "bias_step": 0}

EVEN = Nest(  # pixels 0 and 2: sub-words 2, 3 and 6, 7
    counts=(2, 1, 2, 1, 1, 1),
    act_base=0,
    act_steps=(0, 0, 2, 0, 0, 0),
    weight_base=0,
    result_base=2,
    result_steps=(1, 0, 4),
    bias_base=0,
    tail=1,
    **PLAIN | {"weight_steps": (1, 0, 0, 0, 0, 0), "bias_step": 2},
)
ODD = Nest(  # pixel 1: sub-words 4, 5
    counts=(2, 1, 1, 1, 1, 2),
    act_base=0,
    act_steps=(0, 0, 0, 0, 0, 2),
    weight_base=2,
    result_base=4,
    result_steps=(1, 0, 0),
    bias_base=0,
    tail=1,
    **PLAIN | {"weight_steps": (2, 0, 0, 0, 0, 1), "bias_step": 2},
)
SENT = Nest(  # the outer pixels, lane-wise: words 1 and 3
    counts=(1, 1, 2, 1, 1, 1),
    act_base=4,
    act_steps=(0, 0, 8, 0, 0, 0),
    weight_base=6,
    result_base=0,
    result_steps=(0, 0, 0),
    bias_base=4,
    tail=3,
    lanewise=True,
    stream=True,
    **PLAIN | {"lo": -(2**31), "hi": 2**31 - 1},
)
MIDDLE = replace(SENT, counts=(1,) * 6, act_base=8, act_steps=ZEROS, last=True)
PROGRAM = [Input(4, 1, 0), EVEN, ODD, SENT, MIDDLE]

CORE = Core(2, 2, 8, 8, 1, 160, 7, 8, 0, 4)
Q8, Q32 = Format(8, 2, True), Format(32, 3, True)
NESTS = [
    NestInfo(0, [0, 1, 2, -1], (0, 0), (1, 2)),
    NestInfo(0, [0, 1, 2, -1], (0, 1)),
    NestInfo(1, [0, 1, 2, -1], (0, 0), (1, 2)),
    NestInfo(1, [0, 1, 2, -1], (0, 1), (1, 1)),
]


def images():
    """A weight word is (neighbour 0: lanes 0, 1; neighbour 1: lanes 0, 1)."""
    (a, b), (c, d), (e, f) = KERNEL.tolist()
    weights = [
        *([a, c, b, d], [e, 0, f, 0]),  # even: channels 0 and 1, channel 2
        *([0, 0, a, c], [b, d, 0, 0], [0, 0, e, 0], [f, 0, 0, 0]),  # odd: one step each two inputs
        [*SCALE.tolist(), 99],
    ]
    bias = np.array([*BIAS, 77, *OFFSET, 77])
    return {
        "program": from_uint32(encode_program(PROGRAM)),
        "weights": pack_lanes(np.array(weights), 8),
        "bias": pack_bias(bias, np.zeros(8, np.int64), 1),
    }


def by_hand(x):
    """conv and scale, [samples, pixel, channel]."""
    pairs = np.stack([x[:, 0:2], x[:, 1:3], x[:, 2:4]], axis=1)
    conv = np.clip(pairs @ KERNEL.T + BIAS, -128, 127)
    return conv, conv * SCALE + OFFSET


@pytest.fixture
def bundle(tmp_path):
    def write(**fields):
        infos = write_image_files(tmp_path, images(), CORE, [])
        layers = [
            LayerInfo("conv", "Conv1d", [1, 3, 3], Q8, 1, ""),
            LayerInfo("scale", "Mul", [1, 3, 3], Q32, 1, ""),
        ]
        manifest = Manifest(
            format=1,
            name="shared",
            bramcast="0.1.0",
            core=CORE,
            images=infos,
            input=Frame([4], [1, 4, 1], [4, 1, 1], Q8),
            output=Frame([3, 3], [1, 3, 3], [9, 1, 3], Q32),  # channel, pixel
            layers=layers,
            nests=NESTS,
            parameters=1,
            macs=1,
            scratch_words=4,
        )
        names = Manifest.__dataclass_fields__
        manifest = Manifest(**{n: getattr(manifest, n) for n in names} | fields)
        (tmp_path / "manifest.json").write_text(manifest_json(manifest))
        return tmp_path

    return write


X = np.random.default_rng(3).integers(-10, 11, (20, 4))


def test_the_beats_come_nest_by_nest_and_the_array_in_order(bundle):
    machine = load(bundle())
    beats = machine.run(X).beats
    _, scale = by_hand(X)
    assert np.array_equal(beats, scale[:, [0, 2, 1]].reshape(20, 9))
    integers, real = arrays_from_beats(beats, machine)
    assert np.array_equal(integers, scale.transpose(0, 2, 1))
    assert np.array_equal(real, scale.transpose(0, 2, 1) / 8)


def test_every_sub_word_is_kept_with_its_address(bundle):
    machine = load(bundle())
    even, odd, sent, middle = machine.run(X, keep_layers=True).nests
    conv, scale = by_hand(X)
    bits = conv & 255
    assert even.addresses.tolist() == [2, 6, 3, 7]  # group, pixel
    assert odd.addresses.tolist() == [4, 5]
    assert sent.addresses.tolist() == [-1] * 4 and middle.addresses.tolist() == [-1] * 2
    assert np.array_equal(even.words[:, :2], bits[:, [0, 2], :2])
    assert np.array_equal(even.words[:, 2:, 0], bits[:, [0, 2], 2])
    assert not even.words[:, 2:, 1].any() and not odd.words[:, 1, 1].any()
    assert np.array_equal(odd.words[:, 0], bits[:, 1, :2])
    # lane-wise: pixel by pixel, the two sub-words of the group
    assert np.array_equal(sent.words[:, ::2], scale[:, [0, 2], :2])
    assert np.array_equal(sent.words[:, 1::2, 0], scale[:, [0, 2], 2])
    assert not sent.words[:, 1::2, 1].any() and not middle.words[:, 1, 1].any()


def test_a_layers_array_is_put_together_from_its_nests(bundle):
    machine = load(bundle())
    layers = list(layer_results(machine, machine.run(X, keep_layers=True)))
    assert [layer.layer.name for layer in layers] == ["conv", "scale"]
    for layer, expected in zip(layers, by_hand(X), strict=True):
        assert np.array_equal(layer.values[:, :, 0], expected.transpose(0, 2, 1))


@pytest.mark.parametrize(
    "at, info, text",
    [
        (0, replace(NESTS[0], origin=(0, 1)), "nests.0: does not fit layer 'conv'"),
        (0, replace(NESTS[0], stride=(1, 3)), "nests.0: does not fit layer 'conv'"),
        (1, replace(NESTS[1], origin=(1, 0)), "nests.1: does not fit layer 'conv'"),
        (2, replace(NESTS[2], channels=[0, 1]), "nests.2: does not fit layer 'scale'"),
        (3, replace(NESTS[3], channels=[0, 1, -1, 2]), "nests.3: does not fit layer 'scale'"),
        (0, replace(NESTS[0], stride=(1, 1)), "those of layer 'conv' don't give each"),
        (1, replace(NESTS[1], origin=(0, 2)), "those of layer 'conv' don't give each"),
        (0, replace(NESTS[0], channels=[0, 1, 1, -1]), "those of layer 'conv' don't give each"),
        (0, replace(NESTS[0], channels=[0, 1, -1, -1]), "those of layer 'conv' don't give each"),
        (1, replace(NESTS[1], layer=1), "those of layer 'conv' don't give each"),
        (2, replace(NESTS[2], layer=0), "those of layer 'conv' don't give each"),
        (3, replace(NESTS[3], origin=(0, 0)), "those of layer 'scale' don't give each"),
    ],
)
def test_nests_that_do_not_make_up_their_layer_are_refused(bundle, at, info, text):
    nests = [*NESTS[:at], info, *NESTS[at + 1 :]]
    with pytest.raises(InputError, match=r"manifest.json: nests") as caught:
        load(bundle(nests=nests))
    assert text in str(caught.value)


def log_of(x, change=lambda lines: lines):
    """What a right core logs for each sample, as text, and the log read back."""
    lines = []
    for conv, scale in zip(*by_hand(x), strict=True):
        b = conv & 255
        words = [
            *((1, 2, b[0, :2]), (1, 6, b[2, :2]), (1, 3, [b[0, 2], 0]), (1, 7, [b[2, 2], 0])),
            *((2, 4, b[1, :2]), (2, 5, [b[1, 2], 0])),
        ]
        run = [(START, nest, 0, 10 * nest) for nest in (1, 2, 3, 4)]
        run += [(WORD, nest, at, int(w[1]) << 8 | int(w[0])) for nest, at, w in words]
        order = [(3, v) for v in (*scale[0], *scale[2])] + [(4, v) for v in scale[1]]
        run += [(BEAT, nest, i, int(v) & 0xFFFFFFFF) for i, (nest, v) in enumerate(order)]
        lines += change([*run, (DONE, 4, 0, 60)])
    return "".join(f"{k} {nest:04x} {at:06x} {data:08x}\n" for k, nest, at, data in lines)


def verdict(bundle, tmp_path, change):
    path = tmp_path / "hdl.log"
    path.write_text(log_of(X[:2], change))
    machine = load(bundle())
    log = read_log(path)
    assert isinstance(log, HdlLog)
    return compare(machine, machine.run(X[:2], keep_layers=True), log, None)


def test_a_right_log_is_equal_in_every_element(bundle, tmp_path):
    result = verdict(bundle, tmp_path, lambda lines: lines)
    assert result.first is None and result.mismatches == 0 and result.cycles == 60
    assert [(v.name, v.elements) for v in result.layers] == [("conv", 18), ("scale", 18)]


def edited(index, *, at=None, flip=0):
    def change(lines):
        kind, nest, address, data = lines[index]
        return [
            *lines[:index],
            (kind, nest, address if at is None else at, data ^ flip),
            *lines[index + 1 :],
        ]

    return change


def value(sample, layer, pixel, channel):
    return int(by_hand(X)[layer][sample, pixel, channel])


@pytest.mark.parametrize(
    "index, flip, place, where",
    [
        # lines 0-3 are START; 4.. the sub-words, 10.. the beats
        (4, 1 << 8, (0, 0, 1), "weights in weights.mem:1 lanes 1 3, bias in bias.mem:2 entry 0"),
        (5, 1, (0, 2, 0), "weights in weights.mem:1 lanes 0 2, bias in bias.mem:1 entry 0"),
        (7, 1, (0, 2, 2), "weights in weights.mem:2 lanes 0 2, bias in bias.mem:3 entry 0"),
        (9, 1, (0, 1, 2), "weights in weights.mem:5-6 lanes 0 2, bias in bias.mem:3 entry 0"),
        (11, 1, (1, 0, 1), "weights in weights.mem:7 lane 1, bias in bias.mem:6 entry 0"),
        (15, 1, (1, 2, 2), "weights in weights.mem:7 lane 2, bias in bias.mem:7 entry 0"),
        (16, 1, (1, 1, 0), "weights in weights.mem:7 lane 0, bias in bias.mem:5 entry 0"),
    ],
)
def test_a_wrong_element_is_named_with_its_image_lines(bundle, tmp_path, index, flip, place, where):
    result = verdict(bundle, tmp_path, edited(index, flip=flip))
    layer, pixel, channel = place
    mask, digits = (0xFF, 2) if layer == 0 else (0xFFFFFFFF, 8)
    right = value(0, layer, pixel, channel) & mask
    wrong = right ^ 1
    assert result.mismatches == 2  # one in each sample
    text = str(result.first)
    name = ("conv", "scale")[layer]
    assert text.startswith(f"{name}[channel {channel}, y 0, x {pixel}] of sample 0: hdl 0x")
    assert f"hdl 0x{wrong:0{digits}x} (" in text and f"golden 0x{right:0{digits}x} (" in text
    assert f", {where}, descriptor in program.mem:" in text


def test_a_sub_word_in_the_wrong_place_or_missing_is_named(bundle, tmp_path):
    result = verdict(bundle, tmp_path, edited(7, at=6))
    assert result.mismatches == 4
    assert (
        "conv[channel 2, y 0, x 2] of sample 0: hdl written to sub-word 6, golden sub-word 7"
        in (str(result.first))
    )
    result = verdict(bundle, tmp_path, lambda lines: [*lines[:9], *lines[10:]])
    assert "conv[channel 2, y 0, x 1] of sample 0: hdl no result" in str(result.first)
    result = verdict(bundle, tmp_path, lambda lines: [*lines[:9], lines[9], *lines[9:]])
    assert "conv[channel 2, y 0, x 1] of sample 0: hdl one sub-word too many" in str(result.first)

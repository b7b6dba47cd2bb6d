# SPDX-License-Identifier: Apache-2.0
"""A bundle on disk, executed: loading, streams, frames, and a network computed by hand."""

from dataclasses import replace

import numpy as np
import pytest

from bramcast.golden.frames import arrays_from_beats, output_order
from bramcast.golden.load import load
from bramcast.golden.machine import Machine
from bramcast.pack.bundle.errors import InputError, ProgramError
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

LANES, RQ = 4, 2
Q8 = Format(8, 4, True)


def nest(counts, act=(0,) * 6, weight=(0,) * 6, result=(0, 0, 0), **fields):
    defaults = dict(
        act_base=0, weight_base=0, result_base=0, lo=-128, hi=127, bias_base=0, bias_step=0, tail=4
    )
    return Nest(
        counts=counts,
        act_steps=act,
        weight_steps=weight,
        result_steps=result,
        **(defaults | fields),
    )


def images_of(program, weights, bias, shift):
    return {
        "program": from_uint32(encode_program(program)),
        "weights": pack_lanes(np.array(weights), 8),
        "bias": pack_bias(np.array(bias), np.array(shift), RQ),
    }


def core_of(images, scratch=8):
    depths = (len(images[i]) for i in ("program", "weights", "bias"))
    return Core(LANES, 1, 8, 8, RQ, *depths, 0, scratch)


WIDE = {"lo": -(2**31), "hi": 2**31 - 1, "stream": True, "last": True}
# 3 inputs -> 5 outputs with ReLU and a shift of 1 -> 2 wide outputs
W1 = np.array([[1, 2, 3], [-1, -2, -3], [127, 0, 0], [0, 0, 1], [5, -5, 5]])
B1 = np.array([0, 1, 100, -9, 2])
W2 = np.array([[1, -1, 2, -2, 3], [100, 100, 100, 100, 100]])


def two_layers():
    program = [
        Input(3, 1, 0),
        nest(
            (2, 1, 1, 1, 1, 3),
            (0, 0, 0, 0, 0, 1),
            (3, 0, 0, 0, 0, 1),
            (1, 0, 0),
            lo=0,
            result_base=1,
            bias_step=2,
            tail=1,
        ),
        nest(
            (1, 1, 1, 1, 1, 5),
            (0, 0, 0, 0, 0, 1),
            (0, 0, 0, 0, 0, 1),
            act_base=4,
            weight_base=6,
            bias_base=4,
            tail=2,
            **WIDE,
        ),
    ]
    weights = np.zeros((11, 4), np.int64)
    weights[:3], weights[3:6, 0] = W1[:4].T, W1[4]
    weights[6:, :2] = W2.T
    bias = np.zeros(12, np.int64)
    bias[:5], bias[8:10] = B1, [7, -7]
    shift = np.array([1] * 8 + [0] * 4)
    return images_of(program, weights, bias, shift)


def by_hand(x):
    hidden = np.clip((x @ W1.T + B1 + 1) >> 1, 0, 127)
    return hidden @ W2.T + [7, -7]


def manifest_of(core, infos):
    return Manifest(
        format=1,
        name="two",
        bramcast="0.1.0",
        core=core,
        images=infos,
        input=Frame([3], [1, 1, 3], [3, 3, 1], Q8),
        output=Frame([2], [1, 1, 2], [2, 2, 1], Format(32, 8, True)),
        layers=[LayerInfo(n, "Linear", [1, 1, c], Q8, 1, "") for n, c in (("fc1", 5), ("fc2", 2))],
        nests=[NestInfo(0, [0, 1, 2, 3, 4, -1, -1, -1]), NestInfo(1, [0, 1, -1, -1])],
        parameters=32,
        macs=25,
        scratch_words=3,
    )


@pytest.fixture
def bundle(tmp_path):
    images = two_layers()
    core = core_of(images)
    infos = write_image_files(tmp_path, images, core, [])
    (tmp_path / "manifest.json").write_text(manifest_json(manifest_of(core, infos)))
    return tmp_path


def test_two_layers_give_what_a_hand_computes(bundle):
    machine = load(bundle)
    x = np.random.default_rng(1).integers(-128, 128, (50, 3))
    results = machine.run(x, keep_layers=True)
    assert (machine.beats_in, machine.beats_out) == (3, 2)
    assert np.array_equal(results.beats, by_hand(x))
    first, second = results.nests
    assert first.addresses.tolist() == [1, 2] and second.addresses.tolist() == [-1]
    hidden = np.clip((x @ W1.T + B1 + 1) >> 1, 0, 127)
    assert np.array_equal(first.words.reshape(50, 8)[:, :5], hidden)
    assert not first.words.reshape(50, 8)[:, 5:].any()
    assert np.array_equal(second.words[:, 0, :2], results.beats)


def test_input_elements_wrap_as_in_hardware(bundle):
    machine = load(bundle)
    x = np.array([[1, -2, 3]])
    for dtype in (np.int8, np.int16, np.int64):
        assert np.array_equal(machine.run(x.astype(dtype)).beats, by_hand(x))
    assert np.array_equal(machine.run(x + 256).beats, by_hand(x))


def test_progress_counts_every_sample(bundle):
    seen = []
    machine = load(bundle)
    machine.run(np.zeros((1200, 3), np.int64), progress=seen.append)
    assert seen[-1] == 1200 and seen == sorted(seen) and len(seen) > 1
    assert machine.run(np.zeros((0, 3), np.int64)).beats.shape == (0, 2)


def test_a_frame_of_the_wrong_length_is_refused(bundle):
    with pytest.raises(
        InputError, match=r"a frame has 3 elements .* got an array of shape \(2, 4\)"
    ):
        load(bundle).run(np.zeros((2, 4), np.int64))


def test_an_illegal_program_names_file_and_line(bundle):
    path = bundle / "program.mem"
    lines = path.read_text().splitlines()
    lines[32 + 29] = "00001000"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"program.mem:62: differs from what was packed"):
        load(bundle)
    with pytest.raises(ProgramError, match=r"program.mem: program line 61, nest 1, bias_base"):
        load(bundle, allow_modified=True)


def test_a_changed_weight_changes_the_result(bundle):
    path = bundle / "weights.mem"
    lines = path.read_text().splitlines()
    lines[6] = "00006402"  # fc2: tap 0 of output 0 is 2 instead of 1
    path.write_text("\n".join(lines) + "\n")
    x = np.array([[10, 20, 30]])
    hidden = np.clip((x @ W1.T + B1 + 1) >> 1, 0, 127)
    expected = by_hand(x) + [[int(hidden[0, 0]), 0]]
    assert np.array_equal(load(bundle, allow_modified=True).run(x).beats, expected)


def test_beats_become_arrays_in_the_networks_shape(bundle):
    machine = load(bundle)
    integers, real = arrays_from_beats(np.array([[512, -256]]), machine)
    assert integers.tolist() == [[512, -256]] and real.tolist() == [[2.0, -1.0]]


def test_each_beat_goes_to_the_place_of_its_channel(bundle):
    machine = load(bundle)
    fields = {f: getattr(machine.manifest, f) for f in Manifest.__dataclass_fields__}
    frame = Frame([3], [1, 1, 3], [3, 3, 1], Q8)
    nests = [NestInfo(0, [0, 1, 2, 3]), NestInfo(1, [2, 0, 1, -1])]
    machine.manifest = Manifest(**fields | {"output": frame, "nests": nests})
    machine.program[-1] = nest((1, 1, 1, 1, 1, 1), **(WIDE | {"tail": 3}))
    integers, _ = arrays_from_beats(np.array([[30, 10, 20], [3, 1, 2]]), machine)
    assert integers.tolist() == [[10, 20, 30], [1, 2, 3]]


def one_nest(core_taps, core_bits, n_taps, weight, bias, shift, **fields):
    """A stream nest that multiplies the only input ``n_taps`` times with ``weight``."""
    program = [Input(1, 1, 0), nest((1, 1, 1, 1, 1, n_taps), tail=1, **(WIDE | fields))]
    weights = [[weight] * 4 * core_taps]
    images = images_of(program, weights, [bias, 0, 0, 0], [shift, 0, 0, 0])
    return Machine(images, Core(LANES, core_taps, core_bits, 8, RQ, 64, 1, 2, 0, 1))


@pytest.mark.parametrize("core_taps", [1, 4])
@pytest.mark.parametrize("lane_wise", [False, True])
@pytest.mark.parametrize("taps", [500, 520, 1100, 5000])
def test_an_accumulator_wraps_at_32_bits_and_the_sum_behind_it_does_not(taps, lane_wise, core_taps):
    x = np.array([[-(2**15)], [2**15 - 1], [12345]])
    for weight, bias, shift in ((-128, 2**30 - 1, 0), (127, -(2**30), 0), (-128, 2**30 - 1, 31)):
        machine = one_nest(core_taps, 16, taps, weight, bias, shift, lanewise=lane_wise)
        for value, got in zip(x[:, 0].tolist(), machine.run(x).beats[:, 0].tolist(), strict=True):
            acc = (value * weight * taps + 2**31) % 2**32 - 2**31
            expected = (acc + bias + ((1 << shift) >> 1)) >> shift
            assert got == min(max(expected, -(2**31)), 2**31 - 1)


@pytest.mark.parametrize("taps, bias, shift", [(66000, -(2**30), 30), (66300, 2**30 - 1, 30)])
def test_the_guard_bit_counts_in_8_bit_sums_too(taps, bias, shift):
    """127 * 255 * 66300 is just below 2**31: no wrap, but acc + bias needs the 33rd bit."""
    assert taps > 65536  # more than one loop can count, so ky = 2
    weight = 127 if bias > 0 else -127
    program = [
        Input(1, 1, 0),
        nest((1, 1, 1, 2, 1, taps // 2), tail=1, **(WIDE | {"x_unsigned": True})),
    ]
    images = images_of(program, [[weight] * 4], [bias, 0, 0, 0], [shift, 0, 0, 0])
    machine = Machine(images, Core(LANES, 1, 8, 8, RQ, 64, 1, 2, 0, 1))
    acc = 255 * weight * taps
    assert abs(acc) < 2**31 < abs(acc + bias)
    assert machine.run(np.array([[255]])).beats.tolist() == [[(acc + bias + 2**29) >> 30]]


@pytest.mark.parametrize("bits, taps", [(8, 1031), (8, 1032), (16, 4), (16, 5), (16, 500)])
@pytest.mark.parametrize("shift, room", [(0, -1), (0, 0), (0, 1), (0, 3), (1, 1), (9, 0)])
def test_sums_that_end_where_floats_lose_a_bit(bits, taps, shift, room):
    """127 * 128 * 1032 is just below 2**24; the bias carries the sum to it and beyond."""
    largest = 127 * taps << (bits - 1)
    for sign in (1, -1):
        bias = sign * (2**24 - largest + room) if largest < 2**24 else sign * 3
        machine = one_nest(1, bits, taps, -127 * sign, bias, shift)
        x = np.array([[-(1 << (bits - 1))], [-(1 << (bits - 1)) + 1], [-1], [5]])
        expected = [
            (-127 * sign * value * taps + bias + ((1 << shift) >> 1)) >> shift
            for value in x[:, 0].tolist()
        ]
        assert machine.run(x).beats[:, 0].tolist() == expected


@pytest.mark.parametrize("lo, hi", [
    (2**24 + 1, 2**31 - 1), (-(2**31), -(2**24) - 1), (2**30 + 1, 2**30 + 3),
    (2**24 - 1, 2**24 + 1), (-(2**24) - 1, -(2**24) + 1), (-(2**24) - 1, 2**24 + 1), (3, 4),
])  # fmt: skip
def test_clamps_beyond_what_floats_hold(lo, hi):
    machine = one_nest(1, 8, 2, 3, 1, 0, lo=lo, hi=hi)
    expected = [min(max(6 * x + 1, lo), hi) for x in (-128, 0, 127)]
    assert machine.run(np.array([[-128], [0], [127]])).beats[:, 0].tolist() == expected


def test_results_of_one_run_leave_nothing_for_the_next(bundle):
    machine = load(bundle)
    rng = np.random.default_rng(4)
    given = []
    for i, samples in enumerate((3, 3, 700, 700, 3, 5, 2, 3, 700, 3)):
        x = rng.integers(-128, 128, (samples, 3))
        keep = i % 2 == 1
        results = machine.run(x, keep_layers=keep)
        assert np.array_equal(results.beats, by_hand(x))
        hidden = np.clip((x @ W1.T + B1 + 1) >> 1, 0, 127)
        if keep:
            given.append((results.nests[0].words, hidden))
        given.append((results.beats, by_hand(x)))
    for got, expected in given:  # what was returned stays, too
        assert np.array_equal(got.reshape(len(got), -1)[:, : expected.shape[1]], expected)


@pytest.mark.parametrize("lanes, taps", [(4, 2), (2, 4), (1, 8)])
def test_a_core_with_taps_multiplies_neighbours(lanes, taps):
    """5 inputs in steps of TAPS, zeros behind them; 3 outputs in groups of LANES."""
    weights = np.random.default_rng(2).integers(-128, 128, (3, 5))
    groups, steps = -(-3 // lanes), -(-5 // taps)
    words = []
    for g in range(groups):
        for step in range(steps):
            word = []
            for t in range(taps):
                for lane in range(lanes):
                    output, x = g * lanes + lane, step * taps + t
                    # what multiplies the zeros behind the input may be anything
                    word.append(99 if x > 4 or output > 2 else int(weights[output, x]))
            words.append(word)
    stream = nest(
        (groups, 1, 1, 1, 1, steps),
        (0, 0, 0, 0, 0, taps if steps > 1 else 0),
        (steps if groups > 1 else 0, 0, 0, 0, 0, 1 if steps > 1 else 0),
        bias_step=lanes if groups > 1 else 0,
        tail=3 - (groups - 1) * lanes,
        **WIDE,
    )
    images = images_of([Input(5, 1, 1), replace(stream, act_base=8)], words, [0] * 4, [0] * 4)
    images["bias"] = pack_bias(np.array([5, 6, 7, 8]), np.zeros(4, np.int64), 1)
    core = Core(lanes, taps, 8, 8, 1, 64, len(words), 4, 0, 2)
    x = np.random.default_rng(3).integers(-128, 128, (9, 5))
    assert np.array_equal(Machine(images, core).run(x).beats, x @ weights.T + [5, 6, 7])


def test_taps_that_read_the_same_word_add_up():
    program = [
        Input(4, 1, 0),
        nest((1, 1, 1, 1, 3, 2), weight=(0, 0, 0, 0, 2, 1), lanewise=True, **WIDE),
    ]
    weights = np.arange(24).reshape(6, 4) - 9
    images = images_of(program, weights, [0] * 4, [0] * 4)
    x = np.array([[1, -2, 3, 100]])
    got = Machine(images, core_of(images)).run(x).beats
    assert np.array_equal(got, x * weights.sum(axis=0))


def test_a_picture_output_is_put_in_channel_order():
    program = [
        Input(8, 1, 0),
        nest((2, 1, 1, 1, 1, 1), tail=1, **WIDE),
        nest((1, 1, 2, 1, 1, 1), tail=2, **WIDE),
    ]
    machine = Machine.__new__(Machine)
    machine.core = Core(4, 1, 8, 8, 2, 96, 1, 8, 0, 8)
    machine.program = program
    manifest = manifest_of(machine.core, [])
    # channels first, 1 x 1 x 5 from the first nest: reversed channels
    frame = Frame([5, 1, 1], [1, 1, 5], [1, 1, 1], Q8)
    machine.program = program[:2]
    machine.manifest = Manifest(
        **{f: getattr(manifest, f) for f in manifest.__dataclass_fields__}
        | {"output": frame, "nests": [NestInfo(0, [4, 3, 2, 1, 0, -1, -1, -1])]}
    )
    assert output_order(machine).tolist() == [4, 3, 2, 1, 0]
    machine.program = [program[0], program[2]]
    frame = Frame([2, 1, 2], [1, 2, 2], [2, 1, 2], Q8)  # [c, y, x]
    machine.manifest = Manifest(
        **{f: getattr(manifest, f) for f in manifest.__dataclass_fields__}
        | {"output": frame, "nests": [NestInfo(0, [0, 1, -1, -1])]}
    )
    assert output_order(machine).tolist() == [0, 2, 1, 3]
    # LANES = 2, TAPS = 2: two lane-wise groups of 4 and 1
    machine.core = Core(2, 2, 8, 8, 2, 96, 1, 8, 0, 8)
    machine.program = [program[0], replace(program[1], lanewise=True)]
    frame = Frame([5, 1, 1], [1, 1, 5], [1, 1, 1], Q8)
    machine.manifest = Manifest(
        **{f: getattr(manifest, f) for f in manifest.__dataclass_fields__}
        | {"output": frame, "nests": [NestInfo(0, [4, 3, 2, 1, 0, -1, -1, -1])]}
    )
    assert output_order(machine).tolist() == [4, 3, 2, 1, 0]
    machine.core = Core(4, 1, 8, 8, 2, 96, 1, 8, 0, 8)
    machine.program = program[:2]
    frame = Frame([2, 1, 2], [1, 2, 2], [2, 1, 2], Q8)
    machine.manifest = replace(machine.manifest, output=frame)
    with pytest.raises(InputError, match="do not fill an array of shape"):
        output_order(machine)


def test_more_samples_than_a_chunk_give_what_each_gives(bundle):
    machine = load(bundle)
    frames = np.random.default_rng(3).integers(-128, 128, (50_000, 3))
    beats = machine.run(frames).beats
    for number in (0, 1, 4095, 4096, 31_337, 49_999):
        np.testing.assert_array_equal(
            machine.run(frames[number : number + 1]).beats[0], beats[number]
        )

# SPDX-License-Identifier: Apache-2.0
"""Equalization leaves the real network alone; refinement leaves less error at the output."""

from pathlib import Path

import networks
import numpy as np
import pytest
import torch
from torch import nn

from bramcast.pack.capture.capture import capture
from bramcast.pack.lower.layout import make_layout
from bramcast.pack.passes.equalize import can_absorb, equalize
from bramcast.pack.passes.fold import fold
from bramcast.pack.quantize.cache import IntegerCache
from bramcast.pack.quantize.formats import choose_formats
from bramcast.pack.quantize.integers import quantize
from bramcast.pack.run import execute
from bramcast.pack.run.calibrate import (
    calibrate,
    channel_maxima,
    frame_values,
    integer_results,
    real_results,
)
from bramcast.pack.run.refine import refine
from bramcast.pack.run.score import Scorer
from bramcast.pack.samples.inputs import Inputs


def silent(what: str, done: int, of: int) -> None:
    pass


def choose(graph, statistics):
    return choose_formats(graph, statistics.tensors, 8, reads=statistics.reads)


def formats_of(graph, inputs):
    return choose(graph, calibrate(graph, inputs, None, silent))


def graph_of(module, shape):
    return fold(capture(module, shape, "net", "model.py"))


def inputs_of(shape, samples=96, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, *shape)).astype(np.float32)
    return Inputs(Path("inputs.npz"), x, None, x)


def output(graph, samples):
    with torch.no_grad():
        frame = frame_values(graph, samples, None)
        *_, last = execute.run(graph, frame, execute.real_compute)
    return last.result.numpy()


class Uneven(nn.Module):
    """Depthwise layers whose channels differ by factors up to 64, made up for behind."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 3, padding=1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.pointwise = nn.Conv2d(12, 8, 1)
        self.fc = nn.Linear(8 * 9, 5)
        factor = 2.0 ** (torch.arange(12) % 7).float()
        with torch.no_grad():
            self.stem.weight *= factor[:, None, None, None]
            self.stem.bias *= factor
            self.depthwise.weight /= factor.flip(0)[:, None, None, None]
            self.depthwise.bias /= factor.flip(0)
            self.pointwise.weight *= (factor.flip(0) / factor)[None, :, None, None]

    def forward(self, x):
        x = self.depthwise(self.stem(x).relu()).relu()
        return self.fc(nn.functional.max_pool2d(self.pointwise(x).relu(), 2).flatten(1))


class Stream(nn.Module):
    """A residual stream, and a leaky ReLU behind it, whose channels differ by up to 2**26."""

    def __init__(self):
        super().__init__()
        self.stem, self.up, self.down = nn.Linear(16, 12), nn.Linear(12, 20), nn.Linear(20, 12)
        self.mix, self.fc = nn.Linear(12, 12), nn.Linear(12, 5)
        factor = 2.0 ** (torch.arange(12) % 14 * 2 + 1).float()
        with torch.no_grad():
            for layer, by in ((self.stem, factor), (self.down, factor), (self.mix, factor.flip(0))):
                layer.weight *= by[:, None]
                layer.bias *= by
            self.up.weight /= factor
            self.mix.weight /= factor
            self.fc.weight /= factor.flip(0)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.down(self.up(x).relu())
        return self.fc(nn.functional.leaky_relu(self.mix(x), 0.25))


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("name", networks.SHAPES)
def test_equalization_keeps_the_real_results(name, power):
    shape = networks.SHAPES[name]
    graph = graph_of(networks.build(name), shape)
    x = inputs_of(shape, 5).x
    maxima = channel_maxima(graph, x, None)
    before, after = output(graph, x), output(equalize(graph, maxima, power), x)
    assert np.abs(after - before).max() <= 1e-9 * max(1.0, np.abs(before).max())


def test_every_channel_reaches_the_top_of_the_grid():
    torch.manual_seed(1)
    graph, x = graph_of(Uneven(), (1, 6, 6)), inputs_of((1, 6, 6)).x
    maxima = channel_maxima(graph, x, None)
    same = channel_maxima(equalize(graph, maxima, 1.0), x, None)
    for op in graph.ops[:3]:
        old, new = maxima[op.out.index], same[op.out.index]
        expected = np.minimum(old * 16, 2.0 ** np.ceil(np.log2(old.max())) * 255 / 256)
        assert np.allclose(new, np.maximum(expected, old), rtol=1e-9), op.name
    last = graph.last.out.index
    assert np.allclose(same[last], maxima[last], rtol=1e-9)


def test_uneven_channels_are_won_back():
    torch.manual_seed(1)
    graph = graph_of(Uneven(), (1, 6, 6))
    graph = make_layout(graph, 16).graph
    inputs = inputs_of((1, 6, 6))
    refined = refine(graph, inputs, None, {}, choose, silent)
    assert refined.after_db > refined.before_db + 6
    held_out = inputs_of((1, 6, 6), 20, seed=7).x
    assert np.allclose(output(refined.graph, held_out), output(graph, held_out), atol=0.05)


def test_gains_along_a_residual_stream_are_won_back():
    torch.manual_seed(1)
    graph = graph_of(Stream(), (16,))
    graph = make_layout(graph, 16).graph
    refined = refine(graph, inputs_of((16,), 40), None, {}, choose, silent)
    assert refined.before_db < 10 and refined.after_db > 30
    held_out = inputs_of((16,), 20, seed=7).x
    assert np.allclose(output(refined.graph, held_out), output(graph, held_out), atol=0.05)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.fc = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(x + self.two(self.one(x)))


def test_what_is_added_to_the_input_is_not_scaled():
    graph, x = graph_of(Residual(), (6,)), inputs_of((6,)).x
    assert not can_absorb(graph, graph.input)
    scaled = equalize(graph, channel_maxima(graph, x, None), 1.0)
    changed = [a.name for a, b in zip(graph.ops, scaled.ops, strict=True) if a is not b]
    assert changed == ["one", "two"]  # "two" reads what "one" writes; its results stay
    two = [op for op in scaled.ops if op.name == "two"]
    assert np.array_equal(two[0].bias, graph.ops[1].bias)


@pytest.mark.parametrize("name", ["VggCeil", "SignedUnsignedAdd", "Averages", "UnalignedConcat"])
def test_refinement_is_never_worse(name):
    shape = networks.SHAPES[name]
    graph = graph_of(networks.build(name), shape)
    graph = make_layout(graph, 8).graph
    refined = refine(graph, inputs_of(shape, 24), None, {}, choose, silent, True)
    assert refined.after_db >= refined.before_db
    assert [op.name for op in refined.graph.ops] == [op.name for op in graph.ops]


def same_integers(a, b):
    assert a.keys() == b.keys()
    for name, q in a.items():
        other = b[name]
        assert np.array_equal(q.weight, other.weight), name
        assert np.array_equal(q.bias, other.bias) and np.array_equal(q.shift, other.shift), name
        assert (q.lo, q.hi, q.out, q.bound) == (other.lo, other.hi, other.out, other.bound), name
        assert (q.table is None) == (other.table is None)
        assert q.table is None or np.array_equal(q.table, other.table), name


@pytest.mark.parametrize("name", ["GruNet", "HandGru", "SignedUnsignedAdd", "Averages"])
def test_remembered_integers_are_those_that_quantize_finds_anew(name):
    shape = networks.SHAPES[name]
    graph = graph_of(networks.build(name), shape)
    graph = make_layout(graph, 8).graph
    formats, known = formats_of(graph, inputs_of(shape, 20)), IntegerCache()
    rng = np.random.default_rng(3)
    roots = sorted(formats.frac)
    for _ in range(6):
        trial = formats.copy()
        for root in rng.choice(roots, min(3, len(roots)), replace=False):
            trial.frac[root] += int(rng.integers(-2, 2))
        again = trial.copy()
        remembered = quantize(graph, trial, {}, known)
        same_integers(remembered, quantize(graph, again, {}))


def nearness(graph, formats, samples):
    """Signal to noise of the quantized graph at the output, from one run of everything."""
    settled = formats.copy()
    ops = quantize(graph, settled, {})
    last = graph.last.name
    integers = integer_results(graph, ops, settled.of(graph.input), None, samples)[last]
    exact = real_results(graph, samples, None)[last]
    noise = ((integers * ops[last].out.lsb - exact) ** 2).sum() / (exact**2).sum()
    return -10 * np.log10(noise)


@pytest.mark.parametrize("name", ["VggCeil", "UnalignedConcat", "HandGru"])
def test_candidates_are_judged_as_if_everything_ran_again(name):
    shape = networks.SHAPES[name]
    graph = graph_of(networks.build(name), shape)
    graph = make_layout(graph, 8).graph
    inputs = inputs_of(shape, 24)
    formats = formats_of(graph, inputs)
    judge = Scorer(graph, inputs.x, None, {})
    assert judge.accept(graph, formats) == pytest.approx(nearness(graph, formats, inputs.x))
    seen = 0
    for root in list(formats.frac):
        for step in (1, -1):
            trial = formats.copy()
            trial.frac[root] += step
            got = judge.of(graph, trial)
            if got > float("-inf"):
                assert got == pytest.approx(nearness(graph, trial, inputs.x))
                seen += 1
                if seen % 3 == 0:
                    formats = trial
                    assert judge.accept(graph, trial) == pytest.approx(got)
    assert seen > 1


class Bent(nn.Module):
    """A layer with a table, a layer behind it."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(12, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(torch.sigmoid(self.first(x)))


def test_a_bias_is_corrected_by_the_error_before_the_table():
    torch.manual_seed(2)
    graph = graph_of(Bent(), (12,))
    graph = make_layout(graph, 4).graph
    rng = np.random.default_rng(5)
    x = rng.normal(1.0, 0.5, size=(64, 12)).astype(np.float32)
    inputs = Inputs(Path("inputs.npz"), x, None, x)
    formats = formats_of(graph, inputs)
    bits = {"first": 2}  # crude weights: large errors
    judge = Scorer(graph, x, None, bits)
    judge.accept(graph, formats)
    corrected = judge.corrected(graph, formats)
    first = graph.ops[0]
    q = quantize(graph, formats.copy(), bits)[first.name]
    fmt = formats.of(graph.input)
    weight = q.weight[:, :, 0, 0] * (2.0**-q.shift * formats.clamped(first).lsb)[:, None]
    bias = q.bias * 2.0**-q.shift * formats.clamped(first).lsb
    got = fmt.quantize(x.astype(np.float64)) @ weight.T + bias
    exact = x.astype(np.float64) @ first.weight[:, :, 0, 0].T + first.bias
    error = (exact - got).mean(axis=0)
    assert np.abs(error).max() > 0.05
    assert np.allclose(corrected.ops[0].bias - first.bias, error, rtol=1e-6, atol=1e-9)


def test_given_formats_and_their_channels_stay():
    torch.manual_seed(1)
    graph = graph_of(Uneven(), (1, 6, 6))
    graph = make_layout(graph, 16).graph
    inputs = inputs_of((1, 6, 6))
    stem = graph.ops[0].out.index

    def given(graph, statistics):
        formats = choose_formats(graph, statistics.tensors, 8, reads=statistics.reads)
        root = formats.same.find(stem)
        formats.frac[root] -= 2
        formats.fixed[root] = "stem"
        return formats

    refined = refine(graph, inputs, None, {}, given, silent, True)
    wanted = given(graph, calibrate(graph, inputs, None, silent))
    assert refined.formats.of(graph.tensors[stem]) == wanted.of(graph.tensors[stem])
    assert np.array_equal(refined.graph.ops[0].weight, graph.ops[0].weight)
    assert refined.after_db > refined.before_db  # the others were refined


def test_auto_leaves_what_is_near_and_false_everything():
    torch.manual_seed(1)
    near = graph_of(nn.Sequential(nn.Flatten(), nn.Linear(36, 36), nn.ReLU()), (1, 6, 6))
    uneven = graph_of(Uneven(), (1, 6, 6))
    x = np.random.default_rng(0).uniform(-1, 0.99, size=(96, 1, 6, 6)).astype(np.float32)
    inputs = Inputs(Path("inputs.npz"), x, None, x)
    for folded, wanted in ((near, "auto"), (uneven, False)):
        graph = make_layout(folded, 16).graph
        refined = refine(graph, inputs, None, {}, choose, silent, wanted)
        assert refined.graph is graph and refined.after_db == refined.before_db
        assert refined.formats.frac == formats_of(graph, inputs).frac
    assert refine(near, inputs, None, {}, choose, silent).before_db >= 40


def test_auto_asks_less_of_classes_than_of_values():
    torch.manual_seed(3)
    net = nn.Sequential(nn.Flatten(), *(nn.Sequential(nn.Linear(36, 36), nn.ReLU()) for _ in "abc"))
    graph = graph_of(net, (1, 6, 6))
    graph = make_layout(graph, 16).graph
    values = inputs_of((1, 6, 6))
    labelled = Inputs(values.path, values.x, np.zeros(len(values.x), np.int64), values.x)
    as_values = refine(graph, values, None, {}, choose, silent)
    as_classes = refine(graph, labelled, None, {}, choose, silent)
    assert 24.5 < as_values.before_db < 40 and as_values.after_db > as_values.before_db
    assert as_classes.graph is graph and as_classes.after_db == as_classes.before_db


def test_auto_counts_what_varies_of_values():
    """A constant of 100 in the output is no answer."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Flatten(), *(nn.Sequential(nn.Linear(36, 36), nn.ReLU()) for _ in "abc"))
    with torch.no_grad():
        net[-1][0].bias += 100.0
    graph = graph_of(net, (1, 6, 6))
    graph = make_layout(graph, 16).graph
    refined = refine(graph, inputs_of((1, 6, 6)), None, {}, choose, silent)
    assert refined.before_db > 40 and refined.tried

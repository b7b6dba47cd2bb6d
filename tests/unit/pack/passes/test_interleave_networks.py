# SPDX-License-Identifier: Apache-2.0
"""Transposed convolutions, upsampling and pixel shuffle: phases that lie in one another."""

import numpy as np
import pytest
import torch
from support import write_recipe
from torch import nn

from bramcast.pack.bundle.program import Loop
from bramcast.pack.capture.capture import capture
from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.graph import Graph
from bramcast.pack.lower.beside import dense_parts
from bramcast.pack.lower.layout import make_layout
from bramcast.pack.lower.nests import dry_nests
from bramcast.pack.lower.walks import Layout
from bramcast.pack.passes.fold import fold
from bramcast.pack.passes.interleave import interleave, interleaving_of
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe


def woven(module, shape):
    return interleave(fold(capture(module.eval(), shape, "net")))


def test_phases_of_a_row_share_a_window():
    """A 3x3 kernel with a stride of 2: 1, 2, 2 and 4 of the nine weights, in turned order."""
    up = nn.ConvTranspose2d(1, 1, 3, 2, 1, output_padding=1)
    with torch.no_grad():
        up.weight.copy_(torch.arange(1.0, 10.0).reshape(1, 1, 3, 3))
    graph = woven(nn.Sequential(up, nn.Conv2d(1, 1, 3)), (1, 4, 4))
    # Result (2j + 1, 2i): x[j + 1] * w[0] + x[j] * w[2] of the middle column, and so on.
    rows = [[[5.0, 0.0]], [[6.0, 4.0]]], [[[8.0, 0.0], [2.0, 0.0]], [[9.0, 7.0], [3.0, 1.0]]]
    assert [op.name for op in graph.ops] == ["0.phase1", "0.phase2", "1"]
    assert tuple(op.weight[:, 0].tolist() for op in graph.ops[:2]) == rows
    assert [op.window.padding for op in graph.ops[:2]] == [(0, 0, 0, 1), (0, 0, 1, 1)]
    assert {op.layer for op in graph.ops[:2]} == {"0"}


def test_a_phase_by_itself_has_its_own_weights_and_no_others():
    up = nn.ConvTranspose2d(1, 1, 3, 2, 1, output_padding=1)
    with torch.no_grad():
        up.weight.copy_(torch.arange(1.0, 10.0).reshape(1, 1, 3, 3))
    graph = woven(nn.Sequential(up, nn.Conv2d(1, 1, 3)), (1, 4, 4))
    apart = Layout(1, across={op.out.index: 2 for op in graph.ops[:2]})
    parts = [part for op in graph.ops[:2] for part in dense_parts(op, apart)]
    want = [[[5.0]], [[6.0, 4.0]], [[8.0], [2.0]], [[9.0, 7.0], [3.0, 1.0]]]
    assert [part.op.weight[0, 0].tolist() for part in parts] == want
    for part, whole in zip(
        parts, (graph.ops[0], graph.ops[0], graph.ops[1], graph.ops[1]), strict=True
    ):
        assert np.array_equal(part.of_weight(whole.weight), part.op.weight)


def test_phases_lie_pixel_by_pixel_where_a_convolution_reads_them():
    graph = woven(nn.Sequential(nn.ConvTranspose2d(2, 5, 2, 2), nn.Conv2d(5, 3, 3)), (2, 3, 4))
    layout = make_layout(graph, 4).layout
    places = [layout.placements[op.out.index] for op in graph.ops[:2]]
    # Five channels fill two words of four lanes; a row of the picture has eight pixels.
    assert [place.base for place in places] == [0, 64]
    assert [place.position.tolist() for place in places] == [[*range(5), *range(8, 13)]] * 2
    assert {(place.pitch, place.row_pitch) for place in places} == {(16, 128)}
    assert len({place.buffer for place in places}) == 1
    assert layout.buffer_elements[places[0].buffer] == 6 * 8 * 8
    assert [op.label for op in graph.ops] == ["ConvTranspose2d"] * 2 + ["Conv2d"]


def test_phases_of_few_channels_share_a_sub_word():
    """Three channels of a kernel of 4: both phases of a row, and those of the next pixel, too."""
    graph = woven(nn.Sequential(nn.ConvTranspose2d(2, 3, 4, 2, 1), nn.Conv2d(3, 9, 3)), (2, 3, 4))
    layout = make_layout(graph, 16).layout
    places = [layout.placements[op.out.index] for op in graph.ops[:2]]
    assert [place.base for place in places] == [0, 32]
    assert [place.position.tolist() for place in places] == [[0, 1, 2, 4, 5, 6]] * 2
    assert {(place.pitch, place.row_pitch) for place in places} == {(8, 64)}
    first = dry_nests(graph, layout)[0]
    assert first.counts == (1, 3, 2, 2, 4, 2)  # four columns for four pixels of two inputs


@pytest.mark.parametrize(
    "last, copies",
    [
        (nn.Conv2d(6, 2, 3), []),
        (nn.Conv2d(6, 6, 3, groups=6), ["1.picture"]),
        (nn.MaxPool2d(2), ["1.picture"]),
        (nn.Sequential(nn.Flatten(), nn.Linear(6 * 48, 2)), []),
    ],
)
def test_only_readers_that_are_no_convolution_get_a_copy(last, copies):
    graph = woven(nn.Sequential(nn.ConvTranspose2d(2, 6, 2, 2), last), (2, 3, 4))
    assert [op.name for op in graph.ops if op.label == "gather"] == copies


def test_upsampling_copies_each_phase_once_for_all_its_readers():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 1)

        def forward(self, x):
            x = nn.functional.interpolate(x, scale_factor=(3, 2))
            return self.a(x) + self.b(x)

    graph = woven(Net(), (2, 4, 5))
    copies = [op for op in graph.ops if op.label == "copy"]
    assert len(copies) == 6
    for op in graph.ops:
        if op.macs:
            found = interleaving_of(graph, op.view)
            assert found is not None and found.steps == (3, 2)
            assert list(found.tensors) == [copy.out.index for copy in copies]


def test_a_row_of_single_pixels_is_no_weave():
    draft = Draft(Graph("net", (), (), np.zeros(0, np.int64), ()))
    parts = [draft.new_tensor(f"step{n}", 3, 1, 1) for n in range(4)]
    assert interleaving_of(draft, np.concatenate([part.ids for part in parts], axis=2)) is None


def test_layers_behind_a_cut_fold_into_the_convolution_before():
    """Causal convolutions are padded on both sides and their last steps cut off."""

    class Causal(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(2, 4, 3, padding=2)
            self.bn, self.last = nn.BatchNorm1d(4), nn.Conv1d(4, 3, 1)

        def forward(self, x):
            return self.last(torch.relu(self.bn(self.conv(x)[:, :, :-2].contiguous())))

    torch.manual_seed(0)
    module = Causal()
    module.bn.running_mean.uniform_(-1, 1)
    assert [op.name for op in woven(module, (2, 9)).ops] == ["conv", "last"]


def test_time_steps_of_a_picture_share_their_weights(tmp_path):
    """Each step copies its row of pixels; the words are those of one step with a state, about."""
    packed = pack(read_recipe(write_recipe(tmp_path, "ConvThenGru")), tmp_path / "bundle")
    copies = [op for op in packed.graph.ops if op.label == "copy"]
    assert [op.view.shape for op in copies if "part_conv" in op.name] == [(6, 1, 4)] * 8
    words = next(i.used for i in packed.manifest.images if i.name == "weights")
    one_step = 3 * (6 * 4 + 10)  # r, z and n of 10 outputs: one word a tap
    assert words < 3 * one_step
    assert any(isinstance(d, Loop) for d in packed.descriptors)


def test_a_picture_of_one_pixel_is_a_linear_layer_of_its_own():
    """Not a window of 7 x 7 over a border of zeros, of which each result sees one element."""
    graph = woven(
        nn.Sequential(nn.ConvTranspose2d(9, 4, 7), nn.ReLU(), nn.Conv2d(4, 2, 3)), (9, 1, 1)
    )
    assert [(op.name, op.weight.shape) for op in graph.ops] == [
        ("0", (7 * 7 * 4, 9, 1, 1)), ("2", (2, 4, 3, 3)),
    ]  # fmt: skip
    assert make_layout(graph, 4).graph is graph  # the convolution reads where the results lie


def test_the_ones_of_a_copy_are_no_part_of_trained_weights(tmp_path):
    """Else another training, without a word [64], would be another program."""
    module = nn.Sequential(nn.ConvTranspose2d(1, 1, 4, 2, 1))
    (tmp_path / "model.py").write_text(
        "from torch import nn\n"
        "def build():\n    return nn.Sequential(nn.ConvTranspose2d(1, 1, 4, 2, 1))\n"
    )
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "inputs.npz", x=rng.normal(size=(20, 1, 3, 3)).astype(np.float32))
    (tmp_path / "recipe.toml").write_text(
        '[model]\npython = "model.py:build"\ncheckpoint = "w.pth"\ninputs = "inputs.npz"\n'
    )
    programs = []
    for largest in (1.0, 0.9):
        with torch.no_grad():
            module[0].weight.fill_(0.3)
            module[0].weight[0, 0, 0, 0] = 0.25 * largest
            module[0].bias.zero_()
        torch.save(module.state_dict(), tmp_path / "w.pth")
        pack(read_recipe(tmp_path / "recipe.toml"), tmp_path / "bundle")
        programs.append((tmp_path / "bundle" / "program.mem").read_text())
    assert programs[0] == programs[1]

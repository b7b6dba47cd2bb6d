# SPDX-License-Identifier: Apache-2.0
"""What capture makes of an operator is what PyTorch computes: each operator of ATen by itself.

Values are random, so that an element which lies elsewhere, or a factor, is seen. Operators with
parameters (convolutions, recurrent cells) and activations have tests of their own.
"""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bramcast.pack.capture.capture import capture
from bramcast.pack.capture.supported import TABLE
from bramcast.pack.passes.fold import fold
from bramcast.pack.run import execute

A = torch.ops.aten
SHAPE = (4, 6, 8)  # of a sample
# How an operator is called.
CALLS = {
    "max_pool1d": lambda x: A.max_pool1d(x[:, :, 0], [2], [2]),
    "max_pool2d": lambda x: A.max_pool2d(x, [3, 2], [2, 2], [1, 0]),
    "avg_pool1d": lambda x: A.avg_pool1d(x[:, :, 0], [2]),
    "avg_pool2d": lambda x: A.avg_pool2d(x, [3, 3], [2, 2], [1, 1]),
    "adaptive_avg_pool1d": lambda x: A.adaptive_avg_pool1d(x[:, :, 0], [4]),
    "adaptive_avg_pool2d": lambda x: A.adaptive_avg_pool2d(x, [3, 2]),
    "adaptive_max_pool1d": lambda x: A.adaptive_max_pool1d(x[:, :, 0], [4])[0],
    "adaptive_max_pool2d": lambda x: A.adaptive_max_pool2d(x, [3, 2])[0],
    "max_pool1d_with_indices": lambda x: A.max_pool1d_with_indices(x[:, :, 0], [2], [2])[0],
    "max_pool2d_with_indices": lambda x: A.max_pool2d_with_indices(x, [2, 2], [2, 2])[0],
    "mean": lambda x: A.mean(x, [2, 3]),
    "amax": lambda x: A.amax(x, [1]),
    "max": lambda x: A.max(x, 1)[0],
    "add": lambda x: A.add(x[:, :2], x[:, 2:], alpha=2),
    "sub": lambda x: A.sub(x[:, :2], x[:, 2:]),
    "subtract": lambda x: A.subtract(x[:, :2], x[:, 2:]),
    "rsub": lambda x: A.rsub(x[:, :2], x[:, 2:]),
    "mul": lambda x: A.mul(x[:, :2], x[:, 2:]),
    "div": lambda x: A.div(x, 4.0),
    "neg": lambda x: A.neg(x),
    "glu": lambda x: A.glu(x, 1),
    "cat": lambda x: A.cat([x, x[:, :1]], 1),
    "concat": lambda x: A.concat([x, x[:, :1]], 1),
    "concatenate": lambda x: A.concatenate([x, x[:, :1]], 1),
    "stack": lambda x: A.stack([x[:, 0], x[:, 2]], 1),
    "hstack": lambda x: A.hstack([x, x[:, :1]]),
    "dstack": lambda x: A.dstack([x, x[:, :, :1]]),
    "reshape": lambda x: A.reshape(x, [-1, 8, 24]),
    "view": lambda x: A.view(x, [x.shape[0], 8, 24]),
    "_unsafe_view": lambda x: A._unsafe_view(x, [x.shape[0], 8, 24]),
    "flatten": lambda x: A.flatten(x, 1),
    "unflatten": lambda x: A.unflatten(x, 3, [2, 4]).flatten(2),
    "squeeze": lambda x: A.squeeze(x[:, :1], 1),
    "unsqueeze": lambda x: A.unsqueeze(x[:, 0], 1),
    "contiguous": lambda x: A.contiguous(x),
    "clone": lambda x: A.clone(x),
    "alias": lambda x: A.alias(x),
    "detach": lambda x: A.detach(x),
    "permute": lambda x: A.permute(x, [0, 2, 3, 1]),
    "transpose": lambda x: A.transpose(x, 1, 3),
    "movedim": lambda x: A.movedim(x, 1, 3),
    "swapaxes": lambda x: A.swapaxes(x, 1, 2),
    "swapdims": lambda x: A.swapdims(x, 1, 2),
    "flip": lambda x: A.flip(x, [2]),
    "roll": lambda x: A.roll(x, [1], [3]),
    "slice": lambda x: A.slice(x, 3, 1, 7, 2),
    "select": lambda x: A.select(x, 2, 3),
    "narrow": lambda x: A.narrow(x, 2, 1, 3),
    "chunk": lambda x: A.chunk(x, 2, 3)[1],
    "split": lambda x: A.split(x, 3, 2)[1],
    "split_with_sizes": lambda x: A.split_with_sizes(x, [1, 5], 2)[1],
    "unbind": lambda x: A.unbind(x, 2)[4],
    "index_select": lambda x: A.index_select(x, 3, torch.tensor([5, 0, 5])),
    "repeat": lambda x: A.repeat(x, [1, 2, 1, 1]),
    "tile": lambda x: A.tile(x, [1, 1, 2, 1]),
    "expand": lambda x: A.expand(x[:, :1], [-1, 4, -1, -1]),
    "expand_as": lambda x: A.expand_as(x[:, :1], x),
    "pad": lambda x: A.pad(x, [1, 2, 0, 1]),
    "constant_pad_nd": lambda x: A.constant_pad_nd(x, [1, 2, 0, 1]),
    "pixel_shuffle": lambda x: A.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda x: A.pixel_unshuffle(x, 2),
    "channel_shuffle": lambda x: A.channel_shuffle(x, 2),
    "upsample_nearest1d": lambda x: F.interpolate(x[:, :, 0], scale_factor=2),
    "upsample_nearest2d": lambda x: F.interpolate(x, scale_factor=2),
    "upsample_linear1d": lambda x: F.interpolate(x[:, :, 0], scale_factor=3, mode="linear"),
    "upsample_bilinear2d": lambda x: F.interpolate(x, scale_factor=(2, 4), mode="bilinear"),
    "upsample_bicubic2d": lambda x: F.interpolate(x, size=(9, 5), mode="bicubic"),
    "ravel": lambda x: A.ravel(x).reshape(-1, 4, 48),
    "view_as": lambda x: A.view_as(x, x.flatten(2)),
    "reshape_as": lambda x: A.reshape_as(x, x.flatten(2)),
    "numpy_T": lambda x: A.numpy_T(x).permute(3, 0, 1, 2),
    "adjoint": lambda x: A.adjoint(x),
    "rot90": lambda x: A.rot90(x, 1, [2, 3]),
    "fliplr": lambda x: A.fliplr(x),
    "flipud": lambda x: A.flipud(x.transpose(0, 2)).transpose(0, 2),
    "unsafe_split": lambda x: A.unsafe_split(x, 3, 2)[1],
    "tensor_split": lambda x: A.tensor_split(x, 3, 3)[1],
    "hsplit": lambda x: A.hsplit(x, 2)[1],
    "vsplit": lambda x: A.vsplit(x.transpose(0, 1), 2)[1].transpose(0, 1),
    "diagonal": lambda x: A.diagonal(x, 1, 2, 3),
    "tril": lambda x: A.tril(x, 1),
    "triu": lambda x: A.triu(x, -1),
    "index": lambda x: x[:, [0, 3], [2, 1]][..., [1, 5]],
    "gather": lambda x: A.gather(x, 3, torch.tensor([2, 0, 7]).expand(x.shape[0], 4, 6, 3)),
    "take_along_dim": lambda x: A.take_along_dim(x, torch.tensor([1, 1]).expand(1, 1, 6, 2), 3),
    "repeat_interleave": lambda x: A.repeat_interleave(x, 2, 3),
    "unfold": lambda x: A.unfold(x, 3, 3, 2),
    "im2col": lambda x: A.im2col(x, [3, 2], [1, 1], [1, 0], [2, 2]),
    "broadcast_to": lambda x: A.broadcast_to(x[:, :1], x.shape),
    "reflection_pad1d": lambda x: A.reflection_pad1d(x[:, :, 0], [2, 1]),
    "reflection_pad2d": lambda x: A.reflection_pad2d(x, [2, 1, 0, 3]),
    "replication_pad1d": lambda x: A.replication_pad1d(x[:, :, 0], [2, 1]),
    "replication_pad2d": lambda x: A.replication_pad2d(x, [2, 1, 0, 3]),
    "_pad_circular": lambda x: A._pad_circular(x, [2, 1, 0, 3]),
    "native_channel_shuffle": lambda x: A.native_channel_shuffle(x, 2),
    "dropout": lambda x: A.dropout(x, 0.5, False),
    "feature_dropout": lambda x: A.feature_dropout(x, 0.5, False),
    "alpha_dropout": lambda x: A.alpha_dropout(x, 0.5, False),
}
# Operators with tests elsewhere: with parameters, or casts, roundings and what is left out.
ELSEWHERE = {
    "linear", "matmul", "mm", "addmm", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d",
    "batch_norm", "gru", "gru_cell", "lstm", "lstm_cell", "rnn_tanh", "rnn_relu", "rnn_tanh_cell",
    "rnn_relu_cell", "floor", "floor_divide", "round", "vstack", "t", "to", "_to_copy", "type_as",
    "lift_fresh", "lift_fresh_copy", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d",
    "softmax", "log_softmax", "_softmax", "_log_softmax",
    "maximum", "minimum", "fmax", "fmin", "amin", "min", "sum", "lerp", "addcmul", "addcdiv",
    "einsum", "ceil", "divide", "true_divide",
}  # fmt: skip
OPERATORS = {
    name
    for layer in TABLE
    if layer.row != "activations" or layer.title == "GLU"
    for name in layer.operators
}


def test_every_operator_is_called():
    lacks = sorted(OPERATORS - CALLS.keys() - ELSEWHERE)
    assert not lacks, f"CALLS: how {', '.join(lacks)} is called"
    assert not (CALLS.keys() | ELSEWHERE) - OPERATORS


# Other ways to call them.
MORE = {
    "constant padding": lambda x: A.pad(x, [1, 2, 0, 1], "constant", -1.5),
    "cropping": lambda x: A.pad(x, [-1, 2, -2, 1]),
    "reflected": lambda x: F.pad(x, (2, 1, 0, 0), mode="reflect"),
    "replicated": lambda x: F.pad(x, (0, 0, 2, 1), mode="replicate"),
    "circular": lambda x: F.pad(x, (1, 2, 3, 0), mode="circular"),
    "for a maximum": lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 2, 2),
    "corners": lambda x: F.interpolate(x, size=(11, 8), mode="bilinear", align_corners=True),
    "smaller": lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"),
    "one channel": lambda x: F.interpolate(x[:, :1], scale_factor=2, mode="bilinear"),
    "few pixels": lambda x: F.interpolate(x[:, :, :2, :3], scale_factor=2, mode="bicubic"),
    "nearest to any size": lambda x: F.interpolate(x, size=(7, 5)),
    "mean to any size": lambda x: F.adaptive_avg_pool2d(x, (4, 5)),
    "maximum to any size": lambda x: F.adaptive_max_pool2d(x, (5, 3)),
    "more than there are": lambda x: F.adaptive_avg_pool1d(x[:, :, 0], 11),
    "beside a constant": lambda x: torch.cat(
        [x, torch.arange(48.0).expand(len(x), 1, -1).reshape(-1, 1, 6, 8)], 1
    ),
    "four axes": lambda x: torch.sigmoid(x.reshape(-1, 4, 2, 3, 8)) * x.reshape(-1, 4, 2, 3, 8),
    "mean of four axes": lambda x: x.reshape(-1, 4, 2, 3, 8).mean((2, 4)),
}


class Call(nn.Module):
    """One operator, and a Linear that reads each of its results with a weight of its own."""

    def __init__(self, call):
        super().__init__()
        self.call = call
        self.read = nn.Linear(call(torch.zeros(2, *SHAPE)).flatten(1).shape[1], 5)

    def forward(self, x):
        return self.read(self.call(x).flatten(1))


@pytest.mark.parametrize("name", [*CALLS, *MORE])
def test_an_operator_is_what_pytorch_computes(name):
    torch.manual_seed(0)
    module = Call((CALLS | MORE)[name]).eval()
    x = np.random.default_rng(0).normal(size=(3, *SHAPE))
    graph = fold(capture(module, SHAPE, "net"))
    *_, last = execute.run(graph, execute.input_tensor(graph, x), execute.real_compute)
    with torch.no_grad():
        want = module.double()(torch.from_numpy(x)).numpy()
    got = execute.output_array(graph, [last.result])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)

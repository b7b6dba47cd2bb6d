# SPDX-License-Identifier: Apache-2.0
"""What the graph of a network computes, before anything is quantized."""

import numpy as np
import pytest
import torch
from torch import nn

from bramcast.pack.capture.capture import capture
from bramcast.pack.passes.fold import fold
from bramcast.pack.run import execute


def real(module, x):
    """The folded graph's results on real samples."""
    graph = fold(capture(module.eval(), x.shape[1:], "net"))
    *_, last = execute.run(graph, execute.input_tensor(graph, x), execute.real_compute)
    return execute.output_array(graph, [last.result])


def normalised(*before, eps, variance):
    """BatchNorm with gamma 3 and beta 1 over two channels, behind layers if there are any."""
    bn = nn.BatchNorm2d(2, eps=eps)
    with torch.no_grad():
        bn.weight.fill_(3.0)
        bn.bias.fill_(1.0)
        bn.running_mean.copy_(torch.tensor([2.0, -1.0]))
        bn.running_var.copy_(torch.tensor(variance))
    return nn.Sequential(*before, bn)


def doubling():
    """A pointwise convolution that doubles both channels."""
    conv = nn.Conv2d(2, 2, 1, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.eye(2)[:, :, None, None] * 2)
    return conv


@pytest.mark.parametrize("behind", [False, True], ids=["on its own", "folded into a convolution"])
def test_batch_norms_eps_is_under_the_root(behind):
    """With eps = 3 a variance of 1 divides by 2, one of 6 by 3: factors 1.5 and 1."""
    x = np.random.default_rng(0).integers(-8, 8, (5, 2, 3, 3)).astype(np.float32)
    got = real(normalised(*[doubling()] * behind, eps=3.0, variance=[1.0, 6.0]), x)
    y = x * 2 if behind else x
    want = np.stack([(y[:, 0] - 2) * 1.5 + 1, (y[:, 1] + 1) + 1], axis=1)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_a_channel_without_variance_is_divided_by_the_root_of_eps():
    """A dead channel's variance is zero: eps alone decides how its noise is amplified."""
    x = np.array([[[[2.0, 2.5]], [[-1.0, -0.75]]]], np.float32)
    got = real(normalised(eps=0.0625, variance=[0.0, 0.0]), x)
    np.testing.assert_allclose(got, [[[[1.0, 7.0]], [[1.0, 4.0]]]], rtol=1e-6)

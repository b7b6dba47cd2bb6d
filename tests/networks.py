# SPDX-License-Identifier: Apache-2.0
"""Small networks with the shapes that people publish and the corners that toys miss.

Each class is a recipe's ``python`` entry; ``SHAPES`` gives the shape of one sample.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Mlp96(nn.Sequential):
    """Linear(96,96)-ReLU-Linear(96,64)-ReLU-Linear(64,12)."""

    def __init__(self):
        super().__init__(
            nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 12)
        )


class OneChannelDepthwise(nn.Module):
    """A depthwise 1x3 convolution with one channel, then a pointwise one to 12 channels."""

    def __init__(self):
        super().__init__()
        self.depthwise = nn.Conv2d(1, 1, (1, 3), padding=(0, 1), groups=1)
        self.pointwise = nn.Conv2d(1, 12, 1)
        self.fc = nn.Linear(12, 4)

    def forward(self, x):
        x = F.relu(self.pointwise(F.relu(self.depthwise(x))))
        return self.fc(x.mean((2, 3)))


class VggCeil(nn.Module):
    """A VGG-like stack with max-pooling in ceil_mode and channel counts that nothing divides."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 10, 3, padding=1), nn.BatchNorm2d(10), nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(10, 19, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
            nn.Conv2d(19, 21, 3, padding=1, stride=2), nn.ReLU6(),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(21 * 9, 30), nn.Hardtanh(),
                                        nn.Dropout(), nn.Linear(30, 5))  # fmt: skip

    def forward(self, x):
        return self.classifier(self.features(x))


class NegativeMax(nn.Module):
    """MaxPool of all-negative data with padding and ceil_mode, straight behind a Hardtanh."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 7, 3, padding=1)
        self.act = nn.Hardtanh(-3.0, -0.25)
        self.pool = nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)
        self.fc = nn.Conv2d(7, 3, 1)

    def forward(self, x):
        return self.fc(self.pool(self.act(self.conv(x))))


class Averages(nn.Module):
    """AvgPool with count_include_pad either way, ceil_mode, and adaptive pooling."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 18, 1)
        self.outside = nn.AvgPool2d(3, 2, padding=1)
        self.inside = nn.AvgPool2d(3, 2, padding=1, count_include_pad=False, ceil_mode=True)
        self.dense = nn.Conv2d(18, 18, 1, groups=2)
        self.last = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(18, 6)

    def forward(self, x):
        x = F.relu(self.conv(x))
        x = self.outside(x)
        x = self.dense(self.inside(x))
        return self.fc(self.last(x).flatten(1))


class SignedUnsignedAdd(nn.Module):
    """A residual network whose adds join a signed and an unsigned branch."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.a = nn.Conv2d(12, 12, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(12)
        self.b = nn.Conv2d(12, 20, 3, stride=2, padding=1)
        self.short = nn.Conv2d(12, 20, 1, stride=2)
        self.fc = nn.Linear(20, 4)

    def forward(self, x):
        x = F.relu(self.stem(x))
        y = self.bn(self.a(x))
        z = F.relu(x + y)
        w = self.b(z) - F.relu6(self.short(z))
        return self.fc(F.adaptive_max_pool2d(w, 1).flatten(1))


class UnalignedConcat(nn.Module):
    """Concats of 5, 7 and 20 channels, read by dense, depthwise and pooling layers."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(3, 7, 1)
        self.c = nn.Conv2d(12, 20, 3, padding=1)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.out = nn.Conv2d(32, 9, 1)

    def forward(self, x):
        y = torch.cat([F.relu(self.a(x)), self.b(x)], 1)
        z = torch.cat([y, F.relu(self.c(y))], 1)
        return self.out(F.max_pool2d(F.relu(self.depthwise(z)), 2)).flatten(1)


class Grouped(nn.Module):
    """Grouped convolutions of many sizes, a depthwise one with multiplier 3, dilation, 'same'."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(4, 24, 3, padding="same", dilation=2)
        self.tiny = nn.Conv2d(24, 24, 3, groups=12, padding=1)
        self.wide = nn.Conv2d(24, 60, 1, groups=3)
        self.multi = nn.Conv2d(20, 60, 3, groups=20, stride=(2, 1), padding=(1, 0))
        self.mix = nn.Conv2d(60, 20, 1)
        self.fc = nn.Linear(60, 3)

    def forward(self, x):
        x = F.relu(self.tiny(F.relu(self.first(x))))
        x = F.relu(self.mix(F.relu(self.wide(x))))
        return self.fc(F.relu(self.multi(x)).amax((2, 3)))


class Conv1dNet(nn.Module):
    """Conv1d with causal padding, BatchNorm1d after ReLU, pooling over time, Linear per step."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(6, 14, 5, dilation=2)
        self.bn = nn.BatchNorm1d(14)
        self.b = nn.Conv1d(14, 14, 3, groups=14, padding=1)
        self.c = nn.Conv1d(14, 10, 1)
        self.step = nn.Linear(10, 8)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        x = self.bn(F.relu(self.a(F.pad(x, (8, 0)))))
        x = F.max_pool1d(F.relu(self.c(self.b(x))), 2)
        x = F.relu(self.step(x.transpose(1, 2)))
        return self.fc(x.mean(1))


class Normalised(nn.Module):
    """Constants inside the model, BatchNorm on a flat tensor and before a padded convolution."""

    def __init__(self):
        super().__init__()
        self.bn0 = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm1d(8 * 16)
        self.a = nn.Linear(8 * 16, 40)
        self.bn2 = nn.BatchNorm1d(40)
        self.b = nn.Linear(40, 4)
        self.scale = nn.Parameter(torch.rand(1, 40) + 0.5)

    def forward(self, x):
        x = self.bn0(x / 2 - 0.5)
        x = F.max_pool2d(self.conv(x), 2).flatten(1)
        x = F.relu(self.a(self.bn1(x)))
        return F.relu(self.b(self.bn2(x) * self.scale))


class NormBehind(nn.Module):
    """BatchNorm behind ReLU and adds, read by padded convolutions of all kinds, pools and adds."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 9, 3, padding=1)
        self.strided = nn.Conv2d(9, 12, 3, stride=2, padding=1)
        self.tall = nn.Conv2d(12, 12, (3, 1), padding=(2, 0), dilation=(2, 1), groups=3)
        self.depthwise = nn.Conv2d(12, 24, (1, 3), padding=(0, 1), groups=12)
        self.point = nn.Conv2d(24, 12, 1)
        self.joined = nn.Conv2d(24, 7, 2, padding=(1, 0))
        self.fc = nn.Linear(7, 5)
        self.norms = nn.ModuleList([nn.BatchNorm2d(c, affine=c != 12) for c in (9, 12, 12, 24, 12)])

    def forward(self, x):
        x = F.relu(self.first(x))
        x = F.avg_pool2d(self.norms[0](x), 3, 2, padding=1, count_include_pad=False)
        x = self.norms[1](F.relu(self.strided(x)))
        y = self.norms[2](F.relu(self.tall(x)) + x)
        z = self.norms[3](F.relu(self.depthwise(y)))
        z = self.norms[4](F.relu(self.point(z)))
        x = F.relu(self.joined(torch.cat([z, y], 1)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Slices(nn.Module):
    """Channel slices that start inside a word, a channel shuffle, zero-padded channels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 24, 3, padding=1)
        self.left = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.right = nn.Conv2d(12, 12, 1)
        self.next = nn.Conv2d(24, 30, 3, stride=2, padding=1)
        self.fc = nn.Linear(30 * 9, 4)

    def forward(self, x):
        x = F.relu(self.conv(x))
        a, b = x.chunk(2, 1)
        x = torch.cat([self.left(b), F.relu(self.right(a))], 1)
        n, c, h, w = x.shape
        x = F.relu(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))
        y = self.next(x)
        y = y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 3, 3))
        return self.fc(F.relu(y).permute(0, 2, 3, 1).flatten(1))


class FullyConvolutional(nn.Module):
    """An output with many pixels and more channels than lanes; PReLU-free U-turn of sizes."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 9, (3, 5), stride=(1, 2), padding=(1, 2))
        self.b = nn.Conv2d(9, 21, 1)

    def forward(self, x):
        return torch.clamp(self.b(torch.clamp_min(self.a(x), 0.0)), -0.5, 0.5)


class AddLast(nn.Module):
    """The last layer is an add; its first operand is used twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(10, 20), nn.Linear(20, 20)

    def forward(self, x):
        x = F.relu(self.a(x))
        return x + self.b(x)


class ConcatLast(nn.Module):
    """The output joins unaligned parts."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 5, 1), nn.Conv2d(2, 6, 3, padding=1)

    def forward(self, x):
        return torch.cat([self.a(x), F.relu(self.b(x))], 1)


class FlatConcat(nn.Module):
    """Flattened features of two sizes and the input itself go into one Linear."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 5, 3), nn.Conv2d(5, 6, 3)
        self.fc = nn.Linear(5 * 16 + 6 * 4 + 72, 7)

    def forward(self, x):
        a = F.relu(self.a(x))
        b = F.relu(self.b(a))
        return self.fc(torch.cat([a.flatten(1), b.flatten(1), x.flatten(1)], 1))


class DepthwiseFirst(nn.Module):
    """The frame itself is read lane by lane, and pre-activations are used twice."""

    def __init__(self):
        super().__init__()
        self.dw = nn.Conv2d(5, 5, 3, padding=1, groups=5)
        self.bn = nn.BatchNorm2d(5)
        self.pw = nn.Conv2d(5, 17, 1)
        self.back = nn.Conv2d(17, 5, 1)
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        y = self.bn(self.dw(x))
        z = self.back(F.relu(self.pw(F.relu(y))))
        return self.fc((y + z).mean((2, 3)))


class DeadChannels(nn.Module):
    """Channels that BatchNorm or pruning has switched off, and huge biases."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 20, 3)
        self.bn = nn.BatchNorm2d(20)
        self.fc = nn.Linear(20, 3)

    def forward(self, x):
        return self.fc(F.relu(self.bn(self.conv(x))).mean((2, 3)))


class PreActivation(nn.Module):
    """BatchNorm and ReLU before the convolutions, so that nothing before them can take the fold."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.a = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.b = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        x = self.stem(x)
        y = self.b(F.relu(self.bn2(self.a(F.relu(self.bn1(x))))))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x + y, (1, 1)), 1))


class TemporalResidual(nn.Module):
    """A temporal convolution network on [time, features] with a strided shortcut."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(10, 16, 3, padding=1, bias=False)
        self.a = nn.Conv1d(16, 24, 9, stride=2, padding=4, bias=False)
        self.bn_a = nn.BatchNorm1d(24)
        self.short = nn.Conv1d(16, 24, 1, stride=2, bias=False)
        self.bn_s = nn.BatchNorm1d(24)
        self.last = nn.Conv1d(24, 12, 1)

    def forward(self, x):
        x = self.first(x.transpose(1, 2))
        y = F.relu(self.bn_a(self.a(x))) + F.relu(self.bn_s(self.short(x)))
        return self.last(F.avg_pool1d(F.relu(y), y.shape[-1])).squeeze(2)


class FrameMaximum(nn.Module):
    """[time, features] with an axis added inside, the maximum over time, weight normalisation."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, (4, 3), stride=(2, 1), padding=(1, 1))
        self.bn = nn.BatchNorm2d(8)
        self.fc = torch.nn.utils.parametrizations.weight_norm(nn.Linear(80, 5))

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x.unsqueeze(1))))
        return self.fc(torch.max(x, dim=2)[0].reshape(x.shape[0], -1))


class Repeats(nn.Module):
    """Channels that a convolution, a Linear and a sum read more than once."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 9, 3, padding=1), nn.Conv2d(27, 10, 3, padding=1)
        self.c = nn.Linear(20, 6)

    def forward(self, x):
        x = F.relu(self.a(x))
        x = F.relu(self.b(torch.cat([x, x.flip(1), x], 1)))
        x = x + x.mean((2, 3), keepdim=True)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.c(torch.cat([x, x], 1))


class LanewiseLast(nn.Module):
    """The last layer works lane by lane on channels that end inside words."""

    def __init__(self):
        super().__init__()
        self.a, self.output = nn.Conv2d(3, 5, 1), nn.Conv2d(3, 20, 3, padding=1)

    def forward(self, x):
        return F.relu(torch.cat([self.output(x), self.a(x)], 1))


class PerElement(nn.Module):
    """BatchNorm and an activation on a flattened feature map; constants of its shape."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 7, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm1d(7 * 16)
        self.fc = nn.Linear(7 * 16, 5)
        self.register_buffer("place", torch.linspace(-1, 1, 7 * 16).reshape(7, 4, 4))

    def forward(self, x):
        x = F.relu(self.conv(x) + self.place)
        return self.fc(F.relu(self.bn(x.flatten(1))))


class LinearThenConv(nn.Module):
    """A Linear's result is taken as a picture, and a convolution's pixels as features."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(9, 6 * 4 * 5), nn.Conv2d(6, 5, 3, padding=1)
        self.time = nn.Linear(5, 7)

    def forward(self, x):
        x = F.relu(self.a(x)).view(-1, 6, 4, 5)
        return F.relu(self.time(F.relu(self.b(x)))).mean((2, 3))


class TwoHeads(nn.Module):
    """Two flattened feature maps of different sizes are the output."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, stride=2)
        self.one, self.two = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        a = F.relu(self.a(x))
        b = F.relu(self.b(a))
        return torch.cat([self.one(a).flatten(1), self.two(b).flatten(1)], 1)


class FrameRows(nn.Module):
    """Windows of three channels that start anywhere in a row of the frame; the frame, flattened."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.b = nn.Conv2d(3, 5, (2, 3), dilation=(1, 2), stride=(1, 3), padding=(0, 2))
        self.fc = nn.Linear(3 * 9 * 11, 4)
        self.out = nn.Linear(6 * 5 * 6 + 5 * 8 * 4 + 4, 3)

    def forward(self, x):
        a, b = F.relu(self.a(x)).flatten(1), F.relu(self.b(x)).flatten(1)
        return self.out(torch.cat([a, b, self.fc(x.flatten(1))], 1))


class FrameCrops(nn.Module):
    """Convolutions on parts of the frame, with and without padding, one of them mirrored."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 6, 3)
        self.c, self.d = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 6, (4, 1), stride=(3, 1))
        self.out = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        d = self.d(x).amax((2, 3), keepdim=True)
        a, b = self.a(x[:, :, 1:9, 2:9]), self.b(x[:, :, :, 1:10])
        c = self.c(x[:, :, :, 2:].flip(3)).amax((2, 3), keepdim=True)
        return self.out(F.relu(a) + F.relu(b[:, :, :8, :7]) + c + d)


class FrameFourWays(nn.Module):
    """The frame is pooled, convolved, flattened and normalised as a flat tensor."""

    def __init__(self):
        super().__init__()
        self.a, self.bn = nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm1d(3 * 6 * 7)
        self.b, self.c = nn.Linear(3 * 6 * 7, 6), nn.Linear(3 * 6 * 7, 6)
        self.out = nn.Linear(6 + 6 + 5 + 3, 3)

    def forward(self, x):
        a, pool = F.relu(self.a(x)).amax((2, 3)), F.max_pool2d(x, 2).mean((2, 3))
        b, c = F.relu(self.b(F.relu(self.bn(x.flatten(1))))), F.relu(self.c(x.flatten(1)))
        return self.out(torch.cat([a, pool, b, c], 1))


class GroupedFrame(nn.Module):
    """Grouped convolutions of the frame, strided and dilated along its rows."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(6, 12, 3, padding=1, groups=3, stride=(1, 2))
        self.b = nn.Conv2d(6, 8, (1, 4), groups=2, padding=(0, 3), dilation=(1, 2))
        self.out = nn.Linear(20, 3)

    def forward(self, x):
        a, b = F.relu(self.a(x)).amax((2, 3)), F.relu(self.b(x)).mean((2, 3))
        return self.out(torch.cat([a, b], 1))


class FrameTurned(nn.Module):
    """The frame is read as it is and transposed."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(2, 6, 3, padding=1)
        self.b = nn.Conv2d(2, 6, (5, 2), padding=(2, 0), stride=(2, 1))
        self.out = nn.Linear(12, 3)

    def forward(self, x):
        a, b = self.a(x).amax((2, 3)), self.b(x.transpose(2, 3)).amax((2, 3))
        return self.out(torch.cat([a, b], 1))


class OutOfOrder(nn.Module):
    """Concats in another order than that of execution, read lane by lane; slices of them."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 5, 3, padding=1)
        self.b = nn.Conv2d(5, 5, 3, padding=1, groups=5)
        self.c = nn.Conv2d(5, 10, 3, padding=1, groups=5)
        self.all = nn.Conv2d(20, 20, 3, padding=1, groups=20)
        self.one, self.two = nn.Conv2d(20, 3, 1), nn.Conv2d(10, 3, 3, padding=1)

    def forward(self, x):
        a = F.relu(self.a(x))
        b = F.relu(self.b(a))
        c = F.relu(self.c(b))
        y = F.relu(self.all(torch.cat([c, a, b], 1)))
        z = F.max_pool2d(torch.cat([c, b, a], 1)[:, 5:], 3, 1, 1)
        return self.one(y) + self.two(z[:, 2:12])


class FlatParts(nn.Module):
    """BatchNorm and Linear on flattened maps of two sizes that pooling reads too."""

    def __init__(self):
        super().__init__()
        self.a, self.bn = nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm1d(5 * 36 + 5 * 9)
        self.b, self.c = nn.Linear(225, 10), nn.Linear(225 + 10, 4)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        a = F.relu(self.a(x))
        pool = F.max_pool2d(a, 2)
        flat = torch.cat([a.flatten(1), pool.flatten(1)], 1)
        c = F.relu(self.c(torch.cat([flat, F.relu(self.b(F.relu(self.bn(flat))))], 1)))
        last = F.max_pool2d(pool, 3, 1, 1).mean((2, 3))
        return self.out(torch.cat([c, last[:, :4]], 1))


class EqualParts(nn.Module):
    """Two maps side by side for a convolution, and flattened one behind the other for BatchNorm."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 5, 3, padding=1), nn.Conv2d(2, 3, 3, padding=1)
        self.c, self.bn = nn.Conv2d(8, 4, 1), nn.BatchNorm1d(8 * 16)
        self.fc, self.out = nn.Linear(8 * 16, 5), nn.Linear(5 + 64, 3)

    def forward(self, x):
        a, b = F.relu(self.a(x)), F.relu(self.b(x))
        c = F.relu(self.c(torch.cat([a, b], 1)))
        flat = F.relu(self.bn(torch.cat([a.flatten(1), b.flatten(1)], 1)))
        return self.out(torch.cat([F.relu(self.fc(flat)), c.flatten(1)], 1))


class StridedLast(nn.Module):
    """The frame's only reader is the last layer; its windows overlap by half."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 5, (4, 3), stride=(2, 1), padding=(2, 1))

    def forward(self, x):
        return self.a(x)


class SmoothActivations(nn.Module):
    """Every activation that becomes a table: behind layers, a pool, a sum, before and after ReLU6;
    where the value before it is needed too, and straight on the input."""

    def __init__(self):
        super().__init__()
        self.a, self.bn = nn.Conv2d(3, 10, 3, padding=1), nn.BatchNorm2d(10)
        self.b = nn.Conv2d(10, 20, 3, padding=1, groups=10)
        self.c = nn.Conv2d(23, 12, 1)
        self.blocks = nn.Sequential(
            nn.Conv2d(12, 9, 1), nn.ELU(0.5), nn.Conv2d(9, 11, 1), nn.Softplus(),
            nn.Conv2d(11, 9, 1), nn.LeakyReLU(0.1, inplace=True), nn.Conv2d(9, 8, 3, stride=2),
            nn.Hardsigmoid(), nn.Conv2d(8, 9, 1), nn.Mish(), nn.AvgPool2d(2), nn.Tanh(),
        )  # fmt: skip
        self.prelu = nn.PReLU()
        self.fc = nn.Linear(9, 6)

    def forward(self, x):
        y = F.gelu(self.bn(self.a(x)))
        z = self.b(y)
        y = torch.cat([F.hardswish(z), torch.tanh(x)], 1)
        y = F.relu6(F.silu(self.c(y))) + torch.sigmoid(F.relu6(z[:, :12] - 0.5)) * 2 - 1
        y = F.gelu(F.max_pool2d(y, 2), approximate="tanh")
        return self.fc(self.prelu(self.blocks(y)).mean((2, 3)))


class AnyFunctions(nn.Module):
    """Functions without a name, with branches; a slope for each channel, a maximum of two tensors
    and a sum over pixels."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 9, 3, padding=1), nn.Conv2d(9, 10, 3, stride=2)
        self.c, self.d = nn.Conv2d(9, 10, 3, stride=2), nn.Linear(10, 12)
        self.prelu, self.fc = nn.PReLU(10), nn.Linear(12, 5)
        with torch.no_grad():
            self.prelu.weight.copy_(torch.linspace(-0.5, 0.9, 10))

    def forward(self, x):
        y = self.a(x)
        y = torch.where(y > 0, y * torch.exp(-y), torch.sin(y) / (1 + y.abs()))
        y = torch.maximum(self.prelu(self.b(y)), self.c(y)).sum((2, 3))
        y = self.d(y)
        return self.fc(torch.sign(y) * torch.sqrt(y.abs() + 0.01) - 0.1 * torch.sign(y))


class SiluBlock(nn.Module):
    """Conv-BatchNorm-SiLU as YOLO nests them, with a residual, concat and a written-out Swish."""

    class Conv(nn.Module):
        def __init__(self, i, o, k, s=1):
            super().__init__()
            self.conv = nn.Conv2d(i, o, k, s, k // 2, bias=False)
            self.bn = nn.BatchNorm2d(o)
            self.act = nn.SiLU()

        def forward(self, x):
            return self.act(self.bn(self.conv(x)))

    def __init__(self):
        super().__init__()
        conv = SiluBlock.Conv
        self.stem = nn.Sequential(conv(3, 8, 3, 2), conv(8, 18, 3))
        self.inner = nn.Sequential(nn.Sequential(conv(9, 9, 1), conv(9, 9, 3)))
        self.last = conv(27, 12, 1)
        self.head = nn.Conv2d(12, 5, 1)

    def forward(self, x):
        x = self.stem(x)
        a, b = x.chunk(2, 1)
        x = self.last(torch.cat([a, b, b + self.inner(b)], 1))
        x = self.head(x)
        return x * torch.sigmoid(1.5 * x)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excite with hard and soft gates on maps of several sizes; a gated product."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 20, 3, padding=1)
        self.down, self.up = nn.Conv2d(20, 6, 1), nn.Conv2d(6, 20, 1)
        self.next = nn.Conv2d(20, 10, 3, stride=2, padding=1)
        self.a, self.b = nn.Linear(10, 4), nn.Linear(4, 10)
        self.glu = nn.Conv2d(10, 14, 1)
        self.fc = nn.Linear(7, 4)

    def forward(self, x):
        x = F.hardswish(self.conv(x))
        s = self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1))))
        x = F.relu(self.next(x * F.hardsigmoid(s)))
        x = torch.sigmoid(self.b(F.relu(self.a(x.mean((2, 3))))))[:, :, None, None] * x
        a, b = self.glu(x).chunk(2, 1)
        return self.fc((torch.tanh(a) * torch.sigmoid(b)).mean((2, 3)))


class TensorProducts(nn.Module):
    """Products of maps with and without a sign, of a part of a map, with the input; sums of two."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 9, 3, padding=1), nn.Conv2d(3, 9, 1)
        self.c, self.d = nn.Conv2d(9, 9, 1), nn.Conv2d(9, 18, 1)
        self.out = nn.Conv2d(12, 5, 1)

    def forward(self, x):
        a, b = F.relu(self.a(x)), self.b(x)
        c = torch.sigmoid(self.c(a))
        d = self.d(b)
        y = F.relu(c * b + (1 - c) * a) + d[:, :9] * d[:, 9:]
        z = torch.tanh(a * a - b) * y
        return self.out(torch.cat([z, x * x[:, :1]], 1))


class GatedLast(nn.Module):
    """The result is a product, and the input is one of its factors."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(21, 21)

    def forward(self, x):
        return torch.sigmoid(self.fc(x)) * x


class SigmoidLast(nn.Module):
    """The last layer ends in a table whose results are never negative."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(12, 20), nn.Linear(20, 18)

    def forward(self, x):
        return torch.sigmoid(self.out(F.silu(self.fc(x))))


class GruNet(nn.Module):
    """Two GRU layers; a Linear over all time steps and the last state."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(7, 12, 2, batch_first=True, dropout=0.1)
        self.step, self.fc = nn.Linear(12, 5), nn.Linear(5 + 12, 4)

    def forward(self, x):
        y, h = self.gru(x)
        y = F.relu(self.step(y)).mean(1)
        return self.fc(torch.cat([y, h[-1]], 1))


class LstmNet(nn.Module):
    """An LSTM with time first and no biases, then one that reads it both ways."""

    def __init__(self):
        super().__init__()
        self.one = nn.LSTM(6, 10, bias=False)
        self.two = nn.LSTM(10, 6, bidirectional=True)
        self.fc = nn.Linear(22, 4)

    def forward(self, x):
        y, (_, c) = self.one(x.transpose(0, 1))
        z, (h, _) = self.two(y)
        return self.fc(torch.cat([z[-1], c[0]], 1))


class RnnNet(nn.Module):
    """A tanh RNN, then cells called step by step."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(5, 18, batch_first=True)
        self.gru, self.lstm = nn.GRUCell(18, 9), nn.LSTMCell(9, 8)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        y, _ = self.rnn(x)
        h, state = None, None
        for t in range(x.shape[1]):
            h = self.gru(y[:, t], h)
            state = self.lstm(h, state)
        return self.fc(state[0])


class HandGru(nn.Module):
    """A GRU cell written out, with the reset gate before the product, as TensorFlow 1 had it."""

    def __init__(self):
        super().__init__()
        self.gates, self.candidate = nn.Linear(6 + 21, 42), nn.Linear(6 + 21, 21)
        self.out = nn.Linear(21, 5)

    def forward(self, x):
        h = x.new_zeros(x.shape[0], 21)
        for t in range(x.shape[1]):
            r, u = torch.sigmoid(self.gates(torch.cat([x[:, t], h], 1))).chunk(2, 1)
            c = torch.tanh(self.candidate(torch.cat([x[:, t], r * h], 1)))
            h = u * h + (1 - u) * c
        return self.out(h)


class HandLstm(nn.Module):
    """An LSTM cell written out with separate products for input and state, and a peephole."""

    def __init__(self):
        super().__init__()
        self.x, self.h = nn.Linear(6, 40), nn.Linear(10, 40, bias=False)
        self.peep = nn.Parameter(torch.rand(10))
        self.out = nn.Linear(10, 3)

    def forward(self, x):
        h = c = torch.zeros(x.shape[0], 10)
        for t in range(x.shape[1]):
            i, f, g, o = (self.x(x[:, t]) + self.h(h)).chunk(4, 1)
            c = torch.sigmoid(f + self.peep * c) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.out(h)


class ConvGru(nn.Module):
    """A GRU of pictures: convolutions over [input, state], gates for every pixel."""

    def __init__(self):
        super().__init__()
        self.gates = nn.Conv2d(2 + 7, 14, 3, padding=1)
        self.candidate = nn.Conv2d(2 + 7, 7, 3, padding=1)
        self.fc = nn.Linear(7, 3)

    def forward(self, x):
        h = torch.zeros(x.shape[0], 7, *x.shape[3:])
        for t in range(x.shape[1]):
            r, u = torch.sigmoid(self.gates(torch.cat([x[:, t], h], 1))).chunk(2, 1)
            c = torch.tanh(self.candidate(torch.cat([x[:, t], r * h], 1)))
            h = (torch.ones_like(u) - u) * c + u * h
        return self.fc(h.mean((2, 3)))


class Decoder(nn.Sequential):
    """An autoencoder's second half; its pictures leave pixel by pixel."""

    def __init__(self):
        super().__init__(
            nn.ConvTranspose2d(5, 20, 3, 2, 1, output_padding=1), nn.BatchNorm2d(20), nn.ReLU(),
            nn.ConvTranspose2d(20, 6, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(6, 2, 2, 2),
        )  # fmt: skip


class DecoderOfLatents(nn.Sequential):
    """From a single pixel, as decoders begin, with padding and output_padding."""

    def __init__(self):
        super().__init__(
            nn.ConvTranspose2d(11, 6, (4, 3), 2, 1, output_padding=1), nn.BatchNorm2d(6), nn.ReLU(),
            nn.ConvTranspose2d(6, 3, 3, padding=1),
        )  # fmt: skip


class ConvThenGru(nn.Module):
    """A GRU over the rows of a picture: each step reads some pixels beside the state."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3, padding=1)
        self.gru = nn.GRU(6 * 4, 10, batch_first=True)
        self.fc = nn.Linear(10, 3)

    def forward(self, x):
        x = F.relu(self.conv(x)).permute(0, 2, 1, 3).flatten(2)
        return self.fc(self.gru(x)[0][:, -1])


class DecoderOddSteps(nn.Module):
    """Pictures that are cut, kernels smaller than the stride, and readers by lanes."""

    def __init__(self):
        super().__init__()
        self.cut = nn.ConvTranspose2d(3, 6, (5, 2), (3, 2), (2, 0))
        self.holes = nn.ConvTranspose2d(6, 7, 2, 3, bias=False)
        self.depthwise = nn.Conv2d(7, 7, 3, padding=1, groups=7)
        self.fc = nn.Linear(7, 4)

    def forward(self, x):
        x = F.relu6(self.holes(F.relu(self.cut(x))))
        x = F.max_pool2d(x, 3, 2)
        return self.fc(F.relu(self.depthwise(x)).mean((2, 3)))


class DecoderOfGroups(nn.Module):
    """Grouped and depthwise transposed convolutions; the last is flattened."""

    def __init__(self):
        super().__init__()
        self.grouped = nn.ConvTranspose2d(4, 6, 3, 2, 1, groups=2)
        self.depthwise = nn.ConvTranspose2d(6, 6, 4, 2, 1, groups=6)
        self.fc = nn.Linear(6 * 14 * 10, 5)

    def forward(self, x):
        return self.fc(F.relu(self.depthwise(F.relu(self.grouped(x)))).flatten(1))


class DecoderOverTime(nn.Module):
    """Conv1d and its transposed kind, with a stride of 2 and without."""

    def __init__(self):
        super().__init__()
        self.same = nn.ConvTranspose1d(4, 6, 3, padding=1)
        self.twice = nn.ConvTranspose1d(6, 5, 5, 2, 2, output_padding=1)
        self.last = nn.Conv1d(5, 3, 3, padding=1)

    def forward(self, x):
        return self.last(F.relu(self.twice(F.relu(self.same(x)))))


class UNet(nn.Module):
    """Skips joined with what a transposed convolution and nearest upsampling have enlarged."""

    def __init__(self):
        super().__init__()
        self.top = nn.Conv2d(3, 6, 3, padding=1)
        self.down = nn.Conv2d(6, 8, 3, 2, 1)
        self.up = nn.ConvTranspose2d(8, 5, 2, 2)
        self.join = nn.Conv2d(6 + 5 + 8, 7, 3, padding=1)
        self.last = nn.Conv2d(7, 2, 1)

    def forward(self, x):
        top = F.relu(self.top(x))
        down = F.relu(self.down(top))
        parts = [top, F.relu(self.up(down)), F.interpolate(down, scale_factor=2)]
        return self.last(F.relu(self.join(torch.cat(parts, 1))))


class PyramidOfFeatures(nn.Module):
    """A picture enlarged and added to another."""

    def __init__(self):
        super().__init__()
        self.fine = nn.Conv2d(3, 6, 3, padding=1)
        self.coarse = nn.Conv2d(6, 6, 3, 2, 1)
        self.last = nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, x):
        fine = F.relu(self.fine(x))
        return self.last(fine + F.interpolate(self.coarse(fine), scale_factor=2, mode="nearest"))


class PixelShuffles(nn.Module):
    """Channels become pixels, twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 20, 3, padding=1)
        self.second = nn.Conv2d(5, 8, 3, padding=1)

    def forward(self, x):
        x = F.pixel_shuffle(self.first(x), 2)
        return F.pixel_shuffle(self.second(F.relu(x)), 2)


class PixelsBecomeChannels(nn.Module):
    """Neighbouring pixels side by side, then channel by channel: a copy reads several pixels."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(32, 32, 3, padding=1, groups=32)

    def forward(self, x):
        return self.second(F.pixel_unshuffle(F.relu(self.first(x)), 2))


class AnyOrder(nn.Module):
    """Pictures beside and below each other, rolled, shuffled over more axes than three; zeros that
    are stored; what leaves is repeated, padded and rolled."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.third = nn.Conv2d(16, 7, 3)

    def forward(self, x):
        x = F.relu(self.first(x))
        wide = torch.cat([torch.cat([x, 2 * x], 3), torch.cat([x.roll(2, 3), x], 3)], 1)
        y = F.relu(self.second(wide))
        y = y.reshape(-1, 4, 2, 2, 6, 12).transpose(2, 4).reshape(-1, 16, 6, 12)
        y = F.max_pool2d(torch.cat([y[:, :8], F.pad(y[:, 8:, 1:], (0, 0, 0, 1))], 1), 2)
        y = self.third(y.roll((1, 2), (2, 3)))
        return F.pad(torch.cat([y, y.flip(1)], 1).roll(1, 3), (1, 0))


class Resized(nn.Module):
    """Bilinear by 2, to any size with corners, bicubic on a row; every mode of padding; pools whose
    windows differ in size; a dilated transposed convolution."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular")
        self.b = nn.Conv2d(6, 5, 3, padding=1)
        self.c = nn.ConvTranspose2d(6, 5, 2, dilation=3, padding=1)
        self.fc = nn.Linear(60, 7)

    def forward(self, x):
        x = F.relu(self.a(x))
        y = self.b(F.interpolate(x, scale_factor=2, mode="bilinear"))
        z = F.interpolate(self.c(x), size=(10, 12), mode="bilinear", align_corners=True)
        y = F.pad(F.relu(y + z), (1, 1, 2, 0), mode="reflect")
        y = F.max_pool2d(F.pad(y, (0, 1, 1, 0), value=float("-inf")), 3, 2)
        y = F.pad(F.adaptive_avg_pool2d(y, (5, 4)), (0, 1, 0, 1), value=0.75)
        return self.fc(F.adaptive_max_pool2d(y, (4, 3)).flatten(1))


class FoldedBatch(nn.Module):
    """A convolution over each picture and over each row of a sequence, the batch beside time and
    channels; time first; a shuffle over five axes, batch included."""

    def __init__(self):
        super().__init__()
        self.a, self.bn = nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.b = nn.Conv1d(1, 4, 3)
        self.rnn, self.fc = nn.GRU(12, 6), nn.Linear(6, 5)

    def forward(self, x):  # [N, 4, 2, 5, 6]
        pictures = F.relu(self.bn(self.a(x.flatten(0, 1))))
        n = pictures.shape[0]
        pairs = pictures.reshape(n * 4, 2, 30).permute(1, 0, 2).reshape(2, n, 4, 5, 6)
        seen = torch.cat([pairs[1], pairs[0]], 1).mean((2, 3)).unflatten(0, (-1, 4))
        rows = self.b(x.mean((2, 3)).reshape(-1, 1, 6)).amax(2).unflatten(0, (-1, 4))
        steps = torch.cat([seen, rows], 2).transpose(0, 1)
        states, _ = self.rnn(steps)
        return self.fc(torch.tanh(states.reshape(-1, 6))).unflatten(0, (4, -1)).transpose(0, 1)


class FirstStates(nn.Module):
    """Constant first states, a projected LSTM, a class token and coordinates beside data."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.linspace(-1, 1, 5).reshape(1, 1, 5))
        self.h = nn.Parameter(torch.linspace(0.5, -0.8, 3).reshape(1, 1, 3))
        self.c = nn.Parameter(torch.linspace(-0.4, 0.9, 7).reshape(1, 1, 7))
        self.lstm = nn.LSTM(5, 7, batch_first=True, proj_size=3)
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        n = x.shape[0]
        x = torch.cat([self.token.expand(n, -1, -1), x], 1)
        first = (self.h.expand(-1, n, -1).contiguous(), self.c.expand(-1, n, -1).contiguous())
        y, _ = self.lstm(x, first)
        places = torch.linspace(-1, 1, 14).reshape(1, 7, 2).expand(n, -1, -1)
        return self.fc(F.relu(torch.cat([y, places], 2))).sum(1)


class NormOverBands(nn.Module):
    """BatchNorm over channels x bands of rows, behind a depthwise layer that pads and behind a
    strided one."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 6, 3, padding=1)
        self.b = nn.Conv2d(6, 6, (3, 1), padding=(1, 0), groups=6)
        self.c = nn.Conv2d(6, 5, 3, stride=(2, 1), padding=1)
        self.one, self.two = nn.BatchNorm2d(18), nn.BatchNorm2d(15)
        self.d = nn.Conv2d(5, 4, 3, padding=1)

    def forward(self, x):
        x = self.b(F.relu(self.a(x)))
        x = F.relu(self.one(x.reshape(-1, 18, 4, 5)).reshape(-1, 6, 12, 5))
        x = torch.sigmoid(self.two(self.c(x).reshape(-1, 15, 2, 5)).reshape(-1, 5, 6, 5))
        return self.d(x)


class Upsampled(nn.Module):
    """Uneven factors; BatchNorm behind the upsampling; the frame itself enlarged."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.bn = nn.BatchNorm2d(6)
        self.third = nn.Conv2d(6, 3, 3, stride=2)

    def forward(self, x):
        x = F.relu(self.first(F.interpolate(x, scale_factor=2)))
        x = F.relu(self.bn(F.interpolate(self.second(x), scale_factor=(1, 3))))
        return self.third(x)


class NarrowPictures(nn.Module):
    """Few channels: pixels of a row are computed side by side, also where they are added."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.same = nn.Conv2d(4, 4, 3, padding=1)
        self.wide = nn.Conv2d(4, 5, (3, 5), (1, 2), (0, 1))
        self.apart = nn.Conv2d(5, 3, 2, dilation=(2, 1))

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(x + self.same(x))
        return self.apart(F.relu(self.wide(x)))


class Probabilities(nn.Module):
    """log_softmax at the end, over the classes of each pixel, and seen in another shape."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)

    def forward(self, x):
        x = F.log_softmax(self.conv(x).permute(0, 2, 3, 1), dim=-1)
        return x.reshape(x.shape[0], -1, 5)


SHAPES: dict[str, tuple[int, ...]] = {
    "Mlp96": (96,),
    "OneChannelDepthwise": (1, 4, 11),
    "VggCeil": (3, 19, 17),
    "NegativeMax": (2, 8, 7),
    "Averages": (3, 13, 11),
    "SignedUnsignedAdd": (3, 9, 8),
    "UnalignedConcat": (3, 6, 8),
    "Grouped": (4, 9, 7),
    "Conv1dNet": (6, 21),
    "Normalised": (3, 8, 8),
    "NormBehind": (3, 19, 14),
    "Slices": (2, 6, 6),
    "FullyConvolutional": (1, 7, 12),
    "AddLast": (10,),
    "ConcatLast": (2, 4, 5),
    "FlatConcat": (2, 6, 6),
    "DepthwiseFirst": (5, 7, 6),
    "DeadChannels": (2, 8, 8),
    "PreActivation": (3, 7, 7),
    "TemporalResidual": (25, 10),
    "FrameMaximum": (20, 10),
    "Repeats": (3, 6, 5),
    "LanewiseLast": (3, 5, 4),
    "PerElement": (3, 8, 8),
    "LinearThenConv": (9,),
    "TwoHeads": (3, 7, 7),
    "FrameRows": (3, 9, 11),
    "FrameCrops": (3, 10, 12),
    "FrameFourWays": (3, 6, 7),
    "GroupedFrame": (6, 5, 9),
    "FrameTurned": (2, 7, 9),
    "OutOfOrder": (3, 6, 5),
    "FlatParts": (2, 6, 6),
    "EqualParts": (2, 4, 4),
    "StridedLast": (1, 9, 7),
}

# Transposed convolutions, nearest upsampling, pixel shuffle, and a softmax at the end.
SHAPES |= {
    "Decoder": (5, 4, 3),
    "DecoderOfLatents": (11, 1, 1),
    "DecoderOddSteps": (3, 4, 5),
    "DecoderOfGroups": (4, 4, 3),
    "DecoderOverTime": (4, 9),
    "UNet": (3, 6, 8),
    "PyramidOfFeatures": (3, 6, 8),
    "PixelShuffles": (3, 4, 5),
    "PixelsBecomeChannels": (3, 6, 6),
    "AnyOrder": (3, 6, 6),
    "Upsampled": (3, 5, 4),
    "Probabilities": (3, 6, 5),
    "NarrowPictures": (2, 7, 16),
}

# Networks with tables, products of two tensors (GATES) and time steps.
SMOOTH: dict[str, tuple[int, ...]] = {
    "SmoothActivations": (3, 14, 13),
    "AnyFunctions": (3, 9, 8),
    "SiluBlock": (3, 12, 10),
    "SqueezeExcite": (3, 9, 7),
    "TensorProducts": (3, 5, 6),
    "GatedLast": (21,),
    "SigmoidLast": (12,),
    "GruNet": (6, 7),
    "LstmNet": (5, 6),
    "RnnNet": (4, 5),
    "HandGru": (7, 6),
    "HandLstm": (5, 6),
    "ConvGru": (3, 2, 6, 5),
    "ConvThenGru": (2, 9, 4),
    "Resized": (3, 5, 6),
    "NormOverBands": (1, 12, 5),
    "FoldedBatch": (4, 2, 5, 6),
    "FirstStates": (6, 5),
}
SHAPES |= SMOOTH


class Between(nn.Module):
    """An activation between two layers."""

    def __init__(self, activation):
        super().__init__()
        self.a, self.activation, self.b = nn.Linear(5, 12), activation, nn.Linear(12, 3)

    def forward(self, x):
        return self.b(self.activation(self.a(x)))


def build(name: str, seed: int = 0) -> nn.Module:
    """A network with random weights and random BatchNorm statistics, in eval mode."""
    torch.manual_seed(seed)
    module: nn.Module = globals()[name]()
    for layer in module.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.uniform_(-0.5, 0.5)
            layer.running_var.uniform_(0.3, 2.0)
            if layer.affine:
                nn.init.uniform_(layer.weight, -1.5, 1.5)
                nn.init.uniform_(layer.bias, -0.5, 0.5)
    if name == "DeadChannels":
        with torch.no_grad():
            module.bn.weight[:4] = torch.tensor([0.0, 1e-30, 1e-12, 1e-6])
            module.bn.bias[:6] = torch.tensor([0.5, 0.0, 1.0, -2.0, -1e5, 30.0])
            module.conv.weight[6] = 0.0
    return module.eval()

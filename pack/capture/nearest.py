# SPDX-License-Identifier: Apache-2.0
"""For operators without a lowering: the nearest way to write the same with some that have one."""

from collections.abc import Iterable

LEAVE_OUT = "leave it out of forward()"
DEPENDS = "which elements it moves depends on data, and the core's addresses do not"
NORM = (
    "it divides by each sample's own spread; BatchNorm, whose statistics are constants, costs "
    "nothing, or write d = x - x.mean(dim, keepdim=True) and "
    "d / torch.sqrt((d * d).mean(dim, keepdim=True) + eps)"
)
SOFTMAX = (
    "at the end of forward() it is left out, as the logits keep their order; inside write "
    "e = torch.exp(x) and e / e.sum(dim, keepdim=True)"
)
THREE = "write it over two axes, with the third one among the channels"
ORDER = f"sorting depends on data: {LEAVE_OUT}, or take a maximum with amax"
FOURIER = "write a Linear or a Conv1d whose constant weights are cosines and sines"
COMPLEX = "write the real and the imaginary part as two tensors"


def _each(kinds: str, text: str) -> Iterable[tuple[str, str]]:
    return ((kind, text) for kind in kinds.split())


NEAREST: dict[str, str] = dict(
    [
        *_each("layer_norm native_layer_norm group_norm native_group_norm instance_norm", NORM),
        *_each("rms_norm _fused_rms_norm", NORM),
        *_each("local_response_norm", NORM),
        *_each("softmax log_softmax _softmax _log_softmax softmin", SOFTMAX),
        *_each(
            "argmax argmin topk",
            f"{LEAVE_OUT}: the core gives the index of the largest result, too",
        ),
        *_each("sort argsort msort median nanmedian quantile kthvalue mode unique2", ORDER),
        *_each("cummax cummin logcumsumexp", f"{ORDER} over slices"),
        ("cumsum", "write x @ torch.triu(torch.ones(n, n)), a Linear over the last axis"),
        ("cumprod", "write the products of slices with *"),
        ("prod", "write the product of its slices with *"),
        ("logsumexp", "write torch.log(torch.exp(x).sum(dim))"),
        *_each(
            "var std var_mean std_mean",
            "write d = x - x.mean(dim, keepdim=True) and (d * d).mean(dim), with torch.sqrt",
        ),
        *_each("norm linalg_vector_norm", "write torch.sqrt((x * x).sum(dim))"),
        *_each("any", "write x.float().amax(dim)"),
        *_each("all", "write x.float().amin(dim)"),
        *_each("count_nonzero", "write (x != 0).float().sum(dim)"),
        *_each("aminmax", "write amin and amax"),
        *_each("cosine_similarity", "write (a * b).sum(dim) / torch.sqrt(..) with sums of squares"),
        *_each("pairwise_distance cdist dist", "write torch.sqrt(((a - b) ** 2).sum(dim))"),
        *_each("dot inner vdot", "write (a * b).sum(dim)"),
        *_each("mv", "write x @ w with a constant matrix w of two axes"),
        *_each("bmm baddbmm outer kron tensordot", "only products with constant matrices have a "
               "nest; of two tensors of data write products with * and sums with sum(dim)"),
        ("bilinear", "write the Linear of one operand, times the other, and sum(dim)"),
        *_each("conv3d conv_transpose3d max_pool3d avg_pool3d max_pool3d_with_indices", THREE),
        *_each("adaptive_avg_pool3d adaptive_max_pool3d", THREE),
        *_each("lp_pool1d lp_pool2d", "write the power, an average pool and the root"),
        *_each("fractional_max_pool2d max_unpool2d max_unpool1d", DEPENDS),
        *_each("fold col2im", "write a transposed convolution with weights of ones and zeros"),
        *_each("upsample_nearest3d upsample_trilinear3d", THREE),
        *_each("grid_sampler grid_sampler_2d affine_grid_generator", DEPENDS),
        *_each(
            "embedding embedding_bag one_hot",
            "the row that it reads depends on data: look it up outside and give the network the "
            "vectors as its input",
        ),
        *_each("gather scatter scatter_add index_add take take_along_dim masked_select", DEPENDS),
        *_each("index_select repeat_interleave", DEPENDS),
        *_each("nonzero index_put index bincount histc searchsorted", DEPENDS),
        *_each("fft_fft fft_rfft fft_ifft fft_irfft fft_fft2 stft istft", FOURIER),
        *_each("real imag view_as_real view_as_complex complex angle polar conj", COMPLEX),
        ("diff", "write x[..., 1:] - x[..., :-1]"),
        *_each("diag trace", "write diagonal(), and sum(dim)"),
        *_each("cross linalg_cross", "write the products of its three components"),
        *_each("pow float_power", "write torch.exp(b * torch.log(a))"),
        ("atan2", "write torch.atan(a / b), where b is above zero"),
        ("hypot", "write torch.sqrt(a * a + b * b)"),
        *_each("fmod remainder", "write a - b * torch.floor(a / b)"),
        *_each("xlogy special_xlogy", "write a * torch.log(b)"),
        *_each("logaddexp logaddexp2", "write torch.log(torch.exp(a) + torch.exp(b))"),
        ("copysign", "write a.abs() * torch.sign(b)"),
        ("heaviside", "write (a > 0).float()"),
        *_each("logical_xor bitwise_xor __xor__", "write (a.float() - b.float()) ** 2"),
        *_each("cond while_loop scan", "the core has no branches: write both and choose by where"),
        *_each(
            "fake_quantize_per_channel_affine",
            "bramcast quantizes by itself; fake_quantize_per_tensor_affine is a table",
        ),
    ]
)  # fmt: skip
OTHERS = (
    "write it in convolutions and products with constant matrices, sums, means and maxima over "
    "axes, sums and products of two tensors, any function of single elements, and what only moves "
    "elements"
)


def nearest(kind: str) -> str:
    """What to write in place of an operator.

    >>> nearest("hypot")
    'write torch.sqrt(a * a + b * b)'
    """
    return NEAREST.get(kind, NEAREST.get(kind.rstrip("_"), OTHERS))

# SPDX-License-Identifier: Apache-2.0
"""What of ATen has a lowering of its own, by the names that people know: the docs follow.

A new operator is a handler in its file here, and its name in one of these records;
tests/unit/pack/capture/test_supported.py names what is then missing.
"""

from dataclasses import dataclass

from bramcast.pack.activations.table import TABLE as ACTIVATIONS


@dataclass(frozen=True, slots=True)
class Supported:
    """A layer, or a family of operators.

    Attributes:
        row: of README's table of what is supported.
        title: what README and docs/recipe.md call it.
        operators: ATen's names, without the underscore of those that work in place.
    """

    row: str
    title: str
    operators: tuple[str, ...]


TABLE = (
    Supported("layers", "Linear", ("linear", "matmul", "mm", "addmm")),
    Supported("layers", "einsum with a constant", ("einsum",)),
    Supported("layers", "Conv1d, Conv2d (any stride, dilation, padding mode, groups)",
              ("conv1d", "conv2d")),
    Supported("layers", "ConvTranspose1d, ConvTranspose2d",
              ("conv_transpose1d", "conv_transpose2d")),
    Supported("normalisation", "BatchNorm", ("batch_norm",)),
    *(Supported("activations", known.title, tuple(known.aten)) for known in ACTIVATIONS),
    Supported("activations", "GLU", ("glu",)),
    Supported("activations", "where", ("where", "masked_fill")),
    Supported("activations", "comparisons", (
        "gt", "ge", "lt", "le", "eq", "ne", "logical_and", "bitwise_and", "__and__", "logical_or",
        "bitwise_or", "__or__",
    )),
    Supported("pooling", "MaxPool", (
        "max_pool1d", "max_pool2d", "max_pool1d_with_indices", "max_pool2d_with_indices",
    )),
    Supported("pooling", "AvgPool", ("avg_pool1d", "avg_pool2d")),
    Supported("pooling", "adaptive pooling", (
        "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    )),
    Supported("pooling", "mean over axes", ("mean",)),
    Supported("pooling", "sum over axes", ("sum",)),
    Supported("pooling", "maximum over axes", ("amax", "max")),
    Supported("pooling", "minimum over axes", ("amin", "min")),
    Supported("structure", "add", ("add",)),
    Supported("structure", "sub", ("sub", "subtract", "rsub")),
    Supported("structure", "mul", ("mul",)),
    Supported("structure", "div", ("div", "divide", "true_divide")),
    Supported("structure", "maximum and minimum of two tensors", (
        "maximum", "minimum", "fmax", "fmin",
    )),
    Supported("structure", "lerp", ("lerp",)),
    Supported("structure", "addcmul", ("addcmul", "addcdiv")),
    Supported("normalisation", "constant scale and offset", ("neg",)),
    Supported("normalisation", "floor(x + 0.5)", ("floor", "ceil", "floor_divide", "round")),
    Supported("recurrent", "GRU", ("gru", "gru_cell")),
    Supported("recurrent", "LSTM", ("lstm", "lstm_cell")),
    Supported("recurrent", "RNN", ("rnn_tanh", "rnn_relu", "rnn_tanh_cell", "rnn_relu_cell")),
    Supported("structure", "cat", (
        "cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack",
    )),
    Supported("structure", "reshape", (
        "reshape", "view", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze",
        "contiguous", "clone", "alias", "detach", "to", "_to_copy", "type_as",
        "lift_fresh", "lift_fresh_copy", "ravel", "view_as", "reshape_as",
    )),
    Supported("structure", "permute", (
        "permute", "transpose", "t", "movedim", "swapaxes", "swapdims", "flip", "roll",
        "numpy_T", "adjoint", "rot90", "fliplr", "flipud",
    )),
    Supported("structure", "slice", (
        "slice", "select", "narrow", "chunk", "split", "split_with_sizes", "unbind",
        "unsafe_split", "tensor_split", "hsplit", "vsplit", "diagonal", "tril", "triu",
    )),
    Supported("structure", "index lists", (
        "index", "index_select", "gather", "take_along_dim", "repeat_interleave",
    )),
    Supported("structure", "unfold", ("unfold", "im2col")),
    Supported("structure", "repeat", (
        "repeat", "tile", "expand", "expand_as", "broadcast_to",
    )),
    Supported("structure", "padding (constant, reflect, replicate, circular)", (
        "pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d",
        "replication_pad2d", "_pad_circular",
    )),
    Supported("structure", "pixel_shuffle", ("pixel_shuffle", "pixel_unshuffle")),
    Supported("structure", "channel_shuffle", (
        "channel_shuffle", "native_channel_shuffle",
    )),
    Supported("structure", "nearest, linear, bilinear and bicubic interpolation", (
        "upsample_nearest1d", "upsample_nearest2d",
        "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "upsample_linear1d",
        "upsample_bilinear2d", "upsample_bicubic2d",
    )),
    Supported("structure", "Dropout", ("dropout", "feature_dropout", "alpha_dropout")),
    Supported("structure", "softmax at the end", (
        "softmax", "log_softmax", "_softmax", "_log_softmax",
    )),
)  # fmt: skip

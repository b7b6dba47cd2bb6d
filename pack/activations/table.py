# SPDX-License-Identifier: Apache-2.0
"""The activations that networks have: one table for capture, ONNX, the recipe and the docs.

A new one is an entry here, and a formula in formulas.py where none makes it up;
tests/unit/pack/capture/test_supported.py names what is then missing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

Limits = tuple[float, float]  # what is clipped to: it becomes a nest's clamp
Steps = tuple[tuple[str, tuple[float, ...]], ...]  # formulas with their parameters, in order


@dataclass(frozen=True, slots=True)
class Onnx:
    """An operator of ONNX.

    Attributes:
        function: of torch.nn.functional, called with the data and ``attributes``, which have these
            defaults; "" where read/onnx_operators.py has code of its own.
    """

    operator: str
    function: str = ""
    attributes: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """An activation.

    Attributes:
        title: what refusals and docs call it.
        does: of the values of an operator's arguments, what the core computes; None where
            capture/elementwise.py has a handler of its own.
        aten: the operators of ATen, each with its arguments that ``does`` takes.
        module: its class in torch.nn ("": none).
        recipe: what ``model.activations`` calls it between the layers of a bare checkpoint, where
            ``module`` has its default arguments ("": it can't stand there).
        onnx: its operators in ONNX.
    """

    title: str
    does: Callable[..., Limits | Steps] | None
    aten: Mapping[str, tuple[str, ...]]
    module: str = ""
    recipe: str = ""
    onnx: tuple[Onnx, ...] = field(default=())


def _formula(name: str) -> Callable[..., Steps]:
    """The formula of that name with the operator's arguments as its parameters."""

    def does(*parameters: float) -> Steps:
        return ((name, tuple(float(p) for p in parameters)),)

    return does


def _gelu(approximate: str) -> Steps:
    return (("gelu_tanh" if approximate == "tanh" else "gelu", ()),)


def _celu(alpha: Any) -> Steps:
    return (("elu", (float(alpha), 1.0, 1.0 / float(alpha))),)


CLAMPS = (
    Entry("ReLU", lambda: (0.0, inf), {"relu": ()}, "ReLU", "relu", (Onnx("Relu", "relu"),)),
    Entry("ReLU6", lambda: (0.0, 6.0), {"relu6": ()}, "ReLU6", "relu6"),
    Entry("Hardtanh", lambda lo, hi: (float(lo), float(hi)), {"hardtanh": ("min_val", "max_val")},
          "Hardtanh", "hardtanh"),
    Entry("clamp", None, {"clamp": (), "clip": (), "clamp_min": (), "clamp_max": ()},
          onnx=(Onnx("Clip"),)),
)  # fmt: skip
SMOOTH = (
    Entry("sigmoid", _formula("sigmoid"), {"sigmoid": ()}, "Sigmoid", "sigmoid",
          (Onnx("Sigmoid", "sigmoid"),)),
    Entry("tanh", _formula("tanh"), {"tanh": ()}, "Tanh", "tanh", (Onnx("Tanh", "tanh"),)),
    Entry("SiLU", _formula("silu"), {"silu": ()}, "SiLU", "silu", (Onnx("Swish"),)),
    Entry("GELU", _gelu, {"gelu": ("approximate",)}, "GELU", "gelu", (Onnx("Gelu"),)),
    Entry("LeakyReLU", _formula("leaky_relu"), {"leaky_relu": ("negative_slope",)}, "LeakyReLU",
          "leaky_relu", (Onnx("LeakyRelu", "leaky_relu", (("alpha", 0.01),)),)),
    Entry("Hardswish", _formula("hardswish"), {"hardswish": ()}, "Hardswish", "hardswish",
          (Onnx("HardSwish", "hardswish"),)),
    Entry("Hardsigmoid", _formula("hardsigmoid"), {"hardsigmoid": ()}, "Hardsigmoid",
          "hardsigmoid", (Onnx("HardSigmoid"),)),
    Entry("ELU", _formula("elu"), {"elu": ("alpha", "scale", "input_scale")}, "ELU", "elu",
          (Onnx("Elu", "elu", (("alpha", 1.0),)),)),
    Entry("SELU", lambda: (("elu", (1.6732632423543772, 1.0507009873554805)),), {"selu": ()},
          "SELU", onnx=(Onnx("Selu"),)),
    Entry("CELU", _celu, {"celu": ("alpha",)}, "CELU",
          onnx=(Onnx("Celu", "celu", (("alpha", 1.0),)),)),
    Entry("Softplus", _formula("softplus"), {"softplus": ("beta", "threshold")}, "Softplus",
          onnx=(Onnx("Softplus", "softplus"),)),
    Entry("LogSigmoid", lambda: (("scale", (-1.0, 0.0)), ("softplus", ()), ("scale", (-1.0, 0.0))),
          {"log_sigmoid": ()}, "LogSigmoid"),
    Entry("Mish", _formula("mish"), {"mish": ()}, "Mish", onnx=(Onnx("Mish", "mish"),)),
    Entry("PReLU", None, {"prelu": ()}, "PReLU", onnx=(Onnx("PRelu"),)),
)  # fmt: skip
TABLE = (*CLAMPS, *SMOOTH)

# What model.activations may be, with the class of torch.nn that it stands for.
BETWEEN = {"none": "Identity"} | {known.recipe: known.module for known in TABLE if known.recipe}

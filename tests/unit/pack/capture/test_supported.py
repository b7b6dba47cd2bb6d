# SPDX-License-Identifier: Apache-2.0
"""One table of the layers that are supported, and one of activations: what an entry still lacks.

To add a layer or an activation, write the entry, and do what these tests say.
"""

import re
from dataclasses import replace

import networks
import numpy as np
import pytest
import torch
from support import ROOT
from torch import nn

from bramcast.pack.activations import table as activations
from bramcast.pack.activations.formulas import FORMULAS
from bramcast.pack.activations.table import Entry, Onnx
from bramcast.pack.capture import supported
from bramcast.pack.capture.capture import HANDLERS, SOFTMAX, capture
from bramcast.pack.capture.moves import INDEXED, MOVES, PADS, PASS
from bramcast.pack.capture.nearest import NEAREST
from bramcast.pack.capture.recurrent import RECURRENT
from bramcast.pack.capture.supported import Supported
from bramcast.pack.passes.fold import fold
from bramcast.pack.read.onnx_operators import OPERATORS
from bramcast.pack.run.execute import input_tensor, output_array, real_compute, run

README = (ROOT / "README.md").read_text()
RECIPE_PAGE = (ROOT / "docs" / "recipe.md").read_text()
# What capture can do something with. An operator that works in place ends in an underscore.
HANDLED = {
    kind if kind.endswith("__") else kind.rstrip("_")
    for kind in (*HANDLERS, *RECURRENT, *MOVES, *PADS, *PASS, *SOFTMAX)
}
FOLDING = {"clamp", "scale", "round", "round_even", "reciprocal"}  # that folding and capture make


def has(text, title):
    """Whether a text has a title, as whole words and without what it says in brackets."""
    words = re.escape(re.sub(r" \([^)]*\)$", "", title))
    return re.search(rf"(?<![\w.]){words}(?!\w)", text, re.IGNORECASE) is not None


def row(text, name):
    """The line of a table whose first cell is ``name``; "" if there is none."""
    return next((line for line in text.splitlines() if line.startswith(f"| {name} |")), "")


def nests():
    """The part of docs/recipe.md that says what layers become."""
    return RECIPE_PAGE.split("## From layers to nests")[1].split("## Formats")[0]


def lacks_of_layer(layer):
    """What an entry of pack/capture/supported.py still needs."""
    if not layer.operators:
        yield "pack/capture/supported.py: an operator of ATen"
    for name in layer.operators:
        if not hasattr(torch.ops.aten, name):
            yield f"torch: aten::{name} (no such operator; what does torch.export call it?)"
        if name not in HANDLED:
            yield f"pack/capture: a handler for aten::{name}"
    if not row(README, layer.row):
        yield f"README.md: a row {layer.row!r} in the table of what is supported"
    elif not has(row(README, layer.row), layer.title):
        yield f"README.md: {layer.title!r} in the row {layer.row!r} of what is supported"
    if not has(nests(), layer.title):
        yield f"docs/recipe.md: {layer.title!r} under 'From layers to nests'"


def lacks_of_activation(known):
    """What an entry of pack/activations/table.py still needs."""
    for name, arguments in known.aten.items():
        overloads = getattr(torch.ops.aten, name, None)
        if overloads is None:
            continue  # said of the layer
        schema = [a.name for a in getattr(overloads, overloads.overloads()[0])._schema.arguments]
        for argument in (name for name in arguments if name not in schema):
            yield f"torch: {argument} of aten::{name} (its arguments are {', '.join(schema)})"
    if known.module and not hasattr(nn, known.module):
        yield f"torch: a class torch.nn.{known.module}"
    if known.recipe and not known.module:
        yield f"pack/activations/table.py: the module that {known.recipe} stands for"
    if known.recipe and not has(row(RECIPE_PAGE, "`model.activations`"), known.recipe):
        yield f"docs/recipe.md: {known.recipe} in the row `model.activations`"
    if known.module and known.does:
        for name in used(known) - FORMULAS.keys():
            yield f"pack/activations/formulas.py: a formula {name!r}"
    for operator in known.onnx:
        if operator.operator not in OPERATORS:
            yield f"pack/read/onnx_operators.py: a function for ONNX's {operator.operator}"
        if not has(RECIPE_PAGE.split("**ONNX.**")[1].split("\n\n")[0], operator.operator):
            yield f"docs/recipe.md: {operator.operator} among the operators of ONNX"


def used(known):
    """The formulas that an activation is made of, with one for each argument."""
    (arguments,) = {len(names) for names in known.aten.values()}
    made = known.does(*[1.0] * arguments)
    return set() if isinstance(made[0], float) else {name for name, _ in made}


@pytest.mark.parametrize("layer", supported.TABLE, ids=lambda s: s.title)
def test_a_layer_is_wherever_it_must_be(layer):
    assert "\n".join(lacks_of_layer(layer)) == ""


@pytest.mark.parametrize("known", activations.TABLE, ids=lambda k: k.title)
def test_an_activation_is_wherever_it_must_be(known):
    assert "\n".join(lacks_of_activation(known)) == ""


def test_every_operator_with_a_handler_is_one_of_a_layer():
    listed = [name for layer in supported.TABLE for name in layer.operators]
    assert set(listed) == HANDLED and len(set(listed)) == len(listed)
    spelled = {"softmax", "log_softmax", "_softmax", "_log_softmax", "pow", *INDEXED}
    assert not (set(listed) - spelled) & NEAREST.keys()


def test_every_formula_is_one_of_an_activation():
    made = {name for known in activations.TABLE if known.does for name in used(known)}
    gelu = next(k for k in activations.TABLE if k.title == "GELU")
    made |= {name for name, _ in gelu.does("tanh")}
    assert made | FOLDING == FORMULAS.keys()


def test_what_a_new_layer_lacks_is_named():
    new = Supported("sorting", "Bitonic sort", ("sort", "bitonic"))
    assert list(lacks_of_layer(new)) == [
        "pack/capture: a handler for aten::sort",
        "torch: aten::bitonic (no such operator; what does torch.export call it?)",
        "pack/capture: a handler for aten::bitonic",
        "README.md: a row 'sorting' in the table of what is supported",
        "docs/recipe.md: 'Bitonic sort' under 'From layers to nests'",
    ]
    new = replace(new, row="structure", operators=())
    assert list(lacks_of_layer(new))[:2] == [
        "pack/capture/supported.py: an operator of ATen",
        "README.md: 'Bitonic sort' in the row 'structure' of what is supported",
    ]


def test_what_a_new_activation_lacks_is_named():
    new = Entry("Wave", lambda width: (("wave", (width,)),), {"hardshrink": ("width",)}, "Wave",
                "wave", (Onnx("Wave"),))  # fmt: skip
    assert list(lacks_of_activation(new)) == [
        "torch: width of aten::hardshrink (its arguments are self, lambd)",
        "torch: a class torch.nn.Wave",
        "docs/recipe.md: wave in the row `model.activations`",
        "pack/activations/formulas.py: a formula 'wave'",
        "pack/read/onnx_operators.py: a function for ONNX's Wave",
        "docs/recipe.md: Wave among the operators of ONNX",
    ]
    assert list(lacks_of_activation(replace(new, module="", onnx=(), aten={})))[:1] == [
        "pack/activations/table.py: the module that wave stands for"
    ]


# --- what the entries say is what PyTorch does -------------------------------------------------

MODULES = [known for known in activations.TABLE if known.module]


def captured(known):
    torch.manual_seed(1)
    module = networks.Between(getattr(nn, known.module)()).eval()
    return module, fold(capture(module, (5,), "net"))


@pytest.mark.parametrize("known", MODULES, ids=lambda k: k.title)
def test_a_module_becomes_what_pytorch_computes(known):
    module, graph = captured(known)
    assert [op.label for op in graph.ops] == ["Linear", "Linear"]
    x = 4 * np.random.default_rng(0).normal(size=(50, 5))
    with torch.no_grad():
        want = module(torch.from_numpy(x).float()).numpy()
    *_, last = run(graph, input_tensor(graph, x), real_compute)
    assert np.abs(output_array(graph, [last.result]) - want).max() < 1e-5


@pytest.mark.parametrize("known", [k for k in MODULES if k in activations.SMOOTH],
                         ids=lambda k: k.title)  # fmt: skip
def test_a_table_sees_a_function_within_its_bounds(known):
    activation = captured(known)[1].ops[0].activation
    values = np.random.default_rng(0).uniform(-40, 40, 400_000)
    results, (least, largest) = activation.apply(values), activation.bounds
    assert least - 1e-4 <= results.min() and results.max() <= largest + 1e-4
    with torch.no_grad():
        want = getattr(nn, known.module)().double()(torch.from_numpy(values)).numpy()
    assert np.abs(results - want).max() < 1e-6
    assert np.allclose(results, activation.apply(torch.from_numpy(values), torch), atol=1e-9)

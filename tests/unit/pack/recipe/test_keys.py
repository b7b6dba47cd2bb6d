# SPDX-License-Identifier: Apache-2.0
"""Every key of a recipe: its line in docs/recipe.md, its way through TOML, who reads it, its tests.

To add a key, write the field, and do what these tests say.
"""

import ast
import json
import re
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import pytest
from support import ROOT

from bramcast.pack.recipe.recipe import (
    PATHS,
    SECTIONS,
    LayerSection,
    ModelSection,
    OutputLimits,
    QuantizeSection,
    defaults,
    read_recipe,
)
from bramcast.pack.recipe.text import recipe_text

PAGE = (ROOT / "docs" / "recipe.md").read_text()
LAYER = 'quantize.layers."NAME"'
OUTPUT = 'regress.outputs."NAME"'
# A value other than the default, as a recipe has it, with what it takes beside it.
SAMPLES = {
    "model.inputs": '"x.npz"',
    "model.python": '"model.py:Net"\nmodel.checkpoint = "net.pth"',
    "model.checkpoint": '"net.pth"',
    "model.onnx": '"net.onnx"',
    "model.exported": '"net.pt2"',
    "model.state": '"ema.module"\nmodel.checkpoint = "net.pth"',
    "model.activations": '"tanh"\nmodel.checkpoint = "net.pth"',
    "model.name": '"net ü"',
    "model.shrink": "true",
    "quantize.weight_bits": None,  # has one value so far
    "quantize.activation_bits": "16",
    "quantize.input_planes": "2",
    "quantize.input": '"Q7.0"',
    "quantize.plane_shift": '4\nquantize.input = "Q7.0"\nquantize.input_planes = 2',
    "quantize.input_exponents": "[0, -3, 30]",
    "quantize.input_offsets": "[300.0, -0.25]",
    "quantize.refine": "false",
    "quantize.calibration": '"max"',
    "quantize.percentile": '99.5\nquantize.calibration = "percentile"',
    "quantize.weight_formats": '"tensor"',
    f"{LAYER}.weight_bits": "4",
    f"{LAYER}.weight": '"Q1.6"',
    f"{LAYER}.weight_frac": "[6, 7]",
    f"{LAYER}.output": '"UQ4.4"',
    f"{LAYER}.table_input": '"Q3.4"',
    f"{LAYER}.copies": "9",
    "core.lanes": "8",
    "core.taps": "4",
    "core.rq": "1",
    "core.narrow": "true",
    "core.gates": "false",
    "core.tiles": "4",
    "core.pairs": "true\ncore.tiles = 2",
    "core.program_depth": "96",
    "core.weights_depth": '"auto"',
    "core.bias_depth": "77",
    "core.table_depth": "512",
    "core.scratch_depth": "1000",
    "images.formats": '["mif"]',
    "images.bank_bits": "32",
    "images.pad_depth": '"power of two"',
    "regress.max_accuracy_loss": "1.5",
    "regress.max_doubt": "0.0",
    "regress.max_class_loss": "3.0",
    "regress.min_agreement": "98.0",
    "regress.max_error_growth": "7.5",
    "regress.max_saturation": "1.0",
    "regress.min_snr": "20.0",
    "regress.accept": '"repack"',
    f"{OUTPUT}.min_agreement": "95.0",
    f"{OUTPUT}.min_alike": "25.0",
    f"{OUTPUT}.min_snr": "18.0",
    "pack.min_snr": "30.0",
    "pack.min_agreement": "99.0",
    "pack.max_accuracy_loss": "0.25",
}
# Of [model], what is text but no path by itself.
NO_PATHS = {"python", "state", "activations", "name"}
# Of [quantize], what does not come from samples: ``regress`` need not hold the old bundle's.
AS_GIVEN = {
    "weight_bits", "activation_bits", "refine", "calibration", "percentile", "weight_formats",
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """A key of a section, ``default`` as a recipe without it has it."""

    section: str
    name: str
    type: Any
    default: Any

    @property
    def dotted(self):
        return f"{self.section}.{self.name}"

    @property
    def choices(self):
        """The texts that it may be."""
        return [choice for choice in _leaves(self.type) if isinstance(choice, str)]


def _leaves(kind):
    below = get_args(kind)
    return [leaf for part in below for leaf in _leaves(part)] if below else [kind]


def keys_of(section, kind):
    without = defaults(kind)
    for field in fields(kind):
        if field.name not in ("layers", "outputs"):
            yield Key(section, field.name, field.type, getattr(without, field.name))


KEYS = [key for name, kind in SECTIONS.items() for key in keys_of(name, kind)]
KEYS += [*keys_of(LAYER, LayerSection), *keys_of(OUTPUT, OutputLimits)]


def rows():
    """The table of docs/recipe.md: (default, meaning) of each key by its dotted name."""
    table = PAGE.split("| --- | --- | --- |\n")[1].split("\n\n")[0]
    found = {}
    for line in table.splitlines():
        names, default, meaning = re.fullmatch(r"\| (.*?) \| ?(.*?) ?\| (.*) \|", line).groups()
        listed = re.findall(r"`([^`]+)`", names)
        section = listed[0].rpartition(".")[0]
        for name in listed:
            found[name if "." in name else f"{section}.{name}"] = (default.strip("`"), meaning)
    return found


ROWS = rows()


def attributes():
    """Names of attributes that the code beside pack/recipe reads."""
    files = [p for folder in ("pack", "sim", "cli") for p in (ROOT / folder).rglob("*.py")]
    trees = (ast.walk(ast.parse(p.read_text())) for p in files if p.parent.name != "recipe")
    return {node.attr for tree in trees for node in tree if isinstance(node, ast.Attribute)}


READ = attributes()
DEFAULT_DEPTHS = {f"{m}_depth" for m in ("program", "weights", "bias", "table", "scratch")}
TESTS = "\n".join(p.read_text() for p in (ROOT / "tests").rglob("*.py") if p.name != "test_keys.py")


def held():
    """Keys of [quantize] for which ``regress`` takes the old bundle's value."""
    tree = ast.parse((ROOT / "sim" / "regress" / "candidates.py").read_text())
    (function,) = [n for n in tree.body if getattr(n, "name", "") == "with_formats"]
    calls = [n for n in ast.walk(function) if isinstance(n, ast.Call) and n.args]
    (call,) = [c for c in calls if ast.unparse(c.args[0]) == "recipe.quantize" and c.keywords]
    return {keyword.arg for keyword in call.keywords}


def as_json(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def lacks(key):
    """What a key still needs."""
    if key.dotted not in ROWS:
        yield f"docs/recipe.md: a row `{key.dotted}`"
    else:
        default, meaning = ROWS[key.dotted]
        want = list(key.default) if isinstance(key.default, tuple) else key.default
        if want not in (None, "") and as_json(default) != want:
            yield f"docs/recipe.md: `{key.dotted}` has the default {json.dumps(want)}"
        for choice in key.choices:
            if choice not in meaning and choice != want:
                yield f"docs/recipe.md: the row `{key.dotted}` says what {choice!r} is"
    if key.dotted not in SAMPLES:
        yield f"test_keys.py: a value of {key.dotted} among the SAMPLES"
    if key.name not in READ | DEFAULT_DEPTHS:
        yield f"pack, sim or cli: code that reads .{key.name}"
    if not re.search(rf"\b{key.name}\b", TESTS):
        yield f"tests: one that gives {key.name}"
    if key.section == "model" and str in _leaves(key.type) and key.name not in {*PATHS, *NO_PATHS}:
        yield f"pack/recipe/recipe.py: {key.name} among the PATHS (or here among NO_PATHS)"
    if key.section == "quantize" and key.name not in held() | AS_GIVEN:
        yield f"sim/regress/candidates.py: with_formats holds {key.name} (or it is AS_GIVEN here)"


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.dotted)
def test_a_key_is_wherever_it_must_be(key):
    assert "\n".join(lacks(key)) == ""


def test_the_page_has_no_other_keys():
    assert ROWS.keys() == {key.dotted for key in KEYS} == SAMPLES.keys()
    assert {key.name for key in KEYS if key.section == "model"} >= {*PATHS, *NO_PATHS}
    assert not held() & AS_GIVEN and {f.name for f in fields(QuantizeSection)} == held() | AS_GIVEN


def test_what_a_new_key_lacks_is_named():
    new = Key("quantize", "dithering", str | None, "blue")
    assert list(lacks(new)) == [
        "docs/recipe.md: a row `quantize.dithering`",
        "test_keys.py: a value of quantize.dithering among the SAMPLES",
        "pack, sim or cli: code that reads .dithering",
        "tests: one that gives dithering",
        "sim/regress/candidates.py: with_formats holds dithering (or it is AS_GIVEN here)",
    ]
    new = Key("quantize", "calibration", QuantizeSection.__annotations__["calibration"], "least")
    assert list(lacks(new)) == [
        'docs/recipe.md: `quantize.calibration` has the default "least"',
    ]
    new = Key("quantize", "calibration", Literal["error", "entropy"], "error")
    assert list(lacks(new)) == [
        "docs/recipe.md: the row `quantize.calibration` says what 'entropy' is",
    ]
    new = Key("model", "weights", str | None, None)
    assert list(lacks(new))[-1] == (
        "pack/recipe/recipe.py: weights among the PATHS (or here among NO_PATHS)"
    )


@pytest.mark.parametrize("key", [k for k in KEYS if SAMPLES.get(k.dotted)], ids=lambda k: k.dotted)
def test_a_key_goes_through_toml(key, tmp_path):
    """As it was given: what is read is not the default, is written, and is read again."""
    text = f"{key.dotted} = {SAMPLES[key.dotted]}\n"
    if key.dotted != "model.inputs":
        text += 'model.inputs = "x.npz"\n'
    if not any(f"model.{source} " in text for source in ("checkpoint", "onnx", "exported")):
        text += 'model.onnx = "a.onnx"\n'
    path = tmp_path / "r.toml"
    path.write_text(text)
    read = read_recipe(path)
    named = {LAYER: read.quantize.layers, OUTPUT: read.regress.outputs}
    section = named[key.section]["NAME"] if key.section in named else getattr(read, key.section)
    assert getattr(section, key.name) != key.default
    written = recipe_text(read)
    assert f"{key.name} = {SAMPLES[key.dotted].splitlines()[0]}\n" in written
    path.write_text(written)
    assert read_recipe(path) == read


def test_defaults_are_not_written(tmp_path):
    (tmp_path / "r.toml").write_text('[model]\ninputs = "x.npz"\nonnx = "a.onnx"\n')
    text = recipe_text(read_recipe(tmp_path / "r.toml"))
    assert text == (tmp_path / "r.toml").read_text()
    assert isinstance(defaults(ModelSection), ModelSection)

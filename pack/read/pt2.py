# SPDX-License-Identifier: Apache-2.0
"""Reads a network that torch.export.save wrote (.pt2). Imports torch.

torch.export.load unpickles, evaluates expressions and resolves any name of torch that a file asks
for. So the archive is read here first, checked, and only what is harmless is handed on.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bramcast.pack.bundle.errors import CheckpointError, UnsupportedLayer, UserError
from bramcast.pack.read.checkpoint import check_values, first_line, readable

# Parts of an archive that describe one network; others (compiled code) are not read.
PARTS = re.compile(
    r"models/model\.json|data/(weights|constants)/[\w.]+|data/sample_inputs/model\.pt"
    r"|archive_format|archive_version|byteorder|version|\.data/[\w.]+"
)
OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims)\.\w+\.\w+"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|eq|ne|lt|le|gt|ge)"
)
# Sizes like Add(Symbol('s77', integer=True), Integer(1)): sympy evaluates them as Python, so only
# these words may stand there.
EXPRESSION = re.compile(
    r"(Symbol\('[su](?=\d)|'|[su](?=\d)|\d|(positive|nonnegative|integer|real)=|Integer|Add|Mul|Max|Min"
    r"|Mod|PythonMod|FloorDiv|CleanDiv|Eq|Ne|Le|Lt|Ge|Gt|True|False|[\s()+,<>/-]|\*(?!\*))*"
)
SHAPED = ("view", "reshape", "_unsafe_view", "expand", "view_copy", "expand_copy")


def load_exported(path: Path) -> nn.Module:
    """The network of a .pt2 file as a module that takes any batch.

    Raises:
        InputError: the file is missing.
        CheckpointError: damaged, not such an archive, or it asks for code that would have to run.
        UnsupportedLayer: operators other than ATen's, several inputs.
    """
    readable(path, "torch.export program")
    archive = _checked(path)
    try:
        program = torch.export.load(archive)
        module = program.module(check_guards=False)
    except Exception as error:  # whatever the deserializer meets
        raise CheckpointError(
            f"{path}: can't be read as a torch.export program ({first_line(error)}); write it with "
            "torch.export.save(torch.export.export(model.eval(), (x,)), FILE)"
        ) from None
    inputs = [node for node in program.graph.nodes if node.name in _user_inputs(program)]
    if not inputs:
        raise UnsupportedLayer(f"{path}: the network takes no input")
    module._forward_pre_hooks.clear()  # they hold the batch to that of the export
    setattr(module, "bramcast_inputs", [node.name for node in inputs])  # noqa: B010
    size = _leading(inputs[0].meta.get("val"))
    if isinstance(size, int):
        _free_batch(module, size)
    for name, value in module.state_dict().items():
        check_values(path, name, value)
    result: nn.Module = module
    return result


def _user_inputs(program: Any) -> set[str]:
    specs = program.graph_signature.input_specs
    return {s.arg.name for s in specs if s.kind.name == "USER_INPUT"}


def _leading(value: Any) -> Any:
    """The size of axis 0 of a node's value: an int where the export has fixed it."""
    shape = getattr(value, "shape", None)
    return shape[0] if shape is not None and len(shape) else None


def _free_batch(module: Any, size: int) -> None:
    """Shapes that begin with the batch for which a network was exported take any batch."""
    for node in module.graph.nodes:
        kind = getattr(node.target, "_opname", "")
        if node.op != "call_function" or kind not in SHAPED:
            continue
        value, source = node.meta.get("val"), node.args[0].meta.get("val")
        if _leading(value) == size and _leading(source) == size:
            node.args = (node.args[0], [-1, *value.shape[1:]], *node.args[2:])
    module.recompile()


def _checked(path: Path) -> io.BytesIO:
    """The archive with only what describes the network, after everything in it was checked."""
    result = io.BytesIO()
    try:
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(result, "w") as target:
            names = [name.partition("/")[2] for name in source.namelist()]
            if "archive_format" not in names or "models/model.json" not in names:
                raise CheckpointError(
                    f"{path}: not a torch.export archive of one network; write it with "
                    "torch.export.save (PyTorch 2.8 or newer)"
                )
            for info, name in zip(source.infolist(), names, strict=True):
                if PARTS.fullmatch(name):
                    target.writestr(f"archive/{name}", _harmless(path, name, source.read(info)))
                elif not name.startswith("extra/"):
                    raise CheckpointError(
                        f"{path}: {name} is not part of a network's description; write the file "
                        "with torch.export.save"
                    )
            if len(set(names)) != len(names):
                raise CheckpointError(f"{path}: holds a part twice")
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib and json raise many kinds
        raise CheckpointError(
            f"{path}: damaged, cut off or no .pt2 file ({first_line(error)}); write it with "
            "torch.export.save"
        ) from None
    result.seek(0)
    return result


def _harmless(path: Path, name: str, data: bytes) -> bytes:
    """A part of the archive, if reading it runs no code of the file's author."""
    if name.endswith(".pt"):
        try:
            torch.load(io.BytesIO(data), weights_only=True)
        except Exception as error:
            raise CheckpointError(f"{path}: {name} would run code ({first_line(error)})") from None
    if not name.endswith(".json"):
        return data
    tree = json.loads(data)
    for key, value in _entries(tree):
        if key == "use_pickle" and value is not False:
            raise CheckpointError(
                f"{path}: {name} holds pickled objects, which bramcast never unpickles; export a "
                "network whose parameters are plain tensors"
            )
        if key == "expr_str" and not EXPRESSION.fullmatch(str(value)):
            raise CheckpointError(f"{path}: {name} holds the expression {str(value)[:60]!r}")
        if key == "target" and isinstance(value, str) and not OPERATORS.fullmatch(value):
            raise UnsupportedLayer(
                f"{path}: operator {value[:80]!r} has no lowering: supported are programs of ATen "
                "operators as torch.export.export(model.eval(), ...) gives them"
            )
    if isinstance(tree, dict) and "guards_code" in tree:
        tree["guards_code"] = []
    return json.dumps(tree).encode()


def _entries(tree: Any) -> Iterator[tuple[str, Any]]:
    """Every key of every object in a JSON tree, with its value."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield from node.items()
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)

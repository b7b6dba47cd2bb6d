# SPDX-License-Identifier: Apache-2.0
"""Packages that only some calls need."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bramcast.pack.bundle.errors import ToolError


@contextmanager
def needed(what: str, package: str, extra: str) -> Iterator[None]:
    """Around the import of what needs a package.

    Args:
        what: needs it, in words.
        package: as it is imported.
        extra: of bramcast's, which brings it.

    Raises:
        ToolError: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        said = "PyTorch" if package == "torch" else "a package"
        raise ToolError(
            f"{what} needs {said}: pip install '.[{extra}]' in bramcast's checkout"
        ) from None


def onnx_needed() -> AbstractContextManager[None]:
    """Around the import of what reads ONNX; raises as ``needed`` does."""
    return needed("reading ONNX", "onnx", "onnx")


def torch_needed(what: str, file: str | Path | None = None) -> AbstractContextManager[None]:
    """Around the import of what needs PyTorch; raises as ``needed`` does.

    Args:
        file: what is read; for ONNX the extra is the one that brings both.
    """
    is_onnx = file is not None and Path(file).suffix.lower() == ".onnx"
    return needed(what, "torch", "onnx" if is_onnx else "torch")

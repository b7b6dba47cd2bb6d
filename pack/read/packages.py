# SPDX-License-Identifier: Apache-2.0
"""Packages that only some files need."""

from collections.abc import Iterator
from contextlib import contextmanager

from bramcast.pack.bundle.errors import ToolError


@contextmanager
def onnx_needed() -> Iterator[None]:
    """Around the import of what reads ONNX.

    Raises:
        ToolError: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ToolError(
            "reading ONNX needs a package: pip install '.[onnx]' in bramcast's checkout"
        ) from None

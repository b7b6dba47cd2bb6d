# SPDX-License-Identifier: Apache-2.0
"""Casts trained PyTorch networks into block-RAM images and proves the FPGA core on them.

Names come on demand: ``import bramcast`` itself loads nothing heavy (docs/python.md).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str

__all__ = ["__version__"]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("bramcast")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

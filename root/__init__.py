# SPDX-License-Identifier: Apache-2.0
"""Casts trained PyTorch networks into block-RAM images and proves the FPGA core on them.

    import bramcast

    bundle = bramcast.cast(model, x, y)     # an nn.Module, its samples and their labels
    bundle.predict(x)                       # what the FPGA will answer, bit for bit
    bundle.simulate(x[:2]).equal            # the HDL against it
    bundle.regress(retrained, x, y).verdict # a drop-in?

Names come on demand: ``import bramcast`` itself loads nothing heavy. docs/python.md has them all.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bramcast.api.bundle import Bundle
    from bramcast.api.casting import cast
    from bramcast.api.retraining import qat
    from bramcast.api.shapes import Fit, fit
    from bramcast.api.table import Table
    from bramcast.api.tensors import export, inspect, prune
    from bramcast.pack.bundle.errors import UserError

    __version__: str

__all__ = [
    "Bundle", "Fit", "Table", "UserError", "__version__", "cast", "export", "fit", "inspect",
    "prune", "qat",
]  # fmt: skip

_HOMES = {
    "Bundle": "bramcast.api.bundle",
    "Fit": "bramcast.api.shapes",
    "Table": "bramcast.api.table",
    "UserError": "bramcast.pack.bundle.errors",
    "cast": "bramcast.api.casting",
    "export": "bramcast.api.tensors",
    "fit": "bramcast.api.shapes",
    "inspect": "bramcast.api.tensors",
    "prune": "bramcast.api.tensors",
    "qat": "bramcast.api.retraining",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        from importlib import import_module

        found: object = getattr(import_module(_HOMES[name]), name)
    elif name == "__version__":
        from importlib.metadata import version

        found = version("bramcast")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

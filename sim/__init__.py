# SPDX-License-Identifier: Apache-2.0
"""Build and run the HDL with Icarus or Verilator, compare with golden, judge retrained images."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bramcast.sim.run.fast import rtl_predict

__all__ = ["rtl_predict"]


def __getattr__(name: str) -> object:
    # On demand, so that ``import bramcast.sim`` stays light.
    if name == "rtl_predict":
        from bramcast.sim.run.fast import rtl_predict

        return rtl_predict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

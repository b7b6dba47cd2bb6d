# SPDX-License-Identifier: Apache-2.0
"""What the documentation imports from here; it lives in bramcast.pack.axi.driver."""

from bramcast.pack.axi.driver import Driver

__all__ = ["Driver"]

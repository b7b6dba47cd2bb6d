# SPDX-License-Identifier: Apache-2.0
"""What the documentation imports from here; it lives in bramcast.pack.train.qat."""

from bramcast.pack.train.qat import Wrapped, load, wrap

__all__ = ["Wrapped", "load", "wrap"]

# SPDX-License-Identifier: Apache-2.0
"""What the documentation imports from here; it lives in bramcast.pack.look.inspect."""

from bramcast.pack.look.inspect import inspect

__all__ = ["inspect"]

# SPDX-License-Identifier: Apache-2.0
"""What the documentation imports from here; it lives in bramcast.pack.look.export."""

from bramcast.pack.look.export import export

__all__ = ["export"]

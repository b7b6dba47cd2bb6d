# SPDX-License-Identifier: Apache-2.0
"""What the documentation imports from here; it lives in bramcast.pack.train.prune."""

from bramcast.pack.train.prune import Goal, prune

__all__ = ["Goal", "prune"]

# SPDX-License-Identifier: Apache-2.0
"""What the documentation imports from here; it lives in bramcast.pack.bundle.manifest."""

from bramcast.pack.bundle.manifest import read_manifest

__all__ = ["read_manifest"]

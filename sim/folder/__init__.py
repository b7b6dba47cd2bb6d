# SPDX-License-Identifier: Apache-2.0
"""What ``bramcast hdl`` writes: a folder for vendors' tools."""

# SPDX-License-Identifier: Apache-2.0
"""How near the packed network comes to the float one, and what may bring it nearer.

Imports torch.
"""

# SPDX-License-Identifier: Apache-2.0
"""The core's registers on AXI4-Lite, and the drivers for them."""

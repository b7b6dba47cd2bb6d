# SPDX-License-Identifier: Apache-2.0
"""Parts of FPGA families, and where the core's memories lie in them."""

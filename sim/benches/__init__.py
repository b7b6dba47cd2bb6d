# SPDX-License-Identifier: Apache-2.0
"""cocotb testbenches; the simulator imports them."""

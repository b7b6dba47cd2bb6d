# SPDX-License-Identifier: Apache-2.0
"""The HTML page about a bundle."""

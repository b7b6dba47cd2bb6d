# SPDX-License-Identifier: Apache-2.0
"""A PyTorch module as a graph. Imports torch."""

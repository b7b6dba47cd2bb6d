# SPDX-License-Identifier: Apache-2.0
"""The graph: operations on stored tensors, the views through which they read, and what follows of
both.
"""

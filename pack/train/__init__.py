# SPDX-License-Identifier: Apache-2.0
"""What makes a network or its recipe better: retraining, pruning, narrower weights, advice. Imports
torch.
"""

# SPDX-License-Identifier: Apache-2.0
"""What ``import bramcast`` gives: the command line's verbs as calls, on modules and arrays."""

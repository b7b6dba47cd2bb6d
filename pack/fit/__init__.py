# SPDX-License-Identifier: Apache-2.0
"""Which shape of the core suits a network and a part."""

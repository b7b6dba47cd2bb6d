# SPDX-License-Identifier: Apache-2.0
"""``python -m bramcast`` is the command line ``bramcast``."""

from bramcast.cli import main

if __name__ == "__main__":
    main()

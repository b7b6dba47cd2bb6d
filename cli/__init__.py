# SPDX-License-Identifier: Apache-2.0
"""The command line: parse, call, print, exit code. No arithmetic here."""

import sys


def main() -> None:
    """Entry point of the program; Ctrl-C while it is still being loaded ends it without a word."""
    try:
        from bramcast.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


__all__ = ["main"]

"""The command line: parse, call, print, exit code. No arithmetic here."""

from bramcast.cli.app import main

__all__ = ["main"]

"""The command line: one file a command group, and nothing that computes.

Importing it is light; each command imports what it needs when it runs.
"""

from dmapsvc.cli.app import main

__all__ = ["main"]

"""`python -m kvd`, and the `kvd` command."""

from __future__ import annotations

import sys

from kvd.cli import main as run

__all__ = ["main"]


def main() -> None:
    """Run the command and end the process with its status."""
    sys.exit(run())


if __name__ == "__main__":
    main()

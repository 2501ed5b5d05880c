"""`numatune`, and `python -m numatune`: the command line, also where Ctrl-C comes while it is still being loaded."""

import sys


def main() -> int:
    """Run the command line; return its exit code."""
    try:
        from .cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("numatune: interrupted: nothing was begun\n")
        return 3
    return run()


if __name__ == "__main__":
    sys.exit(main())

"""`loafer-kit` and `python -m loafer_kit`: the command line, and its fast lane for health checks."""

import os
import sys

from loafer_kit.operations import probe


def main() -> None:
    """Run the command line; `health` without most imports, since it is asked every few seconds."""
    arguments = sys.argv[1:]
    is_probe = arguments in (["health"], ["health", "--live"], ["health", "--ready"])
    if is_probe and "_LOAFER_KIT_COMPLETE" not in os.environ:
        sys.exit(probe.main(arguments[1:]))
    from loafer_kit import cli

    cli.main()


if __name__ == "__main__":
    main()

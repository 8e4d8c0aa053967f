"""`python -m loafer_kit`: the same as the command `loafer-kit`."""

from loafer_kit.cli import main

main()

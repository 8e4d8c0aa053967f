"""Tells whoever waits what is being measured."""

import sys


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

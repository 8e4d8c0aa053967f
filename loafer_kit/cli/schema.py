"""`loafer-kit schema`: prints the JSON Schema of a spec file."""

from typing import Annotated

import typer

from loafer_kit.cli.terminal.output import say_json
from loafer_kit.scaffold.spec.schema import service


def schema(
    _json: Annotated[bool, typer.Option("--json", help="Print JSON: the default.")] = False,
) -> None:
    """Print the JSON Schema of a service's spec."""
    say_json(service())

"""`loafer-kit schema`: the JSON Schema of a spec file."""

from typing import Annotated

import typer

from loafer_kit.cli.printing import say_json


def schema(
    _json: Annotated[bool, typer.Option("--json", help="It is JSON in any case.")] = False,
) -> None:
    """Print the JSON Schema of a service's spec."""
    from loafer_kit.scaffold.spec.schema import service

    say_json(service())

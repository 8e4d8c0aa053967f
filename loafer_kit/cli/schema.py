"""`loafer-kit schema`: the JSON Schema of a spec file."""

from typing import Annotated

import typer


def schema(
    _json: Annotated[bool, typer.Option("--json", help="It is JSON in any case.")] = False,
) -> None:
    """Print the JSON Schema of a service's spec."""
    import json

    from loafer_kit.scaffold.schema import service

    typer.echo(json.dumps(service(), indent=2))

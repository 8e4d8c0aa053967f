"""`loafer-kit schema`: the JSON Schema of a spec file."""

import typer


def schema() -> None:
    """Print the JSON Schema of a service's spec."""
    import json

    from loafer_kit.scaffold.schema import service

    typer.echo(json.dumps(service(), indent=2))

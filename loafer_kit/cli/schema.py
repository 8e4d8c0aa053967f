"""`loafer-kit schema`: the JSON Schema of a spec file."""

from loafer_kit.cli.printing import say_json


def schema() -> None:
    """Print the JSON Schema of a service's spec."""
    from loafer_kit.scaffold.schema import service

    say_json(service())

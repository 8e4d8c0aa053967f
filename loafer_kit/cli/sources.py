"""Which source a new service's spec comes from: one of the flags that name one."""

from importlib import import_module
from pathlib import Path

import typer

from loafer_kit.cli.printing import say
from loafer_kit.cli.progress import waiting
from loafer_kit.scaffold.spec.specs import Draft

# Each flag's module in `loafer_kit.scaffold.sources`, whose `read` takes the flag's value.
_MODULES = {
    "--spec": "documents",
    "--asyncapi": "asyncapi.document",
    "--from-cloudformation": "cloudformation.document",
    "--from-sam": "cloudformation.document",
    "--from-terraform": "terraform.document",
    "--from-aws": "aws",
    "--source": "installed",
}


def read(
    values: dict[str, Path | str | None], endpoint_url: str | None, schemas: list[Path]
) -> Draft:
    """The draft of the one source that has a value, by its flag; an empty draft without any.

    The models of the schemas are added to it.
    """
    given = {flag: value for flag, value in values.items() if value is not None}
    if len(given) > 1:
        raise typer.BadParameter(f"{' and '.join(given)} exclude each other")
    if endpoint_url is not None and "--from-aws" not in given:
        raise typer.BadParameter("--endpoint-url goes with --from-aws")
    if "=" not in str(given.get("--source", "=")):
        raise typer.BadParameter(f"--source takes NAME=VALUE, not {given['--source']!r}")
    draft = Draft({})
    for flag, value in given.items():
        module = import_module(f"loafer_kit.scaffold.sources.{_MODULES[flag]}")
        options = {"endpoint_url": endpoint_url} if endpoint_url is not None else {}
        with waiting("reading the queues on AWS" if flag == "--from-aws" else f"reading {value}"):
            draft = module.read(value, **options)
    for path in schemas:
        from loafer_kit.scaffold.sources import json_schemas

        draft = json_schemas.add(draft, path)
    return draft


def show_notes(draft: Draft) -> None:
    """List what the source holds and the spec does not say."""
    if draft.notes:
        say(f"left out, of {draft.origin}:", err=True)
    for note in draft.notes:
        say(f"  {note}", err=True)

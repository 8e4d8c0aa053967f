"""`loafer-kit new …`: creates a project."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from loafer_kit.cli import writing
from loafer_kit.cli.terminal import completions, custom_templates
from loafer_kit.cli.terminal.options import Command, Force, Git, OutputDir, group, option_groups
from loafer_kit.cli.terminal.output import Terminal, is_interactive, say, waiting
from loafer_kit.scaffold.rendering import contexts
from loafer_kit.scaffold.sources import command_line
from loafer_kit.scaffold.spec import extensions, validation
from loafer_kit.scaffold.spec.specs import Draft

app = group("Create a project.")

# The module in `loafer_kit.scaffold.sources` whose `read` takes the option's value.
_READERS = {
    "spec": "documents",
    "asyncapi": "asyncapi",
    "from_cloudformation": "cloudformation",
    "from_sam": "cloudformation",
    "from_terraform": "terraform",
    "from_aws": "aws",
    "source": "command_line",
}
# The options that read what others describe, dead-letter queues among it.
_IMPORTS = frozenset(_READERS) - {"spec", "source"}


@dataclass(frozen=True, slots=True)
class _Sources:
    """The options that name a source of the spec, and those that complete it."""

    spec: Annotated[
        Path | None,
        typer.Option(
            help="Read the spec from a TOML, YAML or JSON file; it overrides what a document says."
        ),
    ] = None
    asyncapi: Annotated[
        Path | None, typer.Option(help="Read an AsyncAPI document: what its application receives.")
    ] = None
    from_cloudformation: Annotated[
        Path | None,
        typer.Option(help="Read the queues and subscriptions of a CloudFormation template."),
    ] = None
    from_sam: Annotated[
        Path | None,
        typer.Option(help="Read a SAM template: the same, and the events of its functions."),
    ] = None
    from_terraform: Annotated[
        Path | None,
        typer.Option(help="Read the output of `terraform show -json`, of state or plan."),
    ] = None
    from_aws: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX", help="Read the queues on AWS whose names start with PREFIX."
        ),
    ] = None
    json_schema: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>",
            help="Turn a JSON Schema into a model for a queue's `payload`; repeatable.",
        ),
    ] = None
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="QUEUE",
            help="Make a route for this dead-letter queue, too; repeatable.",
        ),
    ] = None
    endpoint_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The server that --from-aws asks instead of AWS."),
    ] = None
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=VALUE",
            autocompletion=completions.sources,
            help="Read an installed source; `loafer-kit templates` lists them.",
        ),
    ] = None

    def draft(self) -> Draft:
        """Read the given source and add the schemas' models; without a source, an empty draft."""
        given = [key for key in _READERS if getattr(self, key) is not None]
        documents = [key for key in given if key != "spec"]
        if len(documents) > 1:
            options = (f"--{key.replace('_', '-')}" for key in documents)
            raise typer.BadParameter(f"{' and '.join(options)} exclude each other")
        if self.endpoint_url is not None and self.from_aws is None:
            raise typer.BadParameter("--endpoint-url goes with --from-aws")
        if self.include and not _IMPORTS & set(given):
            raise typer.BadParameter("--include goes with --asyncapi or --from-…")
        if self.source is not None and "=" not in self.source:
            raise typer.BadParameter(f"--source takes NAME=VALUE, not {self.source!r}")
        draft = Draft({})
        for key in [*documents, *(["spec"] if "spec" in given else [])]:
            value = getattr(self, key)
            more: dict[str, Any] = {"include": self.include or []} if key in _IMPORTS else {}
            if self.endpoint_url is not None:
                more["endpoint_url"] = self.endpoint_url
            with waiting("reading the queues on AWS" if key == "from_aws" else f"reading {value}"):
                found = _source(_READERS[key]).read(value, **more)
            draft = command_line.override(draft, found.values) if draft.origin else found
        for path in self.json_schema or ():
            draft = _source("json_schemas").add(draft, path)
        return draft


def _source(name: str) -> Any:
    """The module of a source; each is imported when it is asked for."""
    return import_module(f"loafer_kit.scaffold.sources.{name}")


@app.command(cls=Command)
@option_groups
def service(
    name: Annotated[
        str | None, typer.Argument(help="The service's name; a dot stands for this folder.")
    ] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[,key=value]...",
            autocompletion=completions.settings,
            help="A queue, by name or URL, and its settings; repeatable.",
        ),
    ] = None,
    *,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=default]",
            help="An environment variable that names of queues contain as ${NAME}; repeatable.",
        ),
    ] = None,
    sources: _Sources,
    save_spec: Annotated[
        Path | None, typer.Option(help="Also write the spec to this TOML file.")
    ] = None,
    ship: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="ARTEFACT[,ARTEFACT]...",
            autocompletion=completions.artefacts,
            help="Add files that ship the service: ci, compose, cloudformation, sam, terraform, "
            "kubernetes, ecs, lambda, monitoring; repeatable.",
        ),
    ] = None,
    template: custom_templates.TemplateOptions,
    output_dir: OutputDir = Path(),
    show: writing.Show,
    force: Force = False,
    git: Git = False,
) -> None:
    """Create a service that handles the messages of its queues.

    On a terminal, the command asks for what is missing. `loafer-kit schema` lists a queue's
    settings. If a source holds something that a spec cannot express, a note on stderr says so.
    """
    in_place = name == "."
    if in_place:
        name = output_dir.resolve().name
    draft = command_line.merge(sources.draft(), name, queue or [])
    draft = command_line.declare(command_line.ship(draft, ship or []), parameter or [])
    ask = is_interactive() and not show.json
    generator = template.generator("service", ask=ask)
    if not (generator.takes_spec or draft.values.get("queues") or draft.problems):
        context = kept = {"name": name} if name else {}
        if save_spec is not None:
            raise typer.BadParameter("--save-spec goes with a template for services")
    else:
        if ask and not draft.problems:
            draft = command_line.complete(draft, Terminal())
        spec = validation.service(draft)
        context, kept = contexts.service(spec), None
        if spec.package != spec.name:
            show.tell(
                f"{spec.name} is the package {spec.package}: its folder and its imports have that name."
            )
    if draft.notes:
        say(f"left out, of {draft.origin}:", err=True)
    for note in draft.notes:
        say(f"  {note}", err=True)
    on_rabbitmq = context.get("on_rabbitmq")
    here, there = ("RabbitMQ", "your broker") if on_rabbitmq else ("a local SQS server", "AWS")
    writing.generate(
        generator,
        context,
        output_dir,
        in_place=in_place,
        command="new service",
        spec=kept,
        show=show,
        force=force,
        git=git,
        save_spec=save_spec,
        notes=list(map(str, draft.notes)),
        next_steps={
            "loafer-kit dev": f"run it on {here}",
            "python -m pytest": "run its tests",
            f"python -m {context.get('package')}": f"run it on {there}",
        },
    )


@app.command(cls=Command)
@option_groups
def extension(
    name: Annotated[
        str | None,
        typer.Argument(help="The extension's name, such as `redis`.", show_default=False),
    ] = None,
    *,
    setting: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=default", help="A setting and its default; repeatable."),
    ] = None,
    required: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A setting without a default; repeatable."),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(extensions.KINDS),
            help="What it adds: a connection, or also what an Application or a route reads from, or "
            "middleware.",
        ),
    ] = None,
    consumer: Annotated[
        bool, typer.Option("--consumer", help="The same as --like consumer.")
    ] = False,
    cli: Annotated[
        bool, typer.Option("--cli", help="Include commands for the command line.")
    ] = False,
    template: custom_templates.TemplateOptions,
    output_dir: OutputDir = Path(),
    show: writing.Show,
    force: Force = False,
    git: Git = False,
) -> None:
    """Create an extension that any service can use.

    Its settings get its prefix: with `--setting URL=x`, `redis` has the setting REDIS_URL.
    """
    if name is None and is_interactive() and not show.json:
        name = command_line.name_of_extension(Terminal())
    elif name is None:
        name = extensions.DEFAULT_NAME
        say(f"No name was given: the extension is named {name}.", err=show.json)
    context = extensions.extension(
        name, setting or [], required or [], like=like, consumer=consumer, cli=cli
    )
    writing.generate(
        template.generator("extension", ask=is_interactive() and not show.json),
        context,
        output_dir,
        command="new extension",
        spec={
            "name": name,
            "settings": setting or [],
            "required": required or [],
            "like": context["like"],
            "cli": cli,
        },
        show=show,
        force=force,
        git=git,
        next_steps={
            "pip install -e '.[dev]'": "make it importable",
            "python -m pytest": "run its tests",
        },
    )

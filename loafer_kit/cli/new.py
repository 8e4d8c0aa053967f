"""`loafer-kit new …`: write a project."""

from pathlib import Path
from typing import Annotated

import typer

from loafer_kit.cli import completions, custom_templates
from loafer_kit.cli.printing import say

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Write a project.")

With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="ARTEFACT[,ARTEFACT]...",
        autocompletion=completions.artefacts,
        help="What ships it: ci, compose, cloudformation, sam, terraform, kubernetes, ecs; "
        "may be given several times.",
    ),
]
OutputDir = Annotated[
    Path, typer.Option(help="The folder in which the project's own folder is made.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="List what would be written; exit code 2 if anything.")
]
Diff = Annotated[
    bool, typer.Option("--diff", help="Show what would be written as diffs, and write nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="Say it all in JSON, for machines.")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Write over the files of a folder that exists, edited or not."),
]

Git = Annotated[
    bool,
    typer.Option("--git", help="Begin a git repository in the project's folder, with a commit."),
]


@app.command()
def service(
    name: Annotated[str | None, typer.Argument(help="The service's name.")] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[,key=value]...",
            autocompletion=completions.settings,
            help="A queue, by name or URL, and its settings; may be given several times.",
        ),
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(help="A spec file (TOML, YAML or JSON) to begin from.")
    ] = None,
    *,
    asyncapi: Annotated[
        Path | None, typer.Option(help="An AsyncAPI document: what its application receives.")
    ] = None,
    from_cloudformation: Annotated[
        Path | None, typer.Option(help="A CloudFormation template: its queues and subscriptions.")
    ] = None,
    from_sam: Annotated[
        Path | None, typer.Option(help="A SAM template: the same, and the events of functions.")
    ] = None,
    from_terraform: Annotated[
        Path | None, typer.Option(help="The output of `terraform show -json`, of state or plan.")
    ] = None,
    from_aws: Annotated[
        str | None,
        typer.Option(metavar="PREFIX", help="The queues on AWS whose names begin so; reads only."),
    ] = None,
    json_schema: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="<path>",
            help="A JSON Schema whose object becomes a model for a queue's `payload`.",
        ),
    ] = None,
    endpoint_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where --from-aws asks, instead of AWS.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=VALUE",
            autocompletion=completions.sources,
            help="An installed source, as `loafer-kit templates` lists them.",
        ),
    ] = None,
    save_spec: Annotated[
        Path | None, typer.Option(help="Write the spec, however it was given, to this TOML file.")
    ] = None,
    ship: With = None,
    template: custom_templates.TemplateName = None,
    checkout: custom_templates.Checkout = None,
    directory: custom_templates.Directory = None,
    set_: custom_templates.Set = None,
    trust: custom_templates.Trust = False,
    output_dir: OutputDir = Path(),
    dry_run: DryRun = False,
    diff: Diff = False,
    json: Json = False,
    force: Force = False,
    git: Git = False,
) -> None:
    """Write a service that handles the messages of its queues.

    On a terminal it asks for what is not given. `loafer-kit schema` lists a queue's settings.
    What a source holds and a spec cannot say is listed on stderr.
    """
    from loafer_kit.cli import showing, sources, terminal, writing
    from loafer_kit.scaffold.rendering import contexts
    from loafer_kit.scaffold.sources import flags, questions
    from loafer_kit.scaffold.spec import validation

    draft = sources.read(
        {
            "--spec": spec,
            "--asyncapi": asyncapi,
            "--from-cloudformation": from_cloudformation,
            "--from-sam": from_sam,
            "--from-terraform": from_terraform,
            "--from-aws": from_aws,
            "--source": source,
        },
        endpoint_url,
        json_schema or [],
    )
    draft = flags.merge(draft, name, queue or [])
    draft = flags.ship(draft, ship or [])
    wanted = custom_templates.Wanted(template, checkout, directory, set_ or [], trust)
    ask = terminal.is_interactive() and not json
    maker = wanted.maker("service", ask=ask)
    if not (maker.takes_spec or draft.values.get("queues") or draft.problems):
        context = kept = {"name": name} if name else {}
        if save_spec is not None:
            raise typer.BadParameter("--save-spec goes with a template for services")
    else:
        if ask and not draft.problems:
            draft = questions.complete(draft, terminal.Terminal())
        context, kept = contexts.service(validation.service(draft)), None
    sources.show_notes(draft)
    writing.generate(
        maker,
        context,
        output_dir,
        command="new service",
        spec=kept,
        show=showing.Show(dry_run=dry_run, diff=diff, json=json),
        force=force,
        git=git,
        save_spec=save_spec,
        notes=list(map(str, draft.notes)),
        next_steps={
            "loafer-kit dev": "run it on a local SQS server",
            "python -m pytest": "run its tests",
            f"python -m {context.get('package')}": "run it on AWS",
        },
    )


@app.command()
def extension(
    name: Annotated[
        str | None, typer.Argument(help="The extension's name, as in `redis`.", show_default=False)
    ] = None,
    *,
    setting: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=default", help="A setting; may be given several times."),
    ] = None,
    required: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A setting that has no default; may be given several times."
        ),
    ] = None,
    consumer: Annotated[
        bool, typer.Option("--consumer", help="With a consumer for an Application.")
    ] = False,
    cli: Annotated[
        bool, typer.Option("--cli", help="With commands of its own for the command line.")
    ] = False,
    template: custom_templates.TemplateName = None,
    checkout: custom_templates.Checkout = None,
    directory: custom_templates.Directory = None,
    set_: custom_templates.Set = None,
    trust: custom_templates.Trust = False,
    output_dir: OutputDir = Path(),
    dry_run: DryRun = False,
    diff: Diff = False,
    json: Json = False,
    force: Force = False,
    git: Git = False,
) -> None:
    """Write an extension that any service can use.

    Its settings get its prefix: `--setting URL=x` of `redis` is REDIS_URL.
    """
    from loafer_kit.cli import showing, terminal, writing
    from loafer_kit.scaffold.sources import questions
    from loafer_kit.scaffold.spec import extensions

    if name is None and terminal.is_interactive() and not json:
        name = questions.name_of_extension(terminal.Terminal())
    elif name is None:
        name = extensions.DEFAULT_NAME
        say(f"No name was given: the extension is named {name}.", err=json)
    wanted = custom_templates.Wanted(template, checkout, directory, set_ or [], trust)
    spec = extensions.extension(name, setting or [], required or [], consumer=consumer, cli=cli)
    writing.generate(
        wanted.maker("extension", ask=terminal.is_interactive() and not json),
        extensions.context(spec),
        output_dir,
        command="new extension",
        spec={
            "name": name,
            "settings": setting or [],
            "required": required or [],
            "consumer": consumer,
            "cli": cli,
        },
        show=showing.Show(dry_run=dry_run, diff=diff, json=json),
        force=force,
        git=git,
        next_steps={
            "pip install -e '.[dev]'": "make it importable",
            "python -m pytest": "run its tests",
        },
    )

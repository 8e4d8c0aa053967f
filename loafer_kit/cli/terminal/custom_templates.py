"""The options that name a custom template, and the consent to run it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loafer_kit.cli.terminal import completions, output
from loafer_kit.cli.terminal.output import say, waiting
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import escape_line
from loafer_kit.scaffold.project import projects
from loafer_kit.scaffold.project.locks import Lock
from loafer_kit.scaffold.project.projects import Generator
from loafer_kit.scaffold.rendering import templates
from loafer_kit.scaffold.rendering.templates import Origin

if TYPE_CHECKING:
    from loafer_kit.scaffold.rendering.custom_templates import Code, CustomTemplate

Checkout = Annotated[
    str | None,
    typer.Option(
        "--checkout",
        metavar="REVISION",
        help="The branch, tag or commit of the template's repository.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Set a variable of the template; repeatable.",
    ),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Let the code of a custom template run without a question."),
]


@dataclass(frozen=True, slots=True)
class TemplateOptions:
    """The options about a custom template: a new project's, or that of an existing one."""

    reference: Annotated[
        str | None,
        typer.Option(
            "--template",
            metavar="TEMPLATE",
            autocompletion=completions.templates,
            help="A cookiecutter template: a folder, a zip file, a git repository, or the name of an "
            "installed one.",
        ),
    ] = None
    checkout: Checkout = None
    directory: Annotated[
        str | None,
        typer.Option("--directory", metavar="FOLDER", help="Where in TEMPLATE the template is."),
    ] = None
    settings: Set = None
    trust: Trust = False

    def generator(self, name: str, *, ask: bool) -> Generator:
        """The generator of a project of the kind `name`, by default with loafer-kit's template."""
        projects.refuse_missing_extra()
        if self.reference is None:
            self._refuse_options()
            return projects.builtin(name)
        settings = _answers(self.settings or ())
        origin = templates.named(self.reference, self.checkout, self.directory)
        return Generator(name, self._load(origin, Path()), settings, ask=ask)

    def generator_of(self, project: Path, lock: Lock | None) -> Generator:
        """The generator of an existing project, with these options."""
        projects.refuse_missing_extra()
        if lock is None or lock.template.origin is None:
            self._refuse_options()
        settings = _answers(self.settings or ())
        return projects.generator_of(
            project, lock, checkout=self.checkout, answers=settings, load=self._load
        )

    def _load(self, origin: Origin, base: Path) -> "CustomTemplate":
        """Fetch a template, where somebody can consent to it or has done so with `--trust`."""
        from loafer_kit.scaffold.rendering import custom_templates  # imports cookiecutter

        if not (self.trust or output.is_interactive()):
            raise ConfigurationError(
                f"{origin} is not a template of loafer-kit: its code runs only with --trust"
            )
        fetching = waiting(f"fetching the template {origin}")
        return custom_templates.load(origin, base, self._consent, fetching)

    def _consent(self, code: "Code") -> bool:
        """Show what a template would run; without `--trust` ask whether it may."""
        rows = {
            "origin": code.origin.reference,
            "directory": code.origin.directory,
            "revision": " ".join(filter(None, (code.origin.checkout, code.origin.commit))),
            "hooks": ", ".join(code.hooks) or "none",
            "extensions": ", ".join(code.extensions) or "none",
        }
        say("the template is code that runs with your rights:", err=True)
        for key, value in rows.items():
            if value:
                say(f"  {key:<10}  {escape_line(value)}", err=True)
        return self.trust or output.Terminal().confirm("Let it run?")

    def _refuse_options(self) -> None:
        given = {
            "--checkout": self.checkout,
            "--directory": self.directory,
            "--set": self.settings,
            "--trust": self.trust,
        }
        for flag, value in given.items():
            if value:
                raise typer.BadParameter(f"{flag} is for a custom template")


def _answers(settings: Sequence[str]) -> Mapping[str, str]:
    """The variables and their values, as they were typed."""
    given: dict[str, str] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--set takes NAME=VALUE, not {text!r}")
        if name in given:
            raise typer.BadParameter(f"--set gives {name} twice")
        given[name] = value
    return given

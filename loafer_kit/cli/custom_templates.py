"""The options that name a custom template, and the consent to run it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loafer_kit.cli import completions
from loafer_kit.cli.output import say, waiting
from loafer_kit.scaffold.escaping import escape_line

if TYPE_CHECKING:
    from loafer_kit.scaffold.project.locks import Lock
    from loafer_kit.scaffold.project.projects import Generator
    from loafer_kit.scaffold.rendering.custom_templates import Code, CustomTemplate
    from loafer_kit.scaffold.rendering.origins import Origin

TemplateName = Annotated[
    str | None,
    typer.Option(
        "--template",
        metavar="TEMPLATE",
        autocompletion=completions.templates,
        help="A cookiecutter template: a folder, a zip file, a git repository, or the name of an "
        "installed one.",
    ),
]
Checkout = Annotated[
    str | None,
    typer.Option("--checkout", metavar="REVISION", help="The repository's branch, tag or commit."),
]
Directory = Annotated[
    str | None,
    typer.Option("--directory", metavar="FOLDER", help="Where in TEMPLATE the template is."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A variable of the template; may be given several times.",
    ),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Let the code of TEMPLATE run without a question."),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A template as the command line names it, or what it says about that of a project."""

    reference: str | None = None
    checkout: str | None = None
    directory: str | None = None
    settings: Sequence[str] = ()
    trust: bool = False

    def maker(self, name: str, *, ask: bool) -> "Generator":
        """The generator of a project of the kind `name`, by default with loafer-kit's template."""
        from loafer_kit.scaffold.project import projects
        from loafer_kit.scaffold.rendering import origins

        projects.refuse_missing_extra()
        if self.reference is None:
            self._refuse_options()
            return projects.builtin(name)
        settings = answers(self.settings)
        origin = origins.named(self.reference, self.checkout, self.directory)
        return projects.Generator(name, self._load(origin, Path()), settings, ask=ask)

    def maker_of(self, project: Path, lock: "Lock | None") -> "Generator":
        """The generator that made a project, with what is said about it here."""
        from loafer_kit.scaffold.project import projects

        projects.refuse_missing_extra()
        if lock is None or lock.template.origin is None:
            self._refuse_options()
        settings = answers(self.settings)
        return projects.generator_of(
            project, lock, checkout=self.checkout, answers=settings, load=self._load
        )

    def _load(self, origin: "Origin", base: Path) -> "CustomTemplate":
        """Fetch a template, where somebody can consent to it or has done so with `--trust`."""
        from loafer_kit.cli import prompts
        from loafer_kit.exceptions import ConfigurationError
        from loafer_kit.scaffold.rendering import custom_templates

        if not (self.trust or prompts.is_interactive()):
            raise ConfigurationError(
                f"{origin} is not a template of loafer-kit: its code runs only with --trust"
            )
        fetching = waiting(f"fetching the template {origin}")
        return custom_templates.load(origin, base, self._consent, fetching)

    def _consent(self, code: "Code") -> bool:
        """Show what a template would run; without `--trust` ask whether it may."""
        from loafer_kit.cli import prompts

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
        return self.trust or prompts.Terminal().confirm("Let it run?")

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


def answers(settings: Sequence[str]) -> Mapping[str, str]:
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

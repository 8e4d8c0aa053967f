"""The options that name a template of one's own, and the leave that its code needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loafer_kit.cli import completions
from loafer_kit.cli.printing import say
from loafer_kit.cli.progress import waiting

if TYPE_CHECKING:
    from loafer_kit.scaffold.project.locks import Lock
    from loafer_kit.scaffold.project.projects import Generator
    from loafer_kit.scaffold.rendering.templates import Template
    from loafer_kit.scaffold.rendering.trust import Leave
    from loafer_kit.scaffold.rendering.variables import Variable

TemplateName = Annotated[
    str | None,
    typer.Option(
        "--template",
        metavar="TEMPLATE",
        autocompletion=completions.templates,
        help="A template of one's own: a folder, a zip file, a git repository, or the name of an "
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
    typer.Option("--trust", help="Show the code that the template brings, and let it run."),
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
        """What makes a project of the kind `name`: ours, where no other template is named."""
        from loafer_kit.scaffold.project import projects
        from loafer_kit.scaffold.rendering import origins, templates

        projects.refuse_missing_extra()
        if self.reference is None:
            self._refuse_options()
            return projects.builtin(name)
        origin = origins.named(self.reference, self.checkout, self.directory)
        with waiting(f"reading the template {origin}"):
            template = templates.load(origin, Path())
        self._tell_what_is_left_off(template)
        return projects.Generator(
            name, template, answers(self.settings), _ask if ask else None, self._leave()
        )

    def maker_of(self, project: Path, lock: "Lock | None") -> "Generator":
        """The template that made a project, with what is said about it here."""
        from loafer_kit.scaffold.project import projects

        projects.refuse_missing_extra()
        if lock is None or lock.template.origin is None:
            self._refuse_options()
        settings = answers(self.settings)
        with waiting("reading the project's template"):
            maker = projects.generator_of(
                project, lock, checkout=self.checkout, answers=settings, leave=self._leave()
            )
        self._tell_what_is_left_off(maker.template)
        return maker

    def _leave(self) -> "Leave | None":
        return _Leave() if self.trust else None

    def _tell_what_is_left_off(self, template: "Template") -> None:
        from loafer_kit.scaffold.rendering import trust

        code = trust.code_of(template)
        if code and not self.trust:
            say(f"left off, of {template.origin}: {code}; --trust shows and runs it", err=True)

    def _refuse_options(self) -> None:
        given = {
            "--checkout": self.checkout,
            "--directory": self.directory,
            "--set": self.settings,
            "--trust": self.trust,
        }
        for flag, value in given.items():
            if value:
                raise typer.BadParameter(f"{flag} is for a template of one's own")


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


class _Leave:
    """Shows a template's code; on a terminal it asks whether it may run, once for the same code."""

    def __init__(self) -> None:
        self._given: set[tuple[str, ...]] = set()

    def __call__(self, lines: Sequence[str]) -> bool:
        from loafer_kit.cli import terminal

        code = tuple(lines)
        if code in self._given:
            return True
        say("the template runs:", err=True)
        for line in code:
            say(f"  {line}", err=True)
        if terminal.is_interactive() and not terminal.Terminal().confirm("Let it run?"):
            return False
        self._given.add(code)
        return True


def _ask(variable: "Variable") -> object:
    """Ask a person for a variable of a template, again after an answer that cannot be."""
    from loafer_kit.cli.terminal import Terminal
    from loafer_kit.exceptions import ConfigurationError

    person = Terminal()
    while True:
        answer = person.ask(_question(variable), _default(variable))
        try:
            return variable.typed(answer)
        except ConfigurationError as error:
            person.tell(str(error))


def _question(variable: "Variable") -> str:
    choices = f" ({', '.join(variable.choices)})" if variable.choices else ""
    return f"{variable.question}{choices}"


def _default(variable: "Variable") -> str:
    import json

    if isinstance(variable.default, bool):
        return "yes" if variable.default else "no"
    if isinstance(variable.default, str):
        return variable.default
    return "" if variable.default is None else json.dumps(variable.default)

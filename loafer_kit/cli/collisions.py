"""Asks about each file that holds somebody's work: no, yes, diff, merge, all or quit."""

from collections.abc import Sequence

import typer

from loafer_kit.cli import showing
from loafer_kit.scaffold.project.plans import Change
from loafer_kit.scaffold.project.updates import Candidate
from loafer_kit.scaffold.sources.questions import Person

_HELP = (
    "n: leave it as it is; y: write the template's file over it; d: show what y would change; "
    "m: merge both; a: y for this and all that follow; q: write nothing at all"
)


def decide(found: Sequence[Candidate], person: Person) -> list[Change]:
    """What becomes of each file; files that nobody edited need no question."""
    decided: list[Change] = []
    everything = False
    for candidate in found:
        change = candidate.merged()
        if candidate.is_edited and change.writes:
            answer = "a" if everything else _answer(candidate, person)
            everything = answer == "a"
            change = _chosen(candidate, answer)
        decided.append(change)
    return decided


def _answer(candidate: Candidate, person: Person) -> str:
    while True:
        question = f"{candidate.path} was edited. Overwrite it? [n]o/yes/diff/merge/all/quit"
        answer = person.ask(question, "n").strip().lower()[:1]
        if answer == "d":
            showing.show_diff(candidate.taken())
        elif answer == "q":
            raise typer.Abort
        elif answer in {"n", "y", "m", "a"}:
            return answer
        else:
            person.tell(_HELP)


def _chosen(candidate: Candidate, answer: str) -> Change:
    if answer == "n":
        return candidate.kept()
    return candidate.merged() if answer == "m" else candidate.taken()

"""Adds the models of a JSON Schema to the draft of another source."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import ImportResult, draft_of
from loafer_kit.scaffold.sources.payloads import Schemas
from loafer_kit.scaffold.sources.references import References
from loafer_kit.scaffold.spec.problems import Problem
from loafer_kit.scaffold.spec.specs import Draft

_FORMATS = {**documents.JSON, **documents.YAML}


def add(draft: Draft, path: Path) -> Draft:
    """The draft with the models of a schema; its title or its file names the outermost."""
    document = documents.load(path, _FORMATS, what="a JSON Schema")
    before = draft.values.get("payloads")
    models = dict(before) if isinstance(before, Mapping) else {}
    hint = path.name.partition(".")[0]
    found = draft_of(document, lambda root: _import(root, hint, models))

    def placed(problems: Sequence[Problem]) -> list[Problem]:
        return [replace(problem, path=(path.name, *problem.path)) for problem in problems]

    return replace(
        draft,
        values={**draft.values, "payloads": models},
        origin=draft.origin or str(path),
        problems=[*draft.problems, *placed(found.problems)],
        notes=[*draft.notes, *placed(found.notes)],
    )


def _import(root: Node, hint: str, models: dict[str, dict[str, str]]) -> ImportResult:
    result = ImportResult()
    Schemas(References(root, result), result, models).payload(root, hint)
    return result

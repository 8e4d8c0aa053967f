"""Adds a handler to a service, for one of its queues or for none yet."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.additions import pieces, queues
from loafer_kit.scaffold.additions.module import Module, UnrecognisedError, bound
from loafer_kit.scaffold.additions.pieces import Apply, UnplacedError
from loafer_kit.scaffold.project.projects import Generator
from loafer_kit.scaffold.spec import names, validation
from loafer_kit.scaffold.spec.specs import Draft

_HANDLER = '''
import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)


async def {name}(message: Any, metadata: Mapping[str, Any]) -> bool:
    """Handle one message.

    `message` is the decoded body, `metadata` what its queue says about it.
    """
    # TODO: do the work here.
    logger.warning("{name} is not written yet: deleted %r", message)
    return True
'''
_TEST = '''
import asyncio

from {package} import handlers


def test_{name}_accepts_a_message() -> None:
    """A handled message is deleted."""
    message = {{"hello": "world"}}

    assert asyncio.run(handlers.{name}(message, {{}})) is True
'''


@dataclass(frozen=True, slots=True)
class HandlerAddition:
    """A handler that no queue uses yet."""

    package: str
    name: str

    @property
    def paths(self) -> Mapping[str, str]:
        """The files that the handler changes, with the module that holds their new code."""
        return {f"{self.package}/handlers.py": _HANDLER, "tests/test_handlers.py": _TEST}

    def apply(self, path: str, ours: bytes | None) -> bytes | None:
        """A file with the handler or its test; UnplacedError if handlers.py is missing."""
        text = self.paths[path].format(name=self.name, package=self.package)
        rendered = Module.parse(text.encode())
        piece = pieces.definition(rendered.text(rendered.tree.body[-1]))
        if ours is None:
            if path.startswith("tests/"):
                return None
            raise UnplacedError(path, "the file is missing", piece.text)
        try:
            module = Module.parse(ours)
            if self._is_in(module):
                return ours
            return pieces.complete(module, [piece], rendered, self.package).content
        except UnrecognisedError as error:
            raise UnplacedError(path, str(error), piece.text) from error

    def _is_in(self, module: Module) -> bool:
        mentioned = {item.attr for item in ast.walk(module.tree) if isinstance(item, ast.Attribute)}
        return self.name in mentioned.union(bound(module.tree.body))


def plan(draft: Draft, name: str, generator: Generator) -> tuple[Apply, tuple[str, ...]]:
    """The function that adds a handler to a file of a service, and the files that it changes.

    A handler that `loafer.toml` names for a queue is written for that queue.
    """
    why = names.function(name)
    if why:
        raise ConfigurationError(why)
    spec = validation.service(draft)
    addition = HandlerAddition(spec.package, name)
    for index, queue in enumerate(spec.queues):
        if name in queue.handlers:
            return queues.plan_handler(spec, index, generator).apply, tuple(addition.paths)
    return addition.apply, tuple(addition.paths)

"""An extension more in a service: its import, and the line that gives it the service."""

import ast
import re
from dataclasses import dataclass

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.additions import insertion
from loafer_kit.scaffold.additions.module import Module, UnrecognisedError, bound, names_of
from loafer_kit.scaffold.additions.results import UnplacedError
from loafer_kit.scaffold.spec import names

_SERVICES = ("Application", "LoaferManager")
_REFERENCE = re.compile(
    rf"(?P<module>{names.IDENTIFIER.pattern}(?:\.{names.IDENTIFIER.pattern})*)"
    rf":(?P<name>{names.IDENTIFIER.pattern})"
)


@dataclass(frozen=True, slots=True)
class ExtensionAddition:
    """A class that is given the service of a package."""

    package: str
    module: str
    name: str

    @property
    def path(self) -> str:
        """The file in which the service is made."""
        return f"{self.package}/__init__.py"

    def apply(self, path: str, ours: bytes | None) -> bytes | None:
        """The file with the extension; UnplacedError where no one service is made in it."""
        if ours is None:
            raise UnplacedError(path, "it is not there", self._text("app"))
        try:
            return self._added(Module.parse(ours)).content
        except UnrecognisedError as error:
            raise UnplacedError(path, str(error), self._text("app")) from error

    def _added(self, module: Module) -> Module:
        if self._is_imported(module):
            calls = [item for item in ast.walk(module.tree) if isinstance(item, ast.Call)]
            if any(isinstance(call.func, ast.Name) and call.func.id == self.name for call in calls):
                return module
        elif self.name in bound(module.tree.body):
            raise UnrecognisedError(f"{self.name} is something else there")
        service = _service(module)
        line = self._line(module, service)
        body = module.tree.body
        index = max(
            at
            for at, item in enumerate(body)
            if isinstance(item, (ast.Assign, ast.AnnAssign, ast.Expr)) and service in names_of(item)
        )
        module = insertion.after_statement(module, body, index, line)
        if self._is_imported(module):
            return module
        source = ast.ImportFrom(self.module, [ast.alias(self.name)], 0)
        return insertion.imported(module, source, self.name, self.package)

    def _is_imported(self, module: Module) -> bool:
        return any(
            isinstance(item, ast.ImportFrom)
            and item.module == self.module
            and self.name in bound([item])
            for item in module.tree.body
        )

    def _line(self, module: Module, service: str) -> str:
        variable = names.snake_case(self.name)
        taken = variable == self.name or variable in bound(module.tree.body)
        return f"{variable}{'_extension' if taken else ''} = {self.name}({service})"

    def _text(self, service: str) -> str:
        line = self._line(Module.parse(b""), service)
        return f"from {self.module} import {self.name}\n\n{line}"


def plan(package: str, reference: str) -> ExtensionAddition:
    """The addition of an extension to a package, by its `MODULE:CLASS`."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise ConfigurationError(
            f"{names.shown(reference)} must have the form MODULE:CLASS, like loafer_kit_redis:Redis"
        )
    return ExtensionAddition(package, found["module"], found["name"])


def _service(module: Module) -> str:
    """The name of the one service that a module makes."""
    found = [
        target.id
        for item in module.tree.body
        if isinstance(item, (ast.Assign, ast.AnnAssign)) and isinstance(item.value, ast.Call)
        for target in (item.targets if isinstance(item, ast.Assign) else [item.target])
        if isinstance(target, ast.Name) and _called(item.value) in _SERVICES
    ]
    if len(found) != 1:
        raise UnrecognisedError("no one LoaferManager or Application is made there")
    return found[0]


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]

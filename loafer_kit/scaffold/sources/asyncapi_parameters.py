"""The parameters of an AsyncAPI document, `{env}` in names, as those of a spec, `${ENV}`."""

import re
from collections.abc import Iterator, Mapping

from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import ImportResult, keys
from loafer_kit.scaffold.sources.json_schemas import References
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.specs import Parameter

_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_.-]{1,60})\}")
_PARAMETER = keys("default schema", "description examples")
# The schema of version 2.
_SCHEMA = keys("default type", "description examples title")
_BINDINGS = frozenset(["bindings", "channelBindings", "operationBindings"])
_NAMES = frozenset(["name", "arn"])


class Parameters:
    """The parameters of channels and the variables of servers, by the document's names.

    Two of one name are one parameter, with the default of the first.
    """

    def __init__(self, root: Node, references: References, result: ImportResult) -> None:
        self._result = result
        self._found: dict[str, tuple[Node, str]] = {}
        self._parameters: dict[str, Parameter] = {}
        self._used: set[str] = set()
        for name, place, is_of_channel in _declared(root, references):
            self._add(name, references.follow(place), noted=is_of_channel)

    def _add(self, name: str, place: Node, *, noted: bool) -> None:
        default = place["default"].text or place.at("schema", "default").text
        if name in self._found:
            _, first = self._found[name]
            if default not in (None, first):
                message = f"its default is left out: another {quoted(name)} has {quoted(first)}"
                self._result.note(place, message)
            return
        self._found[name] = place, default or ""
        if noted:
            self._result.note_unsupported(place, _PARAMETER)
            self._result.note_unsupported(place["schema"], _SCHEMA)
        variable = names.snake_case(name).upper()
        taken = {parameter.name.replace("_", "") for parameter in self._parameters.values()}
        if (
            names.parameter(variable) is None
            and variable.replace("_", "") not in taken
            and (default is None or names.parameter_value(default) is None)
        ):
            self._parameters[name] = Parameter(variable, default)

    def filled(self, text: str) -> str:
        """A name with the spec's parameters; the default of one that cannot be one, with a note."""

        def fill(match: re.Match[str]) -> str:
            name = match[1]
            self._used.add(name)
            if name in self._parameters:
                return f"${{{self._parameters[name].name}}}"
            place, default = self._found.get(name, (None, ""))
            if place is None or not default:
                return match[0]
            message = f"is taken from its default {quoted(default)}: the address has it"
            self._result.note(place, message)
            return default

        return _PLACEHOLDER.sub(fill, text)

    def in_bindings(self, value: object, *, inside: bool = False) -> object:
        """A document whose names within bindings have the spec's parameters."""
        if isinstance(value, list):
            return [self.in_bindings(item, inside=inside) for item in value]
        if not isinstance(value, Mapping):
            return value
        return {
            key: (
                self.filled(item)
                if inside and key in _NAMES and isinstance(item, str)
                else self.in_bindings(item, inside=inside or key in _BINDINGS)
            )
            for key, item in value.items()
        }

    def used_in(self, texts: object) -> list[Parameter]:
        """The parameters that some names take; those of channels that no name takes are noted."""
        for name, (place, _) in self._found.items():
            if name not in self._used and place.path[:1] != ("servers",):
                self._result.note(place, "is left out: no name of a queue or a topic takes it")
        return [item for item in self._parameters.values() if f"${{{item.name}}}" in str(texts)]


def _declared(root: Node, references: References) -> Iterator[tuple[str, Node, bool]]:
    for section, key in (("channels", "parameters"), ("servers", "variables")):
        for _, place in root[section].items():  # noqa: PERF102 - a place has no `values`
            for name, parameter in references.follow(place)[key].items():
                yield name, parameter, section == "channels"

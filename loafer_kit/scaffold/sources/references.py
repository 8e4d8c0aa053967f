"""Follows the `$ref` of a document within it, and refuses all other references."""

from urllib.parse import unquote

from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import ImportResult
from loafer_kit.scaffold.spec import names


class References:
    """Follows `$ref` within one document. It fetches nothing and reads no other file."""

    def __init__(self, root: Node, result: ImportResult) -> None:
        self._root = root
        self._result = result

    def follow(self, node: Node) -> Node:
        """The target of a place that is a reference, else the place; without a value on an error."""
        seen = {node.path}
        found = node
        while "$ref" in found:
            target = self._target(found["$ref"])
            if target is None:
                return node.with_value(None)
            if target.path in seen:
                self._result.problem(node, "the reference leads back to itself")
                return node.with_value(None)
            seen.add(target.path)
            found = target
        return found

    def down(self, node: Node, *steps: str) -> Node:
        """The place further down, following each reference on the way."""
        for step in steps:
            node = self.follow(self.follow(node)[step])
        return node

    def _target(self, reference: Node) -> Node | None:
        text = reference.value
        if not isinstance(text, str) or not text.startswith("#"):
            self._result.problem(
                reference,
                f"{names.shown(str(text))} leads out of the document, and nothing is fetched: "
                "bundle the document into one file first",
            )
            return None
        target = self._root
        for part in text[1:].split("/")[1:]:
            step = unquote(part).replace("~1", "/").replace("~0", "~")
            is_index = isinstance(target.value, list) and step.isdigit()
            target = target[int(step[:9]) if is_index else step]
        if not target.is_there:
            self._result.problem(reference, f"{names.shown(text)} leads nowhere")
            return None
        return target

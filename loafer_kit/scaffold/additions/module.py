"""A Python file as bytes and as a tree: where each piece stands, and insertions that are proved."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from loafer_kit.exceptions import LoaferKitError

_NEWLINE = re.compile(rb"\r\n|\r|\n")
_DEEPEST = 100
_GREATEST = 10**4000
_BOM = b"\xef\xbb\xbf"


class UnrecognisedError(LoaferKitError):
    """The code does not have the form in which something could be inserted."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes that are put at a place; nothing is taken away."""

    at: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Module:
    """A file's content and its tree; offsets count bytes."""

    content: bytes
    tree: ast.Module
    lines: tuple[int, ...]

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """The module; UnrecognisedError for what is no Python in UTF-8."""
        try:
            content.decode()
            tree = ast.parse(content)
        except SyntaxError as error:
            where = f", line {error.lineno}" if error.lineno else ""
            raise UnrecognisedError(f"it is no Python ({error.msg}{where})") from error
        except ValueError as error:
            raise UnrecognisedError(f"it is no Python in UTF-8 ({error})") from error
        except (RecursionError, MemoryError) as error:
            raise UnrecognisedError("its code is nested too deeply") from error
        _refuse_excess(tree)
        begin = len(_BOM) if content.startswith(_BOM) else 0
        starts = (begin, *(match.end() for match in _NEWLINE.finditer(content)))
        return cls(content, tree, starts)

    @property
    def newline(self) -> bytes:
        """The line ending that the file uses first."""
        found = _NEWLINE.search(self.content)
        return found[0] if found else b"\n"

    def begin(self, node: Any) -> int:
        """Where a node begins; a decorated one at its first decorator's line."""
        for decorator in getattr(node, "decorator_list", []):
            return self.line_begin(self.begin(decorator))
        line, column = int(node.lineno), int(node.col_offset)
        return self.lines[line - 1] + column

    def end(self, node: Any) -> int:
        """The place after a node."""
        line, column = int(node.end_lineno), int(node.end_col_offset)
        return self.lines[line - 1] + column

    def line_begin(self, at: int) -> int:
        """Where the line of a place begins."""
        return max(start for start in self.lines if start <= at)

    def line_end(self, at: int) -> int:
        """Where the line of a place ends, before its line ending."""
        found = _NEWLINE.search(self.content, at)
        return found.start() if found else len(self.content)

    def lead(self, at: int) -> bytes | None:
        """The white space before what begins a line; None where something else stands before it."""
        before = self.content[self.line_begin(at) : at]
        return None if before.strip() else before

    def indentation(self, at: int) -> bytes:
        """The white space at the beginning of the line of a place."""
        line = self.content[self.line_begin(at) : self.line_end(at)]
        return line[: len(line) - len(line.lstrip(b" \t"))]

    def text(self, node: Any) -> str:
        """A node as it is written, its further lines without the indentation of its first."""
        begin = self.begin(node)
        lead = self.indentation(begin)
        lines = _NEWLINE.split(self.content[begin : self.end(node)])
        return b"\n".join([lines[0], *(line.removeprefix(lead) for line in lines[1:])]).decode()

    def styled(self, text: str, indent: bytes = b"") -> bytes:
        """Our text with this file's line endings and indentation; not before its first line."""
        lines = text.encode().split(b"\n")
        if self._has_tabs():
            lines = [_tabbed(line) for line in lines]
        further = [indent + line if line else line for line in lines[1:]]
        return self.newline.join([lines[0], *further])

    @property
    def step(self) -> bytes:
        """One level of indentation."""
        return b"\t" if self._has_tabs() else b"    "

    def inserted(
        self, siblings: list[Any], index: int, nodes: Sequence[Any], edits: Sequence[Edit]
    ) -> Self:
        """The module after the edits, proved to be itself and `nodes` at `index` of `siblings`.

        `siblings` is a list of this module's tree; UnrecognisedError where the proof fails.
        """
        siblings[index:index] = nodes
        expected = ast.dump(self.tree)
        del siblings[index : index + len(nodes)]
        content = self.content
        for edit in sorted(edits, key=lambda edit: edit.at, reverse=True):
            content = content[: edit.at] + edit.text + content[edit.at :]
        after = type(self).parse(content)
        if ast.dump(after.tree) != expected:
            raise UnrecognisedError("there is no place where it could be inserted safely")
        return after

    def _has_tabs(self) -> bool:
        return any(
            self.content[start : start + 1] == b"\t"
            for start in (self.lines[node.lineno - 1] for node in _indented(self.tree))
        )


def _refuse_excess(tree: ast.AST) -> None:
    """Python writes code by recursion, and no number of more than some digits."""
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):
        if any(map(_is_too_large, level)):
            raise UnrecognisedError("it holds a number that is too large")
        level = [inner for node in level for inner in ast.iter_child_nodes(node)]
        if not level:
            return
    raise UnrecognisedError("its code is nested too deeply")


def _is_too_large(node: ast.AST) -> bool:
    number = node.value if isinstance(node, ast.Constant) else None
    return isinstance(number, int) and number > _GREATEST


def names_of(node: ast.AST) -> set[str]:
    """The plain names that a piece of code uses."""
    return {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}


def bound(body: Sequence[ast.stmt]) -> Iterator[str]:
    """The names that a module defines or imports at its top level."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield statement.name
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                yield alias.asname or alias.name.partition(".")[0]
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            yield from _targets(statement)
        else:
            for field in ("body", "orelse", "finalbody"):
                yield from bound(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from bound(handler.body)


def mentions(tree: ast.AST, text: str) -> bool:
    """Whether a text stands anywhere but as a keyword's value or a docstring."""
    besides = {
        id(item.value) for item in ast.walk(tree) if isinstance(item, (ast.keyword, ast.Expr))
    }
    return any(
        isinstance(item, ast.Constant) and item.value == text and id(item) not in besides
        for item in ast.walk(tree)
    )


def _targets(statement: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    for target in targets:
        yield from names_of(target)


def _indented(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.col_offset:
            yield node


def _tabbed(line: bytes) -> bytes:
    spaces = len(line) - len(line.lstrip(b" "))
    return b"\t" * (spaces // 4) + b" " * (spaces % 4) + line.lstrip(b" ")

"""A Python file as bytes and as a syntax tree, with insertions that are verified."""

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
    """The code does not have a form into which code can be inserted."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes to insert at an offset."""

    at: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Module:
    """A file's content and its syntax tree; offsets count bytes."""

    content: bytes
    tree: ast.Module
    lines: tuple[int, ...]

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """The module; UnrecognisedError if the content is not valid Python in UTF-8."""
        try:
            content.decode()
            tree = ast.parse(content)
        except SyntaxError as error:
            where = f", line {error.lineno}" if error.lineno else ""
            raise UnrecognisedError(f"it is not valid Python ({error.msg}{where})") from error
        except ValueError as error:
            raise UnrecognisedError(f"it is not Python in UTF-8 ({error})") from error
        except (RecursionError, MemoryError) as error:
            raise UnrecognisedError("its code is nested too deeply") from error
        _refuse_excess(tree)
        begin = len(_BOM) if content.startswith(_BOM) else 0
        starts = (begin, *(match.end() for match in _NEWLINE.finditer(content)))
        return cls(content, tree, starts)

    @property
    def newline(self) -> bytes:
        """The file's first line end."""
        found = _NEWLINE.search(self.content)
        return found[0] if found else b"\n"

    def begin(self, node: Any) -> int:
        """The offset of a node; for a decorated one, of its first decorator's line."""
        for decorator in getattr(node, "decorator_list", []):
            return self.line_begin(self.begin(decorator))
        line, column = int(node.lineno), int(node.col_offset)
        return self.lines[line - 1] + column

    def end(self, node: Any) -> int:
        """The offset after a node."""
        line, column = int(node.end_lineno), int(node.end_col_offset)
        return self.lines[line - 1] + column

    def line_begin(self, at: int) -> int:
        """The offset at which the line of an offset begins."""
        return max(start for start in self.lines if start <= at)

    def line_end(self, at: int) -> int:
        """The offset at which the line of an offset ends, before its line end."""
        found = _NEWLINE.search(self.content, at)
        return found.start() if found else len(self.content)

    def lead(self, at: int) -> bytes | None:
        """The white space before an offset; None if its line has other text before it."""
        before = self.content[self.line_begin(at) : at]
        return None if before.strip() else before

    def indentation(self, at: int) -> bytes:
        """The indentation of the line of an offset."""
        line = self.content[self.line_begin(at) : self.line_end(at)]
        return line[: len(line) - len(line.lstrip(b" \t"))]

    def text(self, node: Any) -> str:
        """A node's source, dedented by the indentation of its first line."""
        begin = self.begin(node)
        lead = self.indentation(begin)
        lines = _NEWLINE.split(self.content[begin : self.end(node)])
        return b"\n".join([lines[0], *(line.removeprefix(lead) for line in lines[1:])]).decode()

    def styled(self, text: str, indent: bytes = b"") -> bytes:
        """A text with the file's line ends and indentation; its first line is not indented."""
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
        """The module after the edits, if its tree is the old one with `nodes` inserted.

        `siblings` is the list of this module's tree that gets the nodes at `index`.
        UnrecognisedError if the edits make any other tree.
        """
        siblings[index:index] = nodes
        expected = ast.dump(self.tree)
        del siblings[index : index + len(nodes)]
        content = self.content
        for edit in sorted(edits, key=lambda edit: edit.at, reverse=True):
            content = content[: edit.at] + edit.text + content[edit.at :]
        after = type(self).parse(content)
        if ast.dump(after.tree) != expected:
            raise UnrecognisedError("it has no place for a safe insertion")
        return after

    def _has_tabs(self) -> bool:
        return any(
            self.content.startswith(b"\t", self.lines[node.lineno - 1])
            for node in ast.walk(self.tree)
            if isinstance(node, ast.stmt) and node.col_offset
        )


def _refuse_excess(tree: ast.AST) -> None:
    """Refuse code that `ast` cannot dump: deep nesting exceeds its recursion, numbers their digits."""
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):
        if any(map(_is_too_large, level)):
            raise UnrecognisedError("it contains a number that is too large")
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


def targets(statement: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    """What an assignment assigns to."""
    return statement.targets if isinstance(statement, ast.Assign) else [statement.target]


def bound(body: Sequence[ast.stmt]) -> Iterator[str]:
    """The names that a module defines or imports at its top level."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield statement.name
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                yield alias.asname or alias.name.partition(".")[0]
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            for target in targets(statement):
                yield from names_of(target)
        else:
            for field in ("body", "orelse", "finalbody"):
                yield from bound(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from bound(handler.body)


def mentions(tree: ast.AST, text: str) -> bool:
    """Whether a string occurs anywhere except as a keyword's value or a docstring."""
    besides = {
        id(item.value) for item in ast.walk(tree) if isinstance(item, (ast.keyword, ast.Expr))
    }
    return any(
        isinstance(item, ast.Constant) and item.value == text and id(item) not in besides
        for item in ast.walk(tree)
    )


def _tabbed(line: bytes) -> bytes:
    spaces = len(line) - len(line.lstrip(b" "))
    return b"\t" * (spaces // 4) + b" " * (spaces % 4) + line.lstrip(b" ")

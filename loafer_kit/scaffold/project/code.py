"""A Python file as bytes and as a syntax tree, with insertions and removals that are verified.

No code is imported.
"""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from loafer_kit.exceptions import ConfigurationError, LoaferKitError

_NEWLINE = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"
_DEEPEST = 100
_GREATEST = 10**4000
# The tokens between the last element of a list and its closing bracket.
_GAP = re.compile(rb"(?P<comment>#[^\r\n]*)|(?P<newline>\r\n|\r|\n)|(?P<comma>,)|(?P<close>\))")
# The blank lines after a statement.
_BLANK = re.compile(rb"([ \t]*\r?\n)*")


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


def parse(content: bytes, where: str) -> ast.Module:
    """A module's syntax tree; ConfigurationError names the line of a syntax error."""
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{where}:{line}" if line else where
        raise ConfigurationError(
            f"{place}: this is not valid Python ({getattr(error, 'msg', error)})"
        ) from error
    except (RecursionError, MemoryError) as error:
        raise ConfigurationError(f"{where}: the code is nested too deeply") from error


def defined(body: Sequence[ast.stmt]) -> Iterator[str]:
    """The names that a module's statements define, import or assign at its top level."""
    waiting: list[ast.AST] = [*body]
    while waiting:
        match node := waiting.pop(0):
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Import() | ast.ImportFrom():
                yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
            case ast.Assign() | ast.AnnAssign():
                for target in targets(node):
                    yield from names_of(target)
            case _:
                inner = ("body", "handlers", "orelse", "finalbody")
                waiting[:0] = [item for field in inner for item in getattr(node, field, ())]


def targets(statement: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    """What an assignment assigns to."""
    return statement.targets if isinstance(statement, ast.Assign) else [statement.target]


def names_of(node: ast.AST) -> set[str]:
    """The plain names that a piece of code uses."""
    return {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}


def mentions(tree: ast.AST, text: str) -> bool:
    """Whether a string occurs anywhere except as a keyword's value or a docstring."""
    besides = {
        id(item.value) for item in ast.walk(tree) if isinstance(item, (ast.keyword, ast.Expr))
    }
    return any(
        isinstance(item, ast.Constant) and item.value == text and id(item) not in besides
        for item in ast.walk(tree)
    )


def after_statement(
    module: Module, body: list[ast.stmt], index: int, text: str, *, blank_lines: int = 0
) -> Module:
    """Insert statements after one of a body, on lines of their own."""
    statement = body[index]
    at = module.line_end(module.end(statement))
    if blank_lines:
        at = _after_comments(module, at)
    indent = module.lead(module.begin(statement)) or b""
    styled = module.styled(text, indent)
    edit = Edit(at, module.newline * (1 + blank_lines) + indent + styled)
    return module.inserted(body, index + 1, _parsed(styled, indent).body, [edit])


def at_end(module: Module, text: str) -> Module:
    """Insert definitions at the end of a module, after two blank lines."""
    if module.tree.body:
        last = len(module.tree.body) - 1
        return after_statement(module, module.tree.body, last, text, blank_lines=2)
    lead = module.newline * 2 if module.content.strip() else b""
    styled = module.styled(text)
    edit = Edit(len(module.content), lead + styled + module.newline)
    return module.inserted(module.tree.body, 0, _parsed(styled).body, [edit])


def into_brackets(
    module: Module, bracketed: ast.expr, elements: list[ast.expr], text: str
) -> Module:
    """Insert an expression at the end of a tuple, a list or a call's arguments."""
    close = module.end(bracketed) - 1
    if elements:
        end = module.end(elements[-1])
    elif isinstance(bracketed, ast.Call):
        end = module.content.index(b"(", module.end(bracketed.func)) + 1
    else:
        end = module.begin(bracketed) + 1
    comma = isinstance(bracketed, ast.Tuple) and not elements
    edits, styled = _at_close(module, end, close, elements, text, comma=comma)
    node = ast.parse(b"(" + styled + b")", mode="eval").body
    return module.inserted(elements, len(elements), [node], edits)


def into_dictionary(module: Module, dictionary: ast.Dict, text: str) -> Module:
    """Insert the one item of a dictionary, given as text, at the end of another."""
    close, values = module.end(dictionary) - 1, dictionary.values
    end = module.end(values[-1]) if values else module.begin(dictionary) + 1
    edits, _ = _at_close(module, end, close, values, text[1:-1])
    added = ast.parse(text, mode="eval").body
    assert isinstance(added, ast.Dict)  # noqa: S101 - `text` is one
    dictionary.keys += added.keys
    try:
        return module.inserted(values, len(values), added.values, edits)
    finally:
        del dictionary.keys[-1]


def imported(
    module: Module, source: ast.Import | ast.ImportFrom, name: str, package: str
) -> Module:
    """Import one of the names that `source` imports, in isort's order."""
    alias = next(item for item in source.names if (item.asname or item.name) == name)
    if isinstance(source, ast.ImportFrom):
        for statement in module.tree.body:
            if (
                isinstance(statement, ast.ImportFrom)
                and (statement.module, statement.level) == (source.module, source.level)
                and statement.names[0].name != "*"
            ):
                return _with_alias(module, statement, alias)
    return _with_import(module, _only(source, alias), package)


def after_imports(module: Module, text: str) -> Module:
    """Insert an assignment after the imports of a module that has some."""
    body = module.tree.body
    last = max(i for i, item in enumerate(body) if isinstance(item, (ast.Import, ast.ImportFrom)))
    return after_statement(module, body, last, text, blank_lines=1)


def replaced(module: Module, index: int, text: str) -> Module:
    """The module with a text in the place of one of its statements."""
    statement = module.tree.body[index]
    begin, end = module.begin(statement), module.end(statement)
    return Module.parse(module.content[:begin] + module.styled(text) + module.content[end:])


def cut(module: Module, index: int) -> Module:
    """The module without one of its statements and the blank lines beside it."""
    statement = module.tree.body[index]
    begin = module.line_begin(module.begin(statement))
    end = module.line_end(module.end(statement))
    content = module.content
    rest = content[end:].removeprefix(b"\r").removeprefix(b"\n")
    if index + 1 < len(module.tree.body):
        blank = _BLANK.match(rest)
        rest = rest[blank.end() if blank else 0 :]
        after = content[:begin] + rest
    else:
        after = content[:begin].rstrip(b"\r\n \t") + module.newline + rest
    return _proved(after, [*module.tree.body[:index], *module.tree.body[index + 1 :]])


def without_imports(module: Module, names: set[str]) -> Module:
    """The module without the imports of these names that nothing uses any more."""
    unused = names - names_of(module.tree)
    for index, item in reversed([*enumerate(module.tree.body)]):
        if not isinstance(item, (ast.Import, ast.ImportFrom)) or "#" in module.text(item):
            continue
        rest = [
            alias for alias in item.names if not unused.intersection(defined([_only(item, alias)]))
        ]
        if not rest:
            module = cut(module, index)
        elif len(rest) < len(item.names):
            text = ast.unparse(_only(item, *rest))
            module = replaced(module, index, text)
    return module


def _proved(content: bytes, body: list[ast.stmt]) -> Module:
    """The module of a content; UnrecognisedError if it is not this body."""
    after = Module.parse(content)
    if list(map(ast.dump, after.tree.body)) != list(map(ast.dump, body)):
        raise UnrecognisedError("it has no place for a safe removal")
    return after


def _refuse_excess(tree: ast.AST) -> None:
    """Refuse code that `ast` cannot dump: deep nesting exceeds its recursion, numbers their digits."""
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):
        numbers = [node.value for node in level if isinstance(node, ast.Constant)]
        if any(isinstance(number, int) and number > _GREATEST for number in numbers):
            raise UnrecognisedError("it contains a number that is too large")
        level = [inner for node in level for inner in ast.iter_child_nodes(node)]
        if not level:
            return
    raise UnrecognisedError("its code is nested too deeply")


def _tabbed(line: bytes) -> bytes:
    spaces = len(line) - len(line.lstrip(b" "))
    return b"\t" * (spaces // 4) + b" " * (spaces % 4) + line.lstrip(b" ")


def _with_alias(module: Module, statement: ast.ImportFrom, alias: ast.alias) -> Module:
    text = ast.unparse(alias)
    close = module.end(statement) - 1
    has_brackets = module.content[close : close + 1] == b")"
    later = [item for item in statement.names if _alias_key(item) > _alias_key(alias)]
    if later:
        index = statement.names.index(later[0])
        at = module.begin(later[0])
        lead = module.lead(at)
        gap = b" " if lead is None or not has_brackets else module.newline + lead
        edits = [Edit(at, text.encode() + b"," + gap)]
    else:
        index = len(statement.names)
        end = module.end(statement.names[-1])
        if has_brackets:
            edits, _ = _at_close(module, end, close, statement.names, text)
        else:
            edits = [Edit(end, b", " + text.encode())]
    return module.inserted(statement.names, index, [alias], edits)


def _with_import(module: Module, statement: ast.stmt, package: str) -> Module:
    body = module.tree.body
    key = _import_key(statement, package)
    before = [
        index for index, item in enumerate(body) if isinstance(item, (ast.Import, ast.ImportFrom))
    ]
    earlier = [index for index in before if _import_key(body[index], package) <= key]
    text = ast.unparse(statement)
    if earlier:
        same = _import_key(body[earlier[-1]], package)[0] == key[0]
        return after_statement(module, body, earlier[-1], text, blank_lines=0 if same else 1)
    if before:
        same = _import_key(body[before[0]], package)[0] == key[0]
        at = module.line_begin(module.begin(body[before[0]]))
        edit = Edit(at, text.encode() + module.newline * (1 if same else 2))
        return module.inserted(body, before[0], [statement], [edit])
    if body and ast.get_docstring(module.tree) is not None:
        return after_statement(module, body, 0, text, blank_lines=1)
    at = module.line_begin(module.begin(body[0])) if body else len(module.content)
    edit = Edit(at, text.encode() + module.newline * 2)
    return module.inserted(body, 0, [statement], [edit])


def _at_close(
    module: Module, end: int, close: int, elements: Sequence[Any], text: str, *, comma: bool = False
) -> tuple[list[Edit], bytes]:
    """The edits that insert a text before a closing bracket, in the layout of its elements."""
    has_comma = on_own_line = False
    for token in _GAP.finditer(module.content, end, close):
        if token.lastgroup in ("comma", "close"):
            has_comma, end, on_own_line = token.lastgroup == "comma", token.end(), False
        elif token.lastgroup == "newline":
            on_own_line = True
    missing = [Edit(end, b",")] if elements and not has_comma else []
    if on_own_line:
        outer = module.lead(close) or b""
        lead = module.lead(module.begin(elements[-1])) if elements else None
        indent = outer + module.step if lead is None else lead
        styled = module.styled(text, indent)
        line = indent + styled + b"," + module.newline
        return [*missing, Edit(module.line_begin(close), line)], styled
    styled = module.styled(text, module.indentation(close))
    lead = (b" " if has_comma else b", ") if elements else b""
    return [Edit(end, lead + styled + (b"," if comma else b""))], styled


def _after_comments(module: Module, at: int) -> int:
    """The end of the last indented comment, which belongs to the statement before it."""
    comment = re.compile(rb"(?:(?:\r\n|\r|\n)[ \t]*)*(?:\r\n|\r|\n)[ \t]+#[^\r\n]*")
    while found := comment.match(module.content, at):
        at = found.end()
    return at


def _parsed(text: bytes, indent: bytes = b"") -> ast.Module:
    if indent:
        return ast.Module(ast.parse(b"if 1:\n" + indent + text).body[0].body, [])  # type: ignore[attr-defined]
    return ast.parse(text)


def _only(item: ast.Import | ast.ImportFrom, *aliases: ast.alias) -> ast.stmt:
    if isinstance(item, ast.Import):
        return ast.Import(list(aliases))
    return ast.ImportFrom(item.module, list(aliases), item.level)


def _alias_key(alias: ast.alias) -> tuple[int, str]:
    """isort's order: constants, classes, everything else."""
    rank = 0 if alias.name.isupper() else 1 if alias.name[:1].isupper() else 2
    return rank, alias.name


def _import_key(statement: ast.stmt, package: str) -> tuple[int, bool, str]:
    if isinstance(statement, ast.ImportFrom):
        name, relative = statement.module or "", statement.level > 0
    else:
        name, relative = statement.names[0].name, False  # type: ignore[attr-defined]
    top = name.partition(".")[0]
    if relative or top == package:
        section = 3
    elif top == "__future__":
        section = 0
    else:
        section = 1 if top in sys.stdlib_module_names else 2
    return section, isinstance(statement, ast.ImportFrom), name

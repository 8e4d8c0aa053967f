"""Inserts code into a module: after a statement, at the end of a bracketed list, as an import."""

import ast
import re
import sys
from collections.abc import Sequence
from typing import Any

from loafer_kit.scaffold.additions.module import Edit, Module

# The tokens between the last element of a list and its closing bracket.
_GAP = re.compile(rb"(?P<comment>#[^\r\n]*)|(?P<newline>\r\n|\r|\n)|(?P<comma>,)|(?P<close>\))")


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


def _only(source: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    if isinstance(source, ast.Import):
        return ast.Import([alias])
    return ast.ImportFrom(source.module, [alias], source.level)


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

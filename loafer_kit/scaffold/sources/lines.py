"""Finds the line of each value in a TOML or JSON document that a parser has accepted."""

import json
import re
from collections.abc import Iterator, Mapping

from loafer_kit.scaffold.spec.specs import Path

Lines = Mapping[Path, int]

_STRING = r'"(?:\\.|[^"\\\n])*"'
_TOML = re.compile(
    rf'"""(?:\\.|[^\\])*?"{{3,5}}|\'\'\'.*?\'{{3,5}}|{_STRING}|\'[^\'\n]*\''
    r"|\n|[\[\]{}=,.]|\#[^\n]*|[^\s\[\]{}=,.#\"']+",
    re.DOTALL,
)
_JSON = re.compile(rf"{_STRING}|[\[\]{{}}:,]|[^\s\[\]{{}}:,\"]+")

_Token = tuple[str, int]


def find(lines: Lines, path: Path) -> int | None:
    """The line of a value, or of the table that lacks it."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


def of_json(text: str) -> Lines:
    """The lines of a JSON document's values."""
    scanner = _Scanner(_tokens(_JSON, text), equals=":")
    scanner.value(())
    return scanner.lines


def of_toml(text: str) -> Lines:
    """The lines of a TOML document's values and tables."""
    return _TomlScanner(_tokens(_TOML, text), equals="=").document()


def _tokens(pattern: re.Pattern[str], text: str) -> Iterator[_Token]:
    line, end = 1, 0
    for match in pattern.finditer(text):
        line += text.count("\n", end, match.start())
        end = match.start()
        if not match[0].startswith("#"):
            yield match[0], line


class _Scanner:
    """Walks over the tokens of nested arrays and tables and records where each value begins."""

    def __init__(self, tokens: Iterator[_Token], equals: str) -> None:
        self.tokens: list[_Token] = [*tokens, ("", 0)]
        self.equals = equals
        self.at = 0
        self.lines: dict[Path, int] = {}

    @property
    def current(self) -> str:
        text, _ = self.tokens[self.at]
        return text

    def value(self, path: Path) -> None:
        self.lines.setdefault(path, self.tokens[self.at][1])
        if self.current == "[":
            self._array(path)
        elif self.current == "{":
            self._table(path)
        else:
            while self.current not in ("", "\n", ",", "]", "}"):
                self.at += 1

    def key(self) -> tuple[str, ...]:
        steps = []
        while self.current not in (self.equals, "]", ""):
            if self.current != ".":
                steps.append(_unquoted(self.current))
            self.at += 1
        return tuple(steps)

    def _array(self, path: Path) -> None:
        index = 0
        while self._next("]"):
            self.value((*path, index))
            index += 1

    def _table(self, path: Path) -> None:
        while self._next("}"):
            line = self.tokens[self.at][1]
            key = (*path, *self.key())
            self.lines.setdefault(key, line)
            self.at += 1
            self.value(key)

    def _next(self, closing: str) -> bool:
        """Step over the opening bracket or a comma; False behind the closing bracket."""
        if self.current != closing:
            self.at += 1
        while self.current in ("\n", ","):
            self.at += 1
        more = self.current not in (closing, "")
        if self.current == closing:
            self.at += 1
        return more


class _TomlScanner(_Scanner):
    """Adds the headers and keys of TOML."""

    def document(self) -> Lines:
        self.counts: dict[Path, int] = {}
        table: Path = ()
        while self.current:
            line = self.tokens[self.at][1]
            if self.current == "[":
                table = self._header(line)
            elif self.current == "\n":
                self.at += 1
            else:
                key = (*table, *self.key())
                self.lines.setdefault(key, line)
                self.at += 1
                self.value(key)
        return self.lines

    def _header(self, line: int) -> Path:
        several = self.tokens[self.at + 1][0] == "["
        self.at += 2 if several else 1
        path: Path = ()
        key = self.key()
        for step in key:
            path = (*path, step)
            if path in self.counts and not (several and path == key):
                path = (*path, self.counts[path] - 1)
        if several:
            index = self.counts.get(path, 0)
            self.counts[path] = index + 1
            self.lines.setdefault(path, line)
            path = (*path, index)
        self.lines.setdefault(path, line)
        self.at += 2 if several else 1
        return path


def _unquoted(token: str) -> str:
    if token.startswith("'"):
        return token[1:-1]
    try:
        return str(json.loads(token)) if token.startswith('"') else token
    except ValueError:
        return token[1:-1]

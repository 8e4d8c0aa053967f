"""The last step of a generated file: it must parse, and Python is formatted by black."""

import ast
import functools
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

_DEEPEST_YAML = 100
#: Black's own default.
_LINE_LENGTH = 88


def finish(path: str, content: bytes, *, is_formatted: bool = False) -> bytes:
    """The file's final bytes; ValueError, with the path as a note, if it does not parse.

    With `is_formatted` the Python is known to be as black writes it, apart from lines that are
    too long: black is imported only for these.
    """
    suffix = PurePosixPath(path).suffix
    try:
        if suffix == ".py":
            return _python(content.decode(), is_formatted=is_formatted).encode()
        if suffix in _PARSERS:
            _PARSERS[suffix](content.decode())
    except Exception as error:
        error.add_note(path)
        raise
    return content


def finish_project(folder: Path) -> None:
    """Finish the files that cookiecutter wrote from a built-in template, and remove empty folders.

    The templates' `post_gen_project` hooks call it.
    """
    for place in sorted(folder.rglob("*"), reverse=True):
        if place.is_dir():
            if not any(place.iterdir()):
                place.rmdir()
        else:
            content = place.read_bytes()
            finished = finish(place.name, content, is_formatted=True)
            if finished != content:
                place.write_bytes(finished)


@functools.lru_cache  # `add` and `update` render most files of a project twice
def _python(text: str, *, is_formatted: bool) -> str:
    ast.parse(text)
    if is_formatted and all(len(line) <= _LINE_LENGTH for line in text.split("\n")):
        return text
    import black

    return black.format_str(text, mode=black.Mode())


def _parse_yaml(text: str) -> None:
    import yaml

    depth = 0
    try:
        # Without libyaml, the time that PyYAML takes grows with the depth.
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST_YAML:
                raise ValueError("lists and tables are too deep in each other")
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


_PARSERS: Mapping[str, Callable[[str], object]] = {
    ".toml": tomllib.loads,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
}

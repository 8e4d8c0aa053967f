"""The last look at a generated file: it parses, and Python is formatted as black does."""

import ast
import tomllib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

_DEEPEST_YAML = 100


def finish(path: str, content: bytes) -> bytes:
    """The file's final bytes; ValueError when it does not parse as what its suffix says."""
    finisher = _FINISHERS.get(PurePosixPath(path).suffix)
    return finisher(content.decode()).encode() if finisher else content


def _python(text: str) -> str:
    import black

    ast.parse(text)
    return black.format_str(text, mode=black.Mode())


def _toml(text: str) -> str:
    tomllib.loads(text)
    return text


def _hcl(text: str) -> str:
    from loafer_kit.scaffold.shipping import hcl

    return hcl.align(text)


def _yaml(text: str) -> str:
    import yaml

    depth = 0
    try:
        # Where libyaml is missing, the time that a parser in Python takes grows with the depth.
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST_YAML:
                raise ValueError("lists and tables are too deep in each other")
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return text


_FINISHERS: Mapping[str, Callable[[str], str]] = {
    ".py": _python,
    ".tf": _hcl,
    ".toml": _toml,
    ".yaml": _yaml,
    ".yml": _yaml,
}

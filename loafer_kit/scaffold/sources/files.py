"""The source that is kept: a spec file in TOML, YAML or JSON."""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath

from loafer_kit.exceptions import ConfigurationError, MissingExtraError
from loafer_kit.scaffold.drafts import Draft
from loafer_kit.scaffold.sources import lines

LARGEST = 1024 * 1024

# The values, and their lines when somebody wants to know them.
Parsed = tuple[object, Callable[[], lines.Lines]]


def read(path: FilePath) -> Draft:
    """The draft in a file; its format is told by the file's suffix."""
    parse = _FORMATS.get(path.suffix.lower())
    if parse is None:
        raise ConfigurationError(f"{path}: a spec file ends in {', '.join(_FORMATS)}")
    text = _text(path)
    try:
        values, found = parse(text)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path}: nested too deeply") from error
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{path}: a spec is a table of keys and values")
    return Draft(values, str(path), lambda place: lines.find(found(), place))


def _text(path: FilePath) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ConfigurationError(f"{path}: larger than {LARGEST} bytes: that is no spec")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 (byte {error.start})") from error


def _toml(text: str) -> Parsed:
    return tomllib.loads(text), lambda: lines.of_toml(text)


def _json(text: str) -> Parsed:
    return json.loads(text, object_pairs_hook=_unique), lambda: lines.of_json(text)


def _yaml(text: str) -> Parsed:
    try:
        from loafer_kit.scaffold.sources import yaml_nodes
    except ImportError as error:
        raise MissingExtraError("A spec in YAML", "scaffold") from error
    values, found = yaml_nodes.read(text)
    return values, lambda: found


def _unique(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!a} is given twice")
    return values


_FORMATS: Mapping[str, Callable[[str], Parsed]] = {
    ".toml": _toml,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": _json,
}

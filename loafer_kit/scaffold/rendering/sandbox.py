"""The environment that renders templates: Jinja's sandbox, with what cookiecutter's has."""

from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.spec import names

# Extensions that read and run nothing of a template's.
SAFE_EXTENSIONS = frozenset(
    {
        "jinja2.ext.do",
        "jinja2.ext.loopcontrols",
        "loafer_kit.scaffold.rendering.answers.AnswersExtension",
        "loafer_kit.scaffold.rendering.quoting.QuotingExtension",
        "cookiecutter.extensions.JsonifyExtension",
        "cookiecutter.extensions.RandomStringExtension",
        "cookiecutter.extensions.SlugifyExtension",
        "cookiecutter.extensions.TimeExtension",
        "cookiecutter.extensions.UUIDExtension",
    }
)
#: What every plain cookiecutter template can rely on.
COOKIECUTTER_EXTENSIONS = sorted(
    name for name in SAFE_EXTENSIONS if name.startswith("cookiecutter.")
)
# How a template is written; nothing among them leads out of the sandbox.
_SETTINGS = frozenset(
    {
        "block_start_string",
        "block_end_string",
        "variable_start_string",
        "variable_end_string",
        "comment_start_string",
        "comment_end_string",
        "line_statement_prefix",
        "line_comment_prefix",
        "trim_blocks",
        "lstrip_blocks",
        "newline_sequence",
        "keep_trailing_newline",
        "autoescape",
    }
)


def environment(
    settings: Mapping[str, Any], extensions: Iterable[str], sources: Mapping[str, str]
) -> SandboxedEnvironment:
    """An environment with a template's own settings, its extensions, and what it may include.

    ConfigurationError for a setting that a template cannot have, or an extension that cannot be
    imported.
    """
    unknown = sorted(set(settings) - _SETTINGS)
    if unknown:
        listed = ", ".join(map(names.shown, unknown))
        raise ConfigurationError(f"_jinja2_env_vars cannot have {listed}")
    try:
        return SandboxedEnvironment(
            undefined=StrictUndefined,
            loader=FunctionLoader(lambda name: _source(name, sources)),
            extensions=list(dict.fromkeys(extensions)),
            **{"keep_trailing_newline": True, **settings},
        )
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigurationError(f"the environment cannot be made: {error}") from error


def _source(name: str, sources: Mapping[str, str]) -> tuple[str, str, None] | None:
    """A file that is rendered or included; its path is what a traceback names."""
    return (sources[name], name, None) if name in sources else None

"""The environment that renders templates: Jinja's sandbox, with what cookiecutter's has."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, markup_join, str_join
from jinja2.sandbox import SandboxedEnvironment

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold import growth, names

# Extensions that read and run nothing of a template's.
SAFE_EXTENSIONS = frozenset(
    {
        "jinja2.ext.do",
        "jinja2.ext.loopcontrols",
        "loafer_kit.scaffold.quoting.QuotingExtension",
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


class _Generator(CodeGenerator):
    """Jinja's compiler, but that `~` is the environment's affair, as other operators can be."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        """Write the joining of texts."""
        self.write("environment.joined(context.eval_ctx, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class Sandbox(SandboxedEnvironment):
    """Jinja's sandbox, in which a template makes no more than a project can be: see `growth`."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.allowance = growth.Allowance()
        self.filters = {name: self._counted(name, made) for name, made in self.filters.items()}

    def concat(self, pieces: Iterable[str]) -> str:
        """All that a template, a macro or a block gives, as a text."""
        return "".join(self.allowance.taken(pieces))

    def joined(self, context: EvalContext, parts: Sequence[object]) -> str:
        """What `~` makes."""
        self.allowance.refuse(sum(map(growth.weight, parts)))
        made = markup_join(parts) if context.autoescape else str_join(parts)
        self.allowance.take(made)
        return made

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """What an operator makes."""
        self.allowance.refuse(growth.of_operator(operator, left, right))
        made = super().call_binop(context, operator, left, right)
        self.allowance.take(made)
        return made

    def call(self, context: Context, function: Any, /, *args: Any, **keywords: Any) -> Any:
        """What a function, a method or a macro gives."""
        args = tuple(growth.listed(getattr(function, "__name__", ""), args))
        self.allowance.refuse(growth.of_call(function, [*args, *keywords.values()]))
        made = super().call(context, function, *args, **keywords)
        self.allowance.take(made)
        return made

    def _counted(self, name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
        start = 1 if hasattr(filter_, "jinja_pass_arg") else 0

        @functools.wraps(filter_)
        def counted(*args: Any, **keywords: Any) -> Any:
            args = tuple(growth.listed(name, args))
            subject, *others = args[start:]
            self.allowance.refuse(growth.of_filter(name, subject, [*others, *keywords.values()]))
            made = filter_(*args, **keywords)
            self.allowance.take(made)
            return made

        return counted


def environment(
    settings: Mapping[str, Any], extensions: Iterable[str], sources: Mapping[str, str]
) -> Sandbox:
    """An environment with a template's own settings, its extensions, and what it may include.

    ConfigurationError for a setting that a template cannot have, or an extension that cannot be
    imported.
    """
    unknown = sorted(set(settings) - _SETTINGS)
    if unknown:
        listed = ", ".join(map(names.shown, unknown))
        raise ConfigurationError(f"_jinja2_env_vars cannot have {listed}")
    try:
        return Sandbox(
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

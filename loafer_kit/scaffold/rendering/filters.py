"""The filters of our templates.

A template may write an identifier or a whole number as it is; every other value needs a filter.
"""

import re
from typing import Any

from jinja2 import Environment, Undefined
from jinja2.ext import Extension

from loafer_kit.scaffold.rendering import quoting

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|")


def _checked(value: Any) -> Any:
    if isinstance(value, (quoting.Quoted, Undefined)) or type(value) is int:
        return value
    if isinstance(value, str) and _IDENTIFIER.fullmatch(value):
        return value
    raise ValueError(f"a template wrote {value!a} without a quoting filter")


class QuotingExtension(Extension):
    """Gives an environment the filters, and refuses whatever comes out without one."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.filters.update(
            annotation=quoting.annotation,
            camel_case=quoting.camel_case,
            cloudformation=quoting.cloudformation,
            code=quoting.code,
            hcl=quoting.hcl,
            hcl_name=quoting.hcl_name,
            hcl_part=quoting.hcl_part,
            json=quoting.json_value,
            prose=quoting.prose,
            py=quoting.python,
            py_keywords=quoting.python_keywords,
            py_name=quoting.python_name,
            py_tuple=quoting.python_tuple,
            shell=quoting.shell,
            shell_json=quoting.shell_json,
            toml=quoting.toml,
            toml_key=quoting.toml_key,
            yaml=quoting.yaml,
        )
        environment.finalize = _checked

"""The sources that other packages add: `NAME=VALUE`, where NAME is an entry point's."""

from collections.abc import Mapping

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.sources import plugins
from loafer_kit.scaffold.spec import names
from loafer_kit.scaffold.spec.drafts import Draft


def read(text: str) -> Draft:
    """The draft that an installed source makes of the value; what it raises itself comes through."""
    name, _, value = text.partition("=")
    plugin = plugins.one("sources", name)
    source = plugin.load()
    try:
        found = source(value)
    except Exception as error:
        error.add_note(f"This is an error of {plugin.what}.")
        raise
    if isinstance(found, Draft):
        return found
    if not isinstance(found, Mapping):
        raise ConfigurationError(f"{plugin}: it gave a {type(found).__name__}, and no values")
    return Draft(found, f"{name} {names.shown(value)}")

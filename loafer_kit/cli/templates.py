"""`loafer-kit templates`: lists the installed templates and spec sources."""

from loafer_kit import __version__
from loafer_kit.cli.terminal.options import Json
from loafer_kit.cli.terminal.output import say, say_json
from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.rendering import templates as template_files
from loafer_kit.scaffold.sources import installed
from loafer_kit.scaffold.sources.installed import Plugin

Row = dict[str, str]


def templates(*, json: Json = False) -> None:
    """List the installed templates and spec sources.

    If one cannot be used, a warning names it.
    """
    rows: list[Row] = [
        {
            "name": name,
            "use": f"new {name}",
            "of": f"loafer-kit {__version__}",
            "place": str(template_files.locate(name)),
        }
        for name in ("service", "extension")
    ]
    warnings = []
    for plugin in (*installed.plugins("templates"), *installed.plugins("sources")):
        try:
            rows.append(_described(plugin))
        except ConfigurationError as error:
            warnings.append(str(error))
    if json:
        say_json({"installed": rows, "warnings": warnings})
    else:
        widths = [max(len(row[key]) for row in rows) for key in ("use", "of")]
        for row in rows:
            say(f"{row['use']:<{widths[0]}}  {row['of']:<{widths[1]}}  {row['place']}".rstrip())
    for warning in warnings:
        say(f"warning: {warning}", err=True)


def _described(plugin: Plugin) -> Row:
    """How a plugin is used; ConfigurationError if it cannot be used."""
    row = {"name": plugin.name, "of": f"{plugin.package} {plugin.version}"}
    if plugin.entry.group == "loafer_kit.sources":
        plugin.load()
        return {**row, "use": f"new service --source {plugin.name}=…", "place": plugin.entry.value}
    place = installed.folder(plugin)
    purpose = template_files.purpose_in(place)
    use = f"new {purpose or 'service'} --template {plugin.name}"
    return {**row, "use": use, "place": str(place)}

"""{{ cookiecutter.name|prose }}: handles the messages of {{ cookiecutter.subject|prose }}."""

from loafer_kit.managers import LoaferManager

from {{ cookiecutter.package }} import routes

manager = LoaferManager(routes=routes.routes)

{% if cookiecutter.like == "middleware" %}
"""The extension: its settings and its middleware."""
{% else %}
"""The extension: its settings, and when its connection opens and closes."""
{% endif %}

from collections.abc import Mapping
from typing import Any, ClassVar

from loafer_kit import {% if cookiecutter.consumer %}Application, {% endif %}Extension
{% if cookiecutter.cli %}
from loafer_kit.commands import register_commands
{% endif %}
from loafer_kit.services import Service

{% if cookiecutter.cli %}
from {{ cookiecutter.package }} import commands
{% endif %}
{% if cookiecutter.like == "middleware" %}
from {{ cookiecutter.package }}.middleware import Middleware
{% else %}
from {{ cookiecutter.package }}.connection import Connection
{% endif %}
{% if cookiecutter.consumer %}
from {{ cookiecutter.package }}.consumer import Consumer
{% endif %}
{% if cookiecutter.like == "provider" %}
from {{ cookiecutter.package }}.provider import Provider
{% endif %}


class {{ cookiecutter.class_name }}(Extension):
{% if cookiecutter.like == "middleware" %}
    """Adds middleware to a service."""
{% else %}
    """Gives a service a connection, which opens and closes with it."""
{% endif %}

    DEFAULT_SETTINGS: ClassVar[Mapping[str, Any]] = {
{%- for setting in cookiecutter.settings +%}
        "{{ setting.name }}": {{ setting.default|py }},
{%- if loop.last +%}
    {%+ endif %}
{%- endfor %}
}
    REQUIRED_SETTINGS: ClassVar[tuple[str, ...]] = (
{%- if cookiecutter.required|length == 1 %}
"{{ cookiecutter.required[0] }}",
{%- else %}
{% for name in cookiecutter.required +%}
        "{{ name }}",
{%- if loop.last +%}
    {%+ endif %}
{%- endfor %}
{% endif %}
)

{% if cookiecutter.like == "middleware" %}
    def __init__(self, app: Service | None = None) -> None:
        self._middleware: Middleware | None = None
        super().__init__(app)

    def init_app(self, app: Service) -> None:
        """Check the settings of a service and add the middleware to it."""
        super().init_app(app)
        self._middleware = Middleware(app.settings)
        app.middleware.append(self._middleware)

    @property
    def middleware(self) -> Middleware:
        """The middleware of the service."""
        if self._middleware is None:
            raise RuntimeError("There is no middleware before init_app is called.")
        return self._middleware
{% else %}
    def __init__(self, app: Service | None = None) -> None:
        self._connection: Connection | None = None
        super().__init__(app)

    def init_app(self, app: Service) -> None:
        """Check the settings of a service and register with it."""
        super().init_app(app)
        app.startup(self._open)
        app.teardown(self._close)

    @property
    def connection(self) -> Connection:
        """The connection, made when it is first asked for."""
        if self._connection is None:
            self._connection = Connection(self.app.settings)
        return self._connection
{% endif %}
{% if cookiecutter.consumer %}

    def consumer(self) -> Consumer:
        """Make an Application's consumer, which reads through the connection."""
        app: Application = self.app
        return Consumer(app, self.connection)
{% endif %}
{% if cookiecutter.like == "provider" %}

    def provider(self, queue: str) -> Provider:
        """Make the provider of a route, which reads a queue through the connection."""
        return Provider(queue, self.connection)
{% endif %}
{% if cookiecutter.cli %}

    def register_cli(self) -> None:
        """Add the commands: `loafer-kit --app APP_PATH {{ cookiecutter.namespace|prose }} --help` lists them."""
        register_commands({{ cookiecutter.namespace|py }}, [commands.ping])
{% endif %}
{% if cookiecutter.like != "middleware" %}

    async def _open(self, app: Service) -> None:
        await self.connection.open()

    async def _close(self, app: Service) -> None:
        if self._connection is not None:
            await self._connection.close()
{% endif %}

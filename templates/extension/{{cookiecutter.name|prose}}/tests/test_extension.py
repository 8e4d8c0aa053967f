"""The extension on both kinds of service."""

from typing import Any

import pytest
from loafer_kit import Abort, Application, LoaferManager
from loafer_kit.routes import Route
from loafer_kit.testing import InMemoryProvider

from {{ cookiecutter.package }} import {{ cookiecutter.class_name }}
{% if cookiecutter.required %}

#: The settings that the extension requires.
SETTINGS = {
{% for name in cookiecutter.required %}
    "{{ name }}": "required",
{% endfor %}
}
{% endif %}


class Once:
    """A consumer of one message."""

    read_it = False

    async def read(self) -> str:
        if self.read_it:
            raise Abort("consumer.empty", None)
        self.read_it = True
        return "message"


def make_application() -> Application:
    async def callback(app: Application, message: str) -> None:
        app.settings["WAS_OPEN"] = app.extensions[{{ cookiecutter.key|py }}].connection.is_open

    return Application("service", {% if cookiecutter.required %}SETTINGS, {% endif %}consumer=Once(), callback=callback)


def make_manager() -> LoaferManager:
    async def handler(message: str, metadata: dict[str, Any]) -> bool:
        extension = manager.extensions[{{ cookiecutter.key|py }}]
        manager.settings["WAS_OPEN"] = extension.connection.is_open
        return True

{% if cookiecutter.required %}
    manager = LoaferManager(
        [Route(InMemoryProvider(["message"]), handler)], settings=SETTINGS
    )
{% else %}
    manager = LoaferManager([Route(InMemoryProvider(["message"]), handler)])
{% endif %}
    return manager


@pytest.fixture(params=[make_application, make_manager])
def service(request: pytest.FixtureRequest) -> Any:
    """An Application, then a LoaferManager."""
    return request.param()


{% if cookiecutter.settings %}
def test_defaults_are_applied(service: Any) -> None:
    """What the service leaves open has its default."""
    {{ cookiecutter.class_name }}(service)
    for name, default in {{ cookiecutter.class_name }}.DEFAULT_SETTINGS.items():
        assert service.settings[name] == default


def test_the_services_settings_win(service: Any) -> None:
    """A default replaces nothing."""
    for name in {{ cookiecutter.class_name }}.DEFAULT_SETTINGS:
        service.settings[name] = "chosen"
    {{ cookiecutter.class_name }}(service)
    assert all(service.settings[name] == "chosen" for name in {{ cookiecutter.class_name }}.DEFAULT_SETTINGS)


{% endif %}
{% if cookiecutter.required %}
@pytest.mark.parametrize("missing", {{ cookiecutter.class_name }}.REQUIRED_SETTINGS)
def test_missing_settings_are_reported(service: Any, missing: str) -> None:
    """By name, when the service is made."""
    del service.settings[missing]
    with pytest.raises(KeyError, match=missing):
        {{ cookiecutter.class_name }}(service)


{% endif %}
def test_the_service_knows_its_extension(service: Any) -> None:
    """Handlers and callbacks find it in the registry."""
    extension = {{ cookiecutter.class_name }}(service)
    assert service.extensions[{{ cookiecutter.key|py }}] is extension


def test_there_is_no_connection_without_a_service() -> None:
    """An extension may be made first and given its service later."""
    extension = {{ cookiecutter.class_name }}()
    with pytest.raises(RuntimeError, match="init_app"):
        _ = extension.connection


def test_the_connection_lives_as_long_as_the_service(service: Any) -> None:
    """It is open while messages are handled; teardown has closed it afterwards."""
    extension = {{ cookiecutter.class_name }}(service)
    connection = extension.connection
    service.run()
    assert service.settings["WAS_OPEN"]
    assert not connection.is_open

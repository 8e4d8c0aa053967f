"""{{ cookiecutter.name|prose }}: handles the messages of {{ cookiecutter.subject|prose }}."""

{% if cookiecutter.shipping.with.monitoring %}
from loafer_kit.contrib.monitoring import Monitoring
{% endif %}
from loafer_kit.managers import LoaferManager

from {{ cookiecutter.package }} import routes

manager = LoaferManager(routes=routes.routes, name={{ cookiecutter.name|py }})
{% if cookiecutter.shipping.with.monitoring %}
monitoring = Monitoring(manager)
{% endif %}

"""The handlers, one by one: each gets a message as its queue delivers it."""

import asyncio

from loafer_kit.outcomes import ACKNOWLEDGE
from loafer_kit.testing import deliver

{% if cookiecutter.error_handlers or cookiecutter.queues|rejectattr("types")|list %}
from {{ cookiecutter.package }} import handlers
{% endif %}
from {{ cookiecutter.package }}.routes import routes
{% for queue in cookiecutter.queues %}
{% for function in queue.functions %}


{% include "handler_test.py" %}
{% endfor %}
{% endfor %}
{% for handler in cookiecutter.error_handlers %}


{% set name = handler.name %}
{% include "error_handler_test.py" %}
{% endfor %}

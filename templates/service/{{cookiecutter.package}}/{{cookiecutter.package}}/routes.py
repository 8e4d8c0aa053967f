"""The routes: each takes the messages of one queue to its handler."""

{% if cookiecutter.envelopes %}
from loafer_kit.ext.aws.envelopes import EnvelopeTranslator, {{ cookiecutter.envelopes|join(", ")|prose }}
{% endif %}
{% if cookiecutter.on_rabbitmq %}
from loafer_kit.ext.amqp.routes import AMQPRoute
{% else %}
from loafer_kit.ext.aws.routes import {{ cookiecutter.route_classes|join(", ")|prose }}
{% endif %}
{% if cookiecutter.queues|selectattr("types")|list %}
from loafer_kit.payloads.by_type import by_type
{% endif %}

from {{ cookiecutter.package }} import handlers{% if cookiecutter.queues|selectattr("computes_names")|list %}, parameters{% endif %}{% if cookiecutter.translators %}, translators{% endif %}


{% set many = cookiecutter.queues|length > 1 %}
routes = (
{%- for queue in cookiecutter.queues %}
{%- if many +%}
    {%+ endif %}
{{- queue.route }}({{ queue.name|py_name }}
{%- if queue.receive %}, {{ {"options": queue.receive}|py }}{% endif %}
{% if queue.types %}
, handler=by_type({{ queue.by|py }}, {
{%- for type, handler in queue.types.items() %}{{ type|py }}: handlers.{{ handler }}{% if not loop.last %}, {% endif %}{% endfor -%}
}{% if queue.handler %}, default=handlers.{{ queue.handler }}{% endif %})
{%- else %}
, handler=handlers.{{ queue.handler }}
{%- endif %}
{%- if queue.shown != queue.queue_name %}, name={{ queue.route_name|py }}{% endif %}
{%- if queue.error_handler %}, error_handler=handlers.{{ queue.error_handler }}{% endif %}
{% if queue.translator == "none" %}
, message_translator=None
{%- elif queue.translator %}
, message_translator=translators.{{ queue.translator }}()
{%- elif queue.translated %}
, message_translator=EnvelopeTranslator({{ queue.translated|join(", ")|prose }})
{%- endif %}
{% for keyword, value in queue.keywords.items() %}
, {{ keyword }}={{ value|py_name }}
{%- endfor %}
),
{%- endfor %}
{% if many +%}
{% endif %}
)

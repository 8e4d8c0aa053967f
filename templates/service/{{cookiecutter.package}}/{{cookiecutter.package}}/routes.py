"""Which queue's messages go to which handler."""

from loafer_kit.ext.aws.routes import {{ cookiecutter.route_classes|join(", ")|prose }}

from {{ cookiecutter.package }} import handlers{% if cookiecutter.translators %}, translators{% endif %}


routes = (
{% for queue in cookiecutter.queues %}
    {{ queue.route }}(
        {{ queue.name|py }}
{% if queue.receive %}
        , {"options": {
{%- for option, value in queue.receive.items() %}{{ option|py }}: {{ value|py }}{% if not loop.last %}, {% endif %}{% endfor -%}
        }}
{% endif %}
        , handler=handlers.{{ queue.handler }}
{% if queue.error_handler %}
        , error_handler=handlers.{{ queue.error_handler }}
{% endif %}
{% if queue.translator == "none" %}
        , message_translator=None
{% elif queue.translator %}
        , message_translator=translators.{{ queue.translator }}()
{% endif %}
{% for keyword, value in queue.keywords.items() %}
        , {{ keyword }}={{ value|py }}
{% endfor %}
    ),
{% endfor %}
)

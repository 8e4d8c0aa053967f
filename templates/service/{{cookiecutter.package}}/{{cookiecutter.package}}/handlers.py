"""The handlers: one for each queue.

{% if cookiecutter.on_rabbitmq %}
A handler that returns True acknowledges its message. If it returns False or raises,
the message comes back after a while.
{% else %}
A handler that returns True deletes its message. If it returns False or raises, the
message stays on its queue and comes back when its visibility timeout ends.
{% endif %}
"""

import logging
from collections.abc import Mapping
from typing import Any

{% if cookiecutter.error_handlers %}
from loafer_kit.types import ExcInfo, Message

{% endif %}
{% if cookiecutter.payload_names %}
from {{ cookiecutter.package }} import payloads

{% endif %}
{% set broker = "RabbitMQ" if cookiecutter.on_rabbitmq else "SQS" %}
logger = logging.getLogger(__name__)


{% for queue in cookiecutter.queues %}
{% set first_queue = loop.first %}
{% for function in queue.functions %}
{% set type, payload = function.message.type, function.message.payload %}
{% if not (first_queue and loop.first) %}


{% endif %}
async def {{ function.name }}(message: {% if payload %}payloads.{{ payload }}{% elif queue.kind == "s3" %}list[dict[str, Any]]{% else %}Any{% endif %}, metadata: Mapping[str, Any]) -> bool:
    """Handle one message {% if type %}{{ type|py }} {% endif %}of the queue {{ queue.shown|prose }}.

{% if queue.translator == "none" %}
    `message` is what {{ broker }} delivered, undecoded; `metadata` is empty.
{% elif queue.translator %}
    `message` and `metadata` are what translators.{{ queue.translator }} makes of what {{ broker }} delivers.
{% elif payload %}
    `message` is built from {% if queue.content %}{{ queue.content|prose }}{% elif queue.topic %}the JSON published to {{ queue.topic|prose }}{% else %}the JSON body{% endif %}; what does not fit is rejected.
{% elif queue.content %}
    `message` is {{ queue.content|prose }},
    `metadata` what its envelope and SQS say about it.
{% elif queue.topic %}
    `message` is the decoded JSON that was published to the topic {{ queue.topic|prose }},
    `metadata` what {% if queue.envelopes %}SNS and SQS say{% else %}SQS says{% endif %} about it.
{% else %}
    `message` is the decoded JSON body, `metadata` what {{ broker }} says about it.
{% endif %}
{% if queue.fifo %}
    Messages of one message group come in order, one at a time.
{% endif %}
{% if queue.dead_letter_queue %}
    After {{ queue.max_receive_count }} attempts without success a message goes to the queue
    {{ queue.dead_letter_queue|prose }}; raise RejectMessage to send it there at once.
{% endif %}
    """
    # TODO: do the work here.
    logger.warning("{{ function.name }} is not written yet: deleted %r", message)
    return True
{% endfor %}
{% endfor %}
{% for handler in cookiecutter.error_handlers %}


async def {{ handler.name }}(exc_info: ExcInfo, message: Message) -> bool:
    """Decide about a message of {{ handler.subject|prose }} whose handling raised.

    The exception is in the log already. True deletes the message, False leaves it on
    its queue.
    """
    return False
{% endfor %}

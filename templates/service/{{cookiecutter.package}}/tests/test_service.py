"""The service as a whole: from a sent message to an empty queue."""

from loafer_kit.local import {% if cookiecutter.needs_local_queue %}LocalQueue, {% endif %}LocalQueues
from loafer_kit.managers import LoaferManager

from {{ cookiecutter.package }}.routes import routes


def test_messages_are_handled_and_deleted(local_queues: LocalQueues) -> None:
    """One message to {% if cookiecutter.queues|length == 1 %}the queue{% else %}each queue{% endif %}, one round of the service, and nothing is left."""
{% if cookiecutter.needs_local_queue %}
    local_queues.create(
{% for queue in cookiecutter.queues %}
{% if queue.topic or queue.dead_letter_queue %}
        LocalQueue({{ queue.queue_name|py }}
{%- if queue.topic %}, topic={{ queue.topic|py }}{% endif %}
{%- if queue.dead_letter_queue %}, dead_letter_queue={{ queue.dead_letter_queue|py }}, max_receive_count={{ queue.max_receive_count }}{% endif %}
),
{% else %}
        {{ queue.queue_name|py }},
{% endif %}
{% endfor %}
    )
{% else %}
    local_queues.create({% for queue in cookiecutter.queues %}{{ queue.queue_name|py }}{% if not loop.last %}, {% endif %}{% endfor %})
{% endif %}
{% for queue in cookiecutter.queues if not queue.topic %}
    local_queues.send({{ queue.queue_name|py }}, {{ queue.example|py }})
{% endfor %}
{% for topic in cookiecutter.topics %}
    local_queues.publish({{ topic.name|py }}, {{ topic.example|py }})
{% endfor %}
    queues = [{% for queue in cookiecutter.queues %}{{ queue.queue_name|py }}{% if not loop.last %}, {% endif %}{% endfor %}]
    manager = LoaferManager([route for route in routes if route.name in queues])

    manager.run(forever=False)

{% for queue in cookiecutter.queues %}
    assert local_queues.counts({{ queue.queue_name|py }}).total == 0
{% endfor %}

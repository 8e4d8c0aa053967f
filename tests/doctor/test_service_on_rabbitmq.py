"""Doctor on a service of RabbitMQ: its broker and its queues."""

import asyncio

import rabbit

from loafer_kit.local import servers


def test_queues_are_there_or_will_be_declared(rabbitmq, doctor, monkeypatch):
    """Nothing is created, and nothing of AWS is asked for."""
    monkeypatch.setenv("LOAFER_AMQP_URL", rabbitmq)
    there, absent = rabbit.fresh(), rabbit.fresh()
    asyncio.run(rabbit.declare(rabbitmq, there, {"x-queue-type": "quorum"}, durable=True))
    found = doctor(*(f'name = "{name}"\nkind = "amqp"' for name in (there, absent)))
    levels = {item["subject"]: item["level"] for item in found}
    assert levels["RabbitMQ"] == "ok"
    assert levels[f"queue {there}"] == "ok"
    assert levels[f"queue {absent}"] == "note"
    assert "credentials" not in levels
    assert doctor(f'name = "{absent}"\nkind = "amqp"')[-1]["level"] == "note"


def test_the_broker_of_a_running_dev_is_asked(rabbitmq, doctor, monkeypatch):
    """As by `send` and `dlq`; LOAFER_AMQP_URL comes first."""
    monkeypatch.delenv("LOAFER_AMQP_URL", raising=False)
    dev = servers.ServerRecord("http://127.0.0.1:1", "shop", rabbitmq=rabbitmq, pid=1)
    monkeypatch.setattr(servers, "running", lambda: [dev])
    levels = {item["subject"]: item["level"] for item in doctor('name = "orders"\nkind = "amqp"')}
    assert levels["RabbitMQ"] == "ok"
    monkeypatch.setenv("LOAFER_AMQP_URL", "amqp://127.0.0.1:1/")
    levels = {item["subject"]: item["level"] for item in doctor('name = "orders"\nkind = "amqp"')}
    assert levels["RabbitMQ"] == "problem"


def test_a_broker_that_does_not_answer_is_a_problem(doctor, monkeypatch):
    """Its remedy names the variable, its message not the password."""
    monkeypatch.setenv("LOAFER_AMQP_URL", "amqp://me:secret@127.0.0.1:1/")
    (problem,) = [
        item
        for item in doctor('name = "orders"\nkind = "amqp"')
        if item["level"] == "problem" and item["subject"] == "RabbitMQ"
    ]
    assert "LOAFER_AMQP_URL" in problem["remedy"]
    assert "secret" not in str(problem)


def test_the_variables_are_those_of_rabbitmq(doctor, monkeypatch):
    """The broker's is listed without its password."""
    monkeypatch.setenv("LOAFER_AMQP_URL", "amqp://me:secret@127.0.0.1:1/")
    found = doctor('name = "orders"\nkind = "amqp"')
    (listed,) = [item for item in found if item["subject"] == "settings of route orders"]
    assert "LOAFER_ORDERS_MAX_DELIVERIES" in listed["message"]
    assert "LOAFER_ORDERS_VISIBILITY_TIMEOUT" not in listed["message"]
    assert not [item for item in found if "sets nothing" in item["message"]]
    (service,) = [item for item in found if item["subject"] == "settings of the service"]
    assert service["message"].startswith("LOAFER_AMQP_URL=amqp://127.0.0.1:1/ is set")
    assert "secret" not in str(found)

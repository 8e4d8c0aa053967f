"""Every example of Loafer's documentation, run after the one word is replaced.

Messages go over HTTP to the embedded SQS server and come from it.
"""

import importlib
import json
import re
import signal
import subprocess
import sys
import textwrap

import pytest

from loafer_kit.ext.aws.publishers import sns_publish, sqs_publish
from loafer_kit.local import LocalQueue

pytestmark = pytest.mark.slow

# Quickstart, Tutorial

HANDLERS = """
import asyncio

async def print_handler(message, *args):
    print('message is {}'.format(message))
    print('args is {}'.format(args))

    # mimic IO processing
    await asyncio.sleep(0.1)
    return True


async def error_handler(exc_type, exc, message):
    print('exception {} received'.format(exc_type))
    # do not delete the message that originated the error
    return  False
"""

ROUTES = """
from loafer.ext.aws.routes import SQSRoute
from .handlers import print_handler, error_handler

# assuming a queue named "loafer-test"
routes = (
    SQSRoute('loafer-test', {'options': {'WaitTimeSeconds': 3}},
             handler=print_handler,
             error_handler=error_handler),
)
"""

MAIN = """
from loafer.managers import LoaferManager
from .routes import routes

manager = LoaferManager(routes=routes)
manager.run()
"""

QUEUE = "loafer_kit-test"


def migrated(source):
    """Return an example as a Loafer user migrates it: by replacing the one word."""
    return re.sub(r"\bloafer\b", "loafer_kit", textwrap.dedent(source))


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a package from its files' sources, and let it be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(package, **sources):
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").touch()
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(migrated(source))
        return folder

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]


PACKAGES = {"foobar", "example", "raven", "newrelic"}


@pytest.fixture
def example(write):
    """Write an example as a module, import it and return it."""

    def example(source):
        write("example", module=source)
        return importlib.import_module("example.module")

    return example


def run_once(*routes):
    """Run one iteration of a service."""
    from loafer_kit.managers import LoaferManager

    LoaferManager(routes=list(routes)).run(forever=False)


def one_route(queue, **keywords):
    from loafer_kit.ext.aws.routes import SQSRoute

    return SQSRoute(queue, {"options": {"WaitTimeSeconds": 0}}, **keywords)


@pytest.fixture
def queue(local_queues):
    return local_queues.fresh()


def test_the_tutorial_runs_as_a_process(local_server, local_queues, write, tmp_path, python_copies):
    """`python -m foobar` prints and deletes a message, reports one that is not JSON, ends on TERM."""
    write("foobar", handlers=HANDLERS, routes=ROUTES, __main__=MAIN)
    local_queues.create(QUEUE)
    environment = local_server.child_environment() | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "foobar"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            local_queues.send(QUEUE, '{"key": true}')
            assert process.stdout.readline() == "message is {'key': True}\n"
            assert process.stdout.readline().startswith("args is ({'MessageId': ")
            local_queues.send(QUEUE, "no JSON")
            assert (
                process.stdout.readline()
                == "exception <class 'json.decoder.JSONDecodeError'> received\n"
            )
        finally:
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert local_queues.counts(QUEUE).total == 1  # the first is deleted, the second is not


def test_the_tutorial_runs_one_iteration(local_queues, write, capsys):
    """`manager.run(forever=False)` handles what one fetch brings, and stops."""
    write(
        "foobar", handlers=HANDLERS, routes=ROUTES, main=MAIN.replace("run()", "run(forever=False)")
    )
    local_queues.create(QUEUE)
    for number in range(2):
        local_queues.send(QUEUE, json.dumps(number))
    importlib.import_module("foobar.main")
    printed = capsys.readouterr().out.splitlines()
    assert {"message is 0", "message is 1"} <= set(printed)
    assert local_queues.counts(QUEUE).total == 0


# User Guide, Handlers


@pytest.mark.parametrize(("answer", "left"), [("True", 0), ("False", 1)])
def test_a_handler_gets_message_and_metadata(local_queues, queue, example, answer, left):
    """Its answer says whether the message is acknowledged."""
    module = example(f"""
        seen = []

        async def my_handler(message, metadata):
            seen.append((message, metadata))
            return {answer} # or False
        """)
    message_id = local_queues.send(queue, {"key": True})
    run_once(one_route(queue, handler=module.my_handler))
    [(message, metadata)] = module.seen
    assert message == {"key": True}
    assert metadata["MessageId"] == message_id
    assert local_queues.counts(queue).total == left


def test_regular_functions_are_handlers_too(local_queues, queue, example):
    """They run in a thread, outside the event loop."""
    module = example("""
        import threading

        threads = []

        def my_handler(message, metadata):
            threads.append(threading.current_thread())
            return True
        """)
    local_queues.send(queue, 1)
    run_once(one_route(queue, handler=module.my_handler))
    import threading

    assert module.threads != [threading.main_thread()]
    assert local_queues.counts(queue).total == 0


def test_a_handler_may_raise_delete_message(local_queues, queue, example):
    """Raising DeleteMessage acknowledges the message."""
    module = example("""
        from loafer.exceptions import DeleteMessage

        async def my_handler(message, metadata):
            raise DeleteMessage
        """)
    local_queues.send(queue, 1)
    run_once(one_route(queue, handler=module.my_handler))
    assert local_queues.counts(queue).total == 0


# User Guide, Error Handlers


@pytest.mark.parametrize(("answer", "left"), [("True", 0), ("False", 1)])
def test_a_custom_error_handler_decides(local_queues, queue, example, answer, left):
    """It gets type, exception and raw message; True acknowledges."""
    module = example(f"""
        seen = []

        async def custom_error_handler(exc_type, exc, message):
            seen.append((exc_type, str(exc), message['Body']))
            return {answer}

        async def handler(message, metadata):
            raise KeyError(message)
        """)
    local_queues.send(queue, "7")
    run_once(one_route(queue, handler=module.handler, error_handler=module.custom_error_handler))
    assert module.seen == [(KeyError, "7", "7")]
    assert local_queues.counts(queue).total == left


def test_the_default_error_handler_logs_and_leaves(local_queues, queue, example, caplog):
    """Without an error handler the error is logged and the message not acknowledged."""
    module = example("""
        async def handler(message, metadata):
            raise KeyError('missing')
        """)
    local_queues.send(queue, 1)
    run_once(one_route(queue, handler=module.handler))
    assert "KeyError: 'missing'" in caplog.text
    assert local_queues.counts(queue).total == 1


# User Guide, Sentry


def test_sentry_is_integrated(local_queues, queue, example, write):
    """The error handler reports to the raven client, and acknowledges as asked."""
    folder = write("raven")
    (folder / "__init__.py").write_text(textwrap.dedent("""
        class Client:
            def __init__(self, dsn, **options):
                self.captured = []

            def captureException(self, exc_info=None, **kwargs):
                self.captured.append((exc_info, kwargs))
        """))
    module = example("""
        dsn, options = 'https://key@sentry.invalid/1', {}

        from loafer.ext.sentry import sentry_handler
        from raven import Client

        client = Client(dsn=dsn, **options)
        error_handler = sentry_handler(client, delete_message=True)

        async def handler(message, metadata):
            raise KeyError(message)
        """)
    local_queues.send(queue, 1)
    run_once(one_route(queue, handler=module.handler, error_handler=module.error_handler))
    [(exc_info, kwargs)] = module.client.captured
    assert exc_info[0] is KeyError
    assert kwargs["extra"]["message"]["Body"] == "1"
    assert local_queues.counts(queue).total == 0


# User Guide, Message Translators

TRANSLATOR = """
class MyMessageTranslator:

    def translate(self, message):
        return {'content': int(message), 'metadata': {}}
"""


def test_the_translator_of_the_guide_translates(example):
    """Content and metadata are what the handler gets."""
    module = example(TRANSLATOR)
    assert module.MyMessageTranslator().translate("12") == {"content": 12, "metadata": {}}


def test_a_translator_needs_no_base_class(local_queues, queue, example):
    """A class that only has `translate` is a translator."""
    module = example(TRANSLATOR.replace("int(message)", "int(message['Body'])") + """
seen = []

async def handler(message, metadata):
    seen.append((message, metadata))
    return True
""")
    local_queues.send(queue, "12")
    run_once(
        one_route(queue, handler=module.handler, message_translator=module.MyMessageTranslator())
    )
    assert module.seen == [(12, {})]


def test_a_translator_that_gives_nothing_fails_the_message(local_queues, queue, example):
    """No content is a ValueError, which the error handler gets."""
    module = example("""
        seen = []

        class Nothing:
            def translate(self, message):
                return {'content': None}

        async def error_handler(exc_type, exc, message):
            seen.append(exc_type)
            return True

        async def handler(message, metadata):
            raise AssertionError('never called')
        """)
    local_queues.send(queue, "12")
    run_once(
        one_route(
            queue,
            handler=module.handler,
            message_translator=module.Nothing(),
            error_handler=module.error_handler,
        )
    )
    assert module.seen == [ValueError]
    assert local_queues.counts(queue).total == 0


def test_without_a_translator_the_raw_message_is_delivered(local_queues, queue, example):
    """`message_translator=None` disables the configured one."""
    module = example("""
        seen = []

        async def handler(message, metadata):
            seen.append((message['Body'], metadata))
            return True
        """)
    local_queues.send(queue, "no JSON")
    run_once(one_route(queue, handler=module.handler, message_translator=None))
    assert module.seen == [("no JSON", {})]


# User Guide, Providers and Routes


def test_the_provider_takes_its_documented_options(local_server, local_queues, queue):
    """Name, endpoint, `use_ssl` and the options of ReceiveMessage."""
    from loafer_kit.ext.aws.providers import SQSProvider
    from loafer_kit.routes import Route

    seen = []
    provider = SQSProvider(
        queue,
        endpoint_url=local_server.url,
        use_ssl=False,
        options={"WaitTimeSeconds": 0, "MaxNumberOfMessages": 5},
    )
    for number in range(6):
        local_queues.send(queue, number)
    run_once(Route(provider, lambda message, _: seen.append(message) or True))
    assert len(seen) == 5
    assert local_queues.counts(queue).visible == 1


EXAMPLES = """
from loafer.ext.aws.routes import SQSRoute, SNSQueueRoute

# regular route
route1 = SQSRoute('my-queue1', handler=..., name='route1')

# route with custom SQSProvider parameters
route2 = SNSQueueRoute('my-queue2', {'use_ssl': False, 'options': {'WaitTimeSeconds': 4}}, handler=..., name='route2')

# route with custom message translator
route3 = SQSRoute('my-queue3', message_translator=custom_message_translator, handler=...)

# route with custom error handler
route4 = SNSQueueRoute('my-queue4', handler=..., error_handler=custom_error_handler)
"""

AROUND_THE_EXAMPLES = """
seen = []

async def handler(message, metadata):
    if message == 'fail':
        raise ValueError(message)
    seen.append(message)
    return True

class Translator:
    def translate(self, message):
        return {'content': 'custom ' + message['Body']}

custom_message_translator = Translator()

async def custom_error_handler(exc_type, exc, message):
    seen.append(exc_type)
    return True
"""


def test_the_routes_of_the_guide_run_side_by_side(local_queues, example):
    """SQS and SNS, own options, own translator, own error handler: one service."""
    module = example(AROUND_THE_EXAMPLES + EXAMPLES.replace("handler=...", "handler=handler"))
    local_queues.create(
        "my-queue1",
        LocalQueue("my-queue2", topic="topic2"),
        "my-queue3",
        LocalQueue("my-queue4", topic="topic4"),
    )
    sqs_publish("my-queue1", '"from SQS"')
    sns_publish("topic2", '"from SNS"')
    sqs_publish("my-queue3", "text")
    sns_publish("topic4", '"fail"')

    routes = [module.route1, module.route2, module.route3, module.route4]
    assert [route.name for route in routes] == ["route1", "route2", "my-queue3", "my-queue4"]
    run_once(*routes)

    assert set(module.seen) == {"from SQS", "from SNS", "custom text", ValueError}
    assert [local_queues.counts(f"my-queue{number}").total for number in range(1, 5)] == [0] * 4


# FAQ


def test_blocking_code_may_run_in_a_thread(local_queues, queue, example):
    """`run_in_executor` in a handler, as the FAQ shows it."""
    module = example("""
        import asyncio

        seen = []

        def your_callable(argument):
            seen.append(argument)

        async def handler(your_callable_args, metadata):
            loop = asyncio.get_event_loop()
            await loop.run_in_executor(None, your_callable, your_callable_args)
            # Important: do not close/stop the loop
            return True
        """)
    local_queues.send(queue, 1)
    run_once(one_route(queue, handler=module.handler))
    assert module.seen == [1]
    assert local_queues.counts(queue).total == 0


def test_a_decorated_function_is_a_handler(local_queues, queue, example, write):
    """What newrelic's decorator makes of a handler is one."""
    write(
        "newrelic",
        agent="""
        import functools

        transactions = []

        def background_task():
            def decorate(function):
                @functools.wraps(function)
                def task(*args, **kwargs):
                    transactions.append(function.__name__)
                    return function(*args, **kwargs)
                return task
            return decorate
        """,
    )
    module = example("""
        import newrelic.agent

        @newrelic.agent.background_task()
        def some_code(message, metadata):
            return True
        """)
    local_queues.send(queue, 1)
    run_once(one_route(queue, handler=module.some_code))
    assert module.newrelic.agent.transactions == ["some_code"]
    assert local_queues.counts(queue).total == 0

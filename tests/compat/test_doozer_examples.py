"""Every example of Doozer's documentation, run after the one word is replaced."""

import contextlib
import io
import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path

import programs
import pytest

QUICKSTART = '''
from doozer import Abort, Application

class FileConsumer:
    """Read lines from a file."""

    def __init__(self, filename):
        self.filename = filename
        self._file = None

    def __iter__(self):
        """FileConsumer objects are iterators."""
        return self

    def __next__(self):
        """Return the next line of the file, if available."""
        if not self._file:
            self._file = open(self.filename)
        try:
            return next(self._file)
        except StopIteration:
            self._file.close()
            raise Abort('Reached end of file', None)

    async def read(self):
        """Return the next line in the file."""
        return next(self)

async def callback(app, message):
    """Print the message retrieved from the file consumer."""
    print(app.name, 'received:', message)
    return message

app = Application(
    __name__,
    callback=callback,
    consumer=FileConsumer(__file__),
)

@app.startup
async def print_header(app):
    """Print a header for the file being processed."""
    print('# Begin processing', app.consumer.filename)

@app.teardown
async def print_footer(app):
    """Print a footer for the file being processed."""
    print('# Done processing', app.consumer.filename)

@app.message_preprocessor
async def remove_comments(app, line):
    """Abort processing of comments (lines that start with #)."""
    if line.strip().startswith('#'):
        raise Abort('Line is a comment', line)
    return line
'''

ONE_MESSAGE = """
from doozer import Abort, Application

class Consumer:
    def __init__(self, *messages):
        self.messages = list(messages)

    async def read(self):
        if not self.messages:
            raise Abort('consumer.empty', None)
        return self.messages.pop(0)
"""


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Write an example, replace the word, run it as a module and return its names."""
    monkeypatch.chdir(tmp_path)

    def run(source):
        file = tmp_path / "example.py"
        file.write_text(source.replace("doozer", "loafer_kit"))
        return runpy.run_path(str(file), run_name="example")

    return run


def run_forever(app, **keywords):
    """Run an application; return what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        app.run_forever(**keywords)
    return out.getvalue()


# Quickstart, Running Applications


@pytest.mark.slow
@pytest.mark.parametrize("path", ["file_printer", "file_printer:app"])
@pytest.mark.parametrize("command", [["loafer-kit"], [sys.executable, "-m", "loafer_kit"]])
def test_the_quickstart_runs_from_the_command_line(tmp_path, path, command):
    """Both commands, with the application found or named."""
    file = tmp_path / "file_printer.py"
    source = "# a comment\n" + QUICKSTART.replace("doozer", "loafer_kit")
    file.write_text(source)
    path_variable = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*command, "run", path],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PATH": path_variable},
        timeout=60,
    )
    lines = done.stdout.splitlines()
    received = [line for line in source.splitlines() if not line.strip().startswith("#")]
    assert lines[0] == f"# Begin processing {file}"
    assert lines[-1] == f"# Done processing {file}"
    assert [line.removeprefix("file_printer received: ") for line in lines[1:-1:2]] == received


@pytest.mark.slow
def test_a_callable_that_returns_the_application(tmp_path):
    """`file_printer:make_app`."""
    source = QUICKSTART.replace("doozer", "loafer_kit")
    (tmp_path / "file_printer.py").write_text(f"{source}\ndef make_app():\n    return app\n")
    done = programs.run("-m", "loafer_kit", "run", "file_printer:make_app", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# Begin processing")


# Logging, Debug Mode


def test_logging(example, caplog):
    """The logger is the one of the application's name, configured before the start."""
    app = example(ONE_MESSAGE + "app = Application('name')")["app"]
    with caplog.at_level(logging.INFO, logger="name"):
        app.logger.info("spam")
    assert ("name", logging.INFO, "spam") in caplog.record_tuples


@pytest.mark.parametrize("way", ["app.settings['DEBUG'] = True", ""])
def test_debug_mode(example, way):
    """By the setting, or by `app.run_forever(debug=True)`."""
    names = example(f"""{ONE_MESSAGE}
import asyncio

async def callback(app, message):
    print(asyncio.get_running_loop().get_debug())

app = Application('debug', consumer=Consumer(1), callback=callback)
{way}
""")
    app = names["app"]
    try:
        assert run_forever(app, debug=not way) == "True\n"
        assert app.logger.isEnabledFor(logging.DEBUG)
    finally:
        app.logger.setLevel(logging.NOTSET)
        app.logger.handlers.clear()


# Callbacks


def test_callback(example):
    """It returns the results as an iterable."""
    names = example(ONE_MESSAGE + """
async def callback(application, message):
    return ['spam']

app = Application('name', callback=callback)
app.consumer = Consumer(1)

@app.result_postprocessor
async def show(application, result):
    print(result)
""")
    assert run_forever(names["app"]) == "spam\n"


def test_error(example, caplog):
    """Called when an exception is raised while processing a message."""
    names = example(ONE_MESSAGE + """
import logging
logger = logging.getLogger('spam')

async def callback(application, message):
    raise ValueError(message)

app = Application('name', callback=callback, consumer=Consumer(1))

@app.error
async def log_error(application, message, exception):
    logger.error('spam')
""")
    run_forever(names["app"])
    assert ("spam", logging.ERROR, "spam") in caplog.record_tuples


def test_message_acknowledgement(example):
    """It gets the original message once that and its results are fully processed."""
    names = example(ONE_MESSAGE + """
class Message(dict):
    async def acknowledge(self):
        print('acknowledged', dict(self))

async def callback(application, message):
    print('handled')

app = Application('name', callback=callback, consumer=Consumer(Message(key=1)))

@app.message_acknowledgement
async def acknowledge_message(application, original_message):
    await original_message.acknowledge()
""")
    assert run_forever(names["app"]) == "handled\nacknowledged {'key': 1}\n"


def test_message_preprocessor(example):
    """Its changes are in what the callback gets."""
    names = example(ONE_MESSAGE + """
import os

async def callback(application, message):
    print(message['pid'])

app = Application('name', callback=callback, consumer=Consumer({}))

@app.message_preprocessor
async def add_process_id(application, message):
    message['pid'] = os.getpid()
    return message
""")
    assert run_forever(names["app"]) == f"{os.getpid()}\n"


def test_result_postprocessor(example, tmp_path):
    """It is applied to each result."""
    names = example(ONE_MESSAGE + """
async def callback(application, message):
    return [message]

app = Application('name', callback=callback, consumer=Consumer('spam'))

@app.result_postprocessor
async def store_result(application, result):
    with open('result', 'w') as f:
        f.write(result)
""")
    run_forever(names["app"])
    assert (tmp_path / "result").read_text() == "spam"


def test_startup_and_teardown(example):
    """They run as the application starts and shuts down."""
    names = example(ONE_MESSAGE + """
class db:
    async def connect(host): print('connected to', host)
    async def close(): print('closed')

async def callback(application, message):
    print('handled')

app = Application('name', {'DB_HOST': 'here'}, callback=callback, consumer=Consumer(1))

@app.startup
async def connect_to_database(application):
    await db.connect(application.settings['DB_HOST'])

@app.teardown
async def disconnect_from_database(application):
    await db.close()
""")
    assert run_forever(names["app"]) == "connected to here\nhandled\nclosed\n"


# Extensions


def test_using_and_developing_extensions(example):
    """The SQLite extension of the documentation."""
    names = example("""
import sqlite3
from doozer import Application, Extension

class SQLite(Extension):
    DEFAULT_SETTINGS = {'SQLITE_CONNECTION_STRING': ':memory:'}

    def __init__(self, app=None):
        self._connection = None
        super().__init__(app)

    @property
    def connection(self):
        if not self._connection:
            conn_string = self.app.settings['SQLITE_CONNECTION_STRING']
            self._connection = sqlite3.connect(conn_string)
        return self._connection

app = Application(__name__)
db = SQLite(app)

rows = db.connection.execute('SELECT 1;').fetchall()
db.connection.close()
""")
    assert names["rows"] == [(1,)]
    assert names["app"].extensions == {"sqlite": names["db"]}


FRAGGLE = """
from doozer import Application, Extension
from doozer.cli import register_commands

def trash(heap): print('positional', heap)
def trash_default(heap='marjory'): print('default', heap)
def trash_option(*, garbage='marjory', verbose): print('option', garbage, verbose)

class Fraggle(Extension):
    def register_cli(self):
        register_commands('fraggle', [trash, trash_default, trash_option])

app = Application(__name__)
Fraggle(app)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ("trash x", "positional x"),
        ("trash-default", "default marjory"),
        ("trash-default x", "default x"),
        ("trash-option", "option marjory None"),
        ("trash-option --garbage x", "option x None"),
        ("trash-option -g x", "option x None"),
        ("trash-option -vvvv", "option marjory 4"),
    ],
)
def test_extending_the_command_line(tmp_path, arguments, printed):
    """`--app APP_PATH NAMESPACE COMMAND`."""
    (tmp_path / "rock.py").write_text(FRAGGLE.replace("doozer", "loafer_kit"))
    command = ("-m", "loafer_kit", "--app", "rock", "fraggle", *arguments.split())
    done = programs.run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{printed}\n"


def test_a_real_extension(example):
    """The shape of the published ones: lazy connection, own teardown, consumer, cached producer."""
    names = example("""
import asyncio
from doozer import Abort, Application, Extension

class Consumer:
    def __init__(self, app, queue):
        self.queue = queue
        app.message_acknowledgement(self.acknowledge)

    async def read(self):
        if not self.queue:
            raise Abort('queue.empty', None)
        return self.queue.pop(0)

    async def acknowledge(self, app, message):
        print('acknowledged', message)

class AMQP(Extension):
    DEFAULT_SETTINGS = {'AMQP_HOST': 'localhost', 'AMQP_QUEUES': {'in': []}}
    REQUIRED_SETTINGS = ('AMQP_USER',)

    def __init__(self, app=None):
        self._connection = None
        self._producer = None
        super().__init__(app)

    def init_app(self, app):
        super().init_app(app)
        app.teardown(self._teardown)

    @property
    def connection(self):
        if self._connection is None:
            self._connection = self.app.settings['AMQP_QUEUES']
        return self._connection

    def consumer(self):
        return Consumer(self.app, self.connection['in'])

    def producer(self):
        if not self._producer:
            self._producer = self.connection['in'].append
        return self._producer

    async def _teardown(self, app):
        print('closed', app.settings['AMQP_HOST'])

async def callback(app, message):
    print('handled', message)

app = Application('amqp', {'AMQP_USER': 'guest'}, callback=callback)
amqp = AMQP(app)
app.consumer = amqp.consumer()
amqp.producer()('spam')
""")
    assert run_forever(names["app"]) == "handled spam\nacknowledged spam\nclosed localhost\n"
    assert names["AMQP"].DEFAULT_SETTINGS["AMQP_QUEUES"] == {"in": []}


# contrib


def test_retry(example):
    """The usage of the documentation, given a limit."""
    names = example(ONE_MESSAGE + """
from doozer.contrib.retry import Retry
from doozer.contrib.retry import RetryableException

async def my_callback(app, message):
    raise RetryableException

async def print_message(app, message):
    print(message['name'], message['_retry']['count'])

app = Application('retryable-application', callback=my_callback)
app.settings['RETRY_CALLBACK'] = print_message
Retry(app)
app.consumer = Consumer({'name': 'spam'})
""")
    assert run_forever(names["app"]) == "spam 1\n"

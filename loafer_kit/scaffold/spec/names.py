"""Rules for names and other texts of a spec: each returns the reason why one is invalid, or None."""

import builtins
import json
import keyword
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from loafer_kit.scaffold.escaping import quoted

Rule = Callable[[str], str | None]

# The import packages of the base install and of the extras: a service of the same name would hide
# them. `tests/scaffold/spec/test_names.py` compares this list with the installed packages.
DEPENDENCIES = frozenset(
    [
        "aio_pika", "aiobotocore", "aiohappyeyeballs", "aiohttp", "aioitertools", "aiormq",
        "aiosignal", "alembic", "annotated_doc", "annotated_types", "antlr4", "anyio", "arrow",
        "attr", "attrs", "aws_xray_sdk", "binaryornot", "blackd", "blib2to3", "blinker", "botocore",
        "certifi", "cffi", "cfnlint", "charset_normalizer", "click", "cookiecutter", "cryptography",
        "dateutil", "docker", "dotenv", "flask", "flask_cors", "frozenlist", "graphql", "greenlet",
        "idna", "isympy", "itsdangerous", "jinja2", "jmespath", "joserfc", "jsonpatch",
        "jsonpatch_cli", "jsonpath_ng", "jsonpointer", "jsonschema", "jsonschema_path",
        "jsonschema_specifications", "lazy_object_proxy", "loafer_kit", "mako", "markdown_it",
        "markupsafe", "mdurl", "mpmath", "multidict", "mypy_extensions", "networkx",
        "openapi_schema_validator", "openapi_spec_validator", "opentelemetry", "packaging", "pamqp",
        "pathable", "pathspec", "platformdirs", "propcache", "py_partiql_parser", "pycparser",
        "pydantic", "pydantic_core", "pydantic_settings", "pygments", "pyparsing", "pytokens",
        "redis", "referencing", "regex", "requests", "responses", "rfc3339_validator", "rich",
        "rpds", "s3transfer", "sentry_sdk", "shellingham", "six", "slugify", "sqlalchemy",
        "structlog", "sympy", "text_unidecode", "typer", "typing_extensions", "typing_inspection",
        "tzdata", "urllib3", "watchfiles", "werkzeug", "wrapt", "xmltodict", "yaml", "yarl",
    ]
)  # fmt: skip
# The packages and folders that the tools of a service use.
TOOLS = frozenset(
    [
        "black", "boto3", "build", "conftest", "deploy", "dist", "docs", "hatchling", "hypothesis",
        "moto", "mypy", "pip", "pluggy", "pytest", "pytest_asyncio", "ruff", "setup", "setuptools",
        "src", "tests", "uvloop", "wheel",
    ]
)  # fmt: skip
# Names that the generated modules import themselves.
TAKEN = frozenset(
    [
        "AbstractMessageTranslator", "Any", "ExcInfo", "Mapping", "Message", "TranslatedMessage",
        "logger", "logging", "payloads",
    ]
)  # fmt: skip

# What the module of models imports, and whence: a field of such a name would hide the import.
IMPORTED_BY_MODELS = {
    "Annotated": "typing",
    "Any": "typing",
    "Base64Bytes": "pydantic",
    "Decimal": "decimal",
    "Field": "pydantic",
    "IPv4Address": "ipaddress",
    "IPv6Address": "ipaddress",
    "Literal": "typing",
    "UUID": "uuid",
    "dataclass": "dataclasses",
    "dt": "datetime",
}
# The words of the types of a model's fields.
_WORDS_OF_TYPES = frozenset(["Required", "Union", "timedelta"])

PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PARAMETER = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")
#: Where a name of a queue or a topic takes the value of a parameter: `${STAGE}`.
REFERENCE = re.compile(rf"\$\{{(?P<parameter>{PARAMETER.pattern})\}}")
#: The same without a group.
WHOLE_REFERENCE = re.compile(rf"\$\{{{PARAMETER.pattern}\}}")
QUEUE = re.compile(rf"(?:[A-Za-z0-9_-]|{WHOLE_REFERENCE.pattern})+(?:\.fifo)?")
PARAMETER_VALUE = re.compile(r"[A-Za-z0-9_-]+")
QUEUE_OR_URL = re.compile(rf"(?:https?://[^\s?#]+/)?{QUEUE.pattern}")
AMQP_QUEUE = re.compile(rf"(?!amq\.)(?:[A-Za-z0-9_.:-]|{WHOLE_REFERENCE.pattern})+(?<!\.fifo)")
# A key of a JSON object: it reads the same in Python, TOML and JSON.
KEY = re.compile(
    r"""(?! )[^\x00-\x1f\x7f-\xa0"'`\\{}\u2028\u2029\ud800-\udfff\ufeff]{1,100}(?<! )"""
)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?")
_TOPIC_ARN = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:(?P<name>[^:]+)")
# Parameters and resources of the templates that ship a service, and words of Terraform.
_TAKEN_PARAMETERS = frozenset(
    [
        "ALARM_ACTIONS", "ALARM_TOPIC_ARN", "CLUSTER", "COUNT", "DEPENDS_ON", "EXECUTION_ROLE",
        "FOR_EACH", "FUNCTION", "FUNCTION_ROLE", "HOME", "IMAGE", "LIFECYCLE", "LOCALS", "LOG_GROUP",
        "MAX_CONCURRENCY", "MAX_TASKS", "MIN_TASKS",
        "PATH", "PROVIDERS", "SECURITY_GROUPS", "SERVICE", "SERVICE_POLICY", "SOURCE", "SUBNETS",
        "TASKS", "TASK_DEFINITION", "TASK_ROLE", "VERSION",
    ]
)  # fmt: skip
_LONGEST = {"project": 100, "identifier": 100, "queue": 80, "topic": 256, "amqp": 255}


def project(name: str) -> str | None:
    """A distribution's name, by PEP 508."""
    if not PROJECT.fullmatch(name) or len(name) > _LONGEST["project"]:
        return (
            f"{quoted(name)} cannot name a project: letters, digits, '-', '_' and '.' only, "
            f"a letter or digit at both ends, at most {_LONGEST['project']} characters"
        )
    return None


def package(name: str) -> str | None:
    """An import package that hides no module which the service needs."""
    if not IDENTIFIER.fullmatch(name) or name != name.lower() or name.startswith("_"):
        return (
            f"{quoted(name)} cannot name a package: lower-case letters, digits and '_' only, "
            "a letter first"
        )
    if keyword.iskeyword(name):
        return f"{quoted(name)} is a Python keyword"
    if name in sys.stdlib_module_names:
        return f"{quoted(name)} would hide Python's own module of that name"
    if name in DEPENDENCIES:
        return f"{quoted(name)} would hide a package that loafer-kit needs"
    if name in TOOLS or name.startswith("test_"):
        return f"{quoted(name)} would collide with a package or folder that a service uses"
    return None


def package_for(project_name: str) -> str:
    """The import package of a project: `Foo-Bar` is imported as `foo_bar`."""
    return re.sub(r"[-_.]+", "_", project_name).lower()


def function(name: str) -> str | None:
    """A handler: a module-level function that hides no built-in and no import."""
    why = _defined(name)
    if why is None and name.startswith("test_"):
        why = f"{quoted(name)} would be collected by pytest as a test"
    return why


def class_(name: str) -> str | None:
    """A translator: a class, whose name begins with an upper-case letter."""
    if IDENTIFIER.fullmatch(name) and not name[0].isupper():
        return f"{quoted(name)} cannot name a class: write it like {class_for(name)}"
    return _defined(name)


def class_for(name: str) -> str:
    """CamelCase: `order_translator` becomes `OrderTranslator`."""
    return "".join(part.capitalize() for part in name.split("_")) or "Translator"


def model(name: str) -> str | None:
    """A model of messages: a class of a module with imports of its own."""
    if name in IMPORTED_BY_MODELS or name in _WORDS_OF_TYPES:
        return f"{quoted(name)} is used by the generated code itself"
    return class_(name)


def key(name: str) -> str | None:
    """A key of a JSON object, or a type of messages."""
    return None if KEY.fullmatch(name) else f"{quoted(name)} does not match {KEY.pattern}"


def queue(name: str) -> str | None:
    """SQS's rule for a queue's name."""
    if name.startswith("arn:"):
        last = name.rpartition(":")[2]
        return f"an ARN is not a queue's name: write {quoted(last)}, or the queue's URL"
    if not QUEUE.fullmatch(name) or len(REFERENCE.sub("", name)) > _LONGEST["queue"]:
        return (
            f"{quoted(name)} cannot name a queue: letters, digits, '-' and '_' only, "
            f"'.fifo' at the end of a FIFO queue's, at most {_LONGEST['queue']} characters"
        )
    return None


def amqp(name: str) -> str | None:
    """AMQP's rule for the name of an exchange and for a routing key."""
    if name and name.isprintable() and len(name.encode()) <= _LONGEST["amqp"]:
        return None
    return f"{quoted(name)} must be a text of at most {_LONGEST['amqp']} bytes, without line ends"


def amqp_queue(name: str) -> str | None:
    """The name of a queue of RabbitMQ, which keeps names that begin with `amq.` for itself."""
    if AMQP_QUEUE.fullmatch(name) and len(REFERENCE.sub("", name)) <= _LONGEST["amqp"]:
        return None
    return (
        f"{quoted(name)} cannot name a queue of RabbitMQ here: letters, digits, '-', '_', '.' and ':' "
        f"only, no 'amq.' at its start or '.fifo' at its end, at most {_LONGEST['amqp']} characters"
    )


def queue_or_url(name: str) -> str | None:
    """A queue's name or its URL, whose last part is the name."""
    return _queue_url(name) if "/" in name else queue(name)


def queue_name(name_or_url: str) -> str:
    """The queue's name, also of a URL."""
    return name_or_url.rpartition("/")[2]


def topic(name: str) -> str | None:
    """An SNS topic's name or ARN."""
    arn = _TOPIC_ARN.fullmatch(name)
    bare = arn["name"] if arn else name
    if not QUEUE.fullmatch(bare) or len(REFERENCE.sub("", bare)) > _LONGEST["topic"]:
        return (
            f"{quoted(name)} is neither a topic's name (letters, digits, '-' and '_' only, "
            f"'.fifo' at the end of a FIFO topic's, at most {_LONGEST['topic']} characters) "
            "nor its ARN"
        )
    return None


def parameter(name: str) -> str | None:
    """A parameter: the name of an environment variable."""
    if not PARAMETER.fullmatch(name) or len(name) > _LONGEST["identifier"]:
        return f"{quoted(name)} cannot name a parameter: capitals and digits, '_' between them"
    if name in _TAKEN_PARAMETERS or name.startswith(("AWS_", "LOAFER_")):
        return f"{quoted(name)} has a meaning already: choose another name for the parameter"
    return None


def parameter_value(text: str) -> str | None:
    """The value of a parameter: a part of a queue's name."""
    if PARAMETER_VALUE.fullmatch(text):
        return None
    return f"{quoted(text)} cannot be part of a queue's name: letters, digits, '-' and '_' only"


def parameters_in(name: str) -> list[str]:
    """The parameters that a name of a queue or a topic takes."""
    return REFERENCE.findall(name)


def fill(name: str, values: Mapping[str, str]) -> str:
    """A name with the values of its parameters; KeyError for one without a value."""
    return REFERENCE.sub(lambda found: values[found["parameter"]], name)


def fixed_part(name: str) -> str:
    """A name without its parameters: `${STAGE}-orders` is `orders`; `${ORDERS}` is `orders`."""
    if "$" not in name:
        return name
    stem = name.removesuffix(".fifo")
    fixed = re.sub(r"[-_.:]{2,}", "-", REFERENCE.sub("", stem)).strip("-_.:")
    return (fixed or "-".join(REFERENCE.findall(stem)).lower()) + name[len(stem) :]


def handler_for(name_or_url: str) -> str:
    """The handler's name for a queue: `orders-created.fifo` is handled by `handle_orders_created`."""
    stem = snake_case(fixed_part(queue_name(name_or_url)).removesuffix(".fifo"))
    return f"handle_{stem or 'message'}"[: _LONGEST["identifier"]].rstrip("_")


def snake_case(text: str) -> str:
    """Words in lower case: `OrderPlaced` and `order-placed` become `order_placed`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    return re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_").lower()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error's line: the nearest known word, or nothing if none is near."""
    words = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), words, n=1)
    return f"; did you mean {words[near[0]]!r}?" if near else ""


def _defined(name: str) -> str | None:
    if not IDENTIFIER.fullmatch(name) or name.startswith("__"):
        return f"{quoted(name)} is not a Python name: letters, digits and '_' only, no digit first"
    if len(name) > _LONGEST["identifier"]:
        return f"{quoted(name)} is too long: at most {_LONGEST['identifier']} characters"
    if keyword.iskeyword(name):
        return f"{quoted(name)} is a Python keyword"
    if hasattr(builtins, name):
        return f"{quoted(name)} would hide Python's built-in of that name"
    if name in TAKEN:
        return f"{quoted(name)} is used by the generated code itself"
    return None


def as_json(value: object) -> object:
    """A table as JSON, and JSON as `json.dumps` writes it; any other value as it is."""
    try:
        found = _parsed(value) if isinstance(value, str) else value
        if not isinstance(found, Mapping):
            return value
        json.dumps(found, ensure_ascii=False).encode()  # no lone surrogates
        return json.dumps(found, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return value


def table(text: str) -> str | None:
    """A table as JSON that has keys."""
    try:
        found = _parsed(text)
    except (ValueError, RecursionError):
        return "is not JSON"
    if not isinstance(found, Mapping):
        return "must be a table, or JSON of one"
    return None if found else "is empty: leave it out"


def filter_policy(text: str) -> str | None:
    """A filter policy of SNS as JSON, as far as its form tells."""
    if why := table(text):
        return why
    for word, condition in json.loads(text).items():
        if not condition or not isinstance(condition, (list, Mapping)):
            return f"{word!a} must be a list of what it accepts"
    return None


def filter_policy_in(scope: object, policy: object) -> str | None:
    """A filter policy of SNS, a table or JSON, with its scope; None is the default scope."""
    known = as_json(policy)
    why = filter_policy(known) if isinstance(known, str) else "must be a table, or JSON of one"
    if why is None and scope != "MessageBody":
        conditions = json.loads(str(known)).items()
        nested = [word for word, condition in conditions if isinstance(condition, Mapping)]
        if nested:
            why = f"{nested[0]!a} must be a list, unless filter_policy_scope is MessageBody"
    return why


def _queue_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    steps = parts.path.split("/")[1:]
    if (
        parts.scheme not in ("http", "https")
        or not _HOST.fullmatch(parts.netloc)
        or f"{parts.scheme}://{parts.netloc}{parts.path}" != url
        or not all(re.fullmatch(r"[A-Za-z0-9_-]+", step) for step in steps[:-1])
    ):
        return (
            f"{quoted(url)} is neither a queue's name nor its URL, "
            "like https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
        )
    return queue(steps[-1])


def _parsed(text: str) -> Any:
    """The value that a text writes in JSON; ValueError also for NaN and infinities."""

    def refuse(constant: str) -> object:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)

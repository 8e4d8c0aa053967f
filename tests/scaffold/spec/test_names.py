"""The rules for names."""

import importlib.metadata
import keyword
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from loafer_kit.scaffold.spec import names

# A package that a service could have the name of.
IMPORTABLE = re.compile(r"[a-z]\w*(?<!__mypyc)")


@pytest.mark.parametrize("name", ["foobar", "foo-bar", "Foo.Bar", "a", "x2"])
def test_a_project_may_be_named_by_pep_508(name):
    """Names that PEP 508 allows and whose package can be imported are fine."""
    assert names.project(name) is None
    assert names.package(names.package_for(name)) is None


@pytest.mark.parametrize(
    "name",
    [
        "", "-a", "a-", "a b", "../x", "/etc", "ä", "a\nb", "{{x}}", "2nd", "class", "asyncio",
        "loafer_kit", "loafer-kit", "tests", "test_routes", "typer", "aiobotocore", "click", "redis",
        "build", "dist", "deploy", "_a", "a" * 101, "a\u2028b",
    ],
)  # fmt: skip
def test_other_names_are_refused_with_a_reason(name):
    """A name that cannot be a project, or would hide something, is refused."""
    assert names.project(name) or names.package(names.package_for(name))


def test_every_package_of_the_base_install_and_the_extras_is_protected():
    """A service cannot hide a package that loafer-kit needs, deployed or on a developer's machine."""
    closure = _closure("loafer-kit", "all")
    installed = {
        package
        for package, distributions in importlib.metadata.packages_distributions().items()
        if closure & {_normal(name) for name in distributions} and IMPORTABLE.fullmatch(package)
    }

    assert installed <= names.DEPENDENCIES | names.TOOLS


def _closure(distribution, *extras):
    """The names of a distribution and of all that it needs with these extras."""
    found, left = set(), [(distribution, extras)]
    while left:
        name, extras = left.pop()
        if (_normal(name), extras) in found:
            continue
        found.add((_normal(name), extras))
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                left.append((requirement.name, tuple(sorted(requirement.extras))))
    return {name for name, _ in found}


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", ["handle_orders", "on_error", "a", "_private"])
def test_a_handler_is_a_python_function(name):
    """A handler may have any name that a function may have."""
    assert names.function(name) is None


@pytest.mark.parametrize(
    "name",
    ["", "a-b", "1a", "def", "print", "Any", "__init__", "test_it", "é", "a" * 101],
)
def test_a_handler_hides_nothing(name):
    """Keywords, built-ins and the module's own names are refused."""
    assert names.function(name)


@pytest.mark.parametrize(
    "name",
    ["orders", "a_b-C9", "orders.fifo", "a" * 80, "https://sqs.eu-west-1.amazonaws.com/1/orders",
     "http://localhost:4566/000000000000/orders.fifo"],
)  # fmt: skip
def test_a_queue_has_a_name_or_a_url(name):
    """SQS's rule for names, and URLs whose last part is such a name."""
    assert names.queue_or_url(name) is None


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a.b", ".fifo", "a" * 81, "a" * 76 + ".fifo", "a\n", "a'", 'a"', "a\\", "{{ 7*7 }}",
     "{% x %}", "a\u2028", "../x", "/x", "https://host/", "https://user:pw@host/1/a", "ftp://h/1/a",
     "https://host/1/a?x=y", "https://host/1/a#x", "https://h/../a", "https://[::1", "https://h/1/a b",
     "arn:aws:sqs:eu-west-1:123456789012:orders", "https://h\n/1/a", "https:///a/b"],
)  # fmt: skip
def test_no_other_text_is_a_queue(name):
    """Whatever SQS would not take, or a parser could misread, is refused."""
    assert names.queue_or_url(name)


def test_an_arn_is_answered_with_the_queue_name():
    """The reason says what to write instead."""
    assert "'orders'" in names.queue("arn:aws:sqs:eu-west-1:123456789012:orders")


@pytest.mark.parametrize("name", ["news", "news.fifo", "arn:aws:sns:eu-west-1:123456789012:news"])
def test_a_topic_has_a_name_or_an_arn(name):
    """Both forms are fine."""
    assert names.topic(name) is None


@pytest.mark.parametrize("name", ["", "a b", "arn:aws:sqs:eu-west-1:123456789012:a", "https://x/y"])
def test_no_other_text_is_a_topic(name):
    """A queue's ARN or a URL is not a topic."""
    assert names.topic(name)


@pytest.mark.parametrize(
    ("queue", "handler"),
    [
        ("loafer-test", "handle_loafer_test"),
        ("OrderCreated", "handle_order_created"),
        ("orders.fifo", "handle_orders"),
        ("https://host/1/a-b", "handle_a_b"),
        ("2nd", "handle_2nd"),
        ("--", "handle_message"),
    ],
)
def test_a_handler_is_named_after_its_queue(queue, handler):
    """The name says what it handles."""
    assert names.handler_for(queue) == handler


@given(st.from_regex(names.QUEUE, fullmatch=True))
def test_every_queue_gives_a_valid_handler(queue):
    """Whatever the queue is called, its handler can be written down."""
    handler = names.handler_for(queue[:80])

    assert handler.isidentifier()
    assert not keyword.iskeyword(handler)
    assert names.function(handler) is None


@given(st.text())
def test_a_reason_is_one_line_of_plain_text(name):
    """A reason shows no character that could move a terminal's cursor."""
    for rule in (
        names.project,
        names.package,
        names.function,
        names.class_,
        names.queue_or_url,
        names.topic,
    ):
        reason = rule(name) or ""
        assert reason.isprintable()
        assert reason.isascii()

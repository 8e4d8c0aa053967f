"""Hostile names and values: refused or quoted, in every language that ships a service."""

import json
import re

import hcl2
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scaffold.shipping.rendered import decoded

from loafer_kit.scaffold.rendering import quoting
from loafer_kit.scaffold.spec.fields import ARTEFACT_NAMES, ARTEFACTS
from loafer_kit.scaffold.spec.specs import SpecError

PATHS = [path.format(package="foobar") for artefact in ARTEFACTS for path in artefact.paths]
HOSTILE = [
    "'", '"', '"""', "\\", "\n", "\r\n", "\0", "\u2028", "\x7f", "\x85", "{{ 7*7 }}", "{% raw %}", "${x}",
    "$${x}", "%{ if true }", "#", " #", ": ", "- ", "|", ">", "&a", "*a", "!Ref x", "%YAML", "---",
    "<<", "\t", "@", "`", "\U0001f600", "yes", "NO", "null", "~", "1e3", "0x1", "1_0", "12:30:45", "on",
]  # fmt: skip

text = st.text() | st.lists(st.sampled_from(HOSTILE) | st.text(max_size=3)).map("".join)
few = settings(
    max_examples=max(10, settings().max_examples // 3),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(text)
def test_a_yaml_string_means_its_value(value):
    """Alone, as a key's value and in a list; never a number, a boolean or nothing."""
    quoted = quoting.yaml(value)

    assert yaml.safe_load(quoted) == value
    assert yaml.safe_load(f"a: {quoted}\nb: x # y\n") == {"a": value, "b": "x"}
    assert yaml.safe_load(f"- {quoted}\n- x\n") == [value, "x"]


@pytest.mark.parametrize("value", HOSTILE)
def test_each_hostile_yaml_string_means_its_value(value):
    """Those that are known to be taken for something else."""
    assert yaml.safe_load(f"a: {quoting.yaml(value)}") == {"a": value}


def test_plain_words_stay_plain_in_yaml():
    """Nobody quotes what needs no quotes."""
    for value in ("orders", "orders-created.fifo", "sqs:SendMessage", "The queue of a service"):
        assert quoting.yaml(value) == value


@given(text)
def test_an_hcl_string_means_its_value(value):
    """Nothing in it is interpolated."""
    quoted = quoting.hcl(value)

    assert hcl2.loads(f"a = {quoted}\n") == {"a": quoted}
    assert not re.search(r"[$%]\{", quoted)
    assert quoted.isascii()
    assert quoted.isprintable()
    assert _unescaped(quoted) == value


def _unescaped(quoted):
    escape = re.compile(r'\\(?:U([0-9A-F]{8})|(["\\]))')
    return escape.sub(lambda found: found[2] or chr(int(found[1], 16)), quoted[1:-1])


names = st.from_regex(r"[A-Za-z0-9_-]{1,20}(\.fifo)?", fullmatch=True)
urls = st.builds("https://{}/{}/{}".format, st.sampled_from(["sqs.eu-west-1.amazonaws.com", "x:1"]), st.sampled_from(["123456789012", "q"]), names)  # fmt: skip
topics = names | st.builds("arn:aws:sns:eu-west-1:123456789012:{}".format, names)
queues = st.fixed_dictionaries(
    {"name": names | urls | text},
    optional={
        "topic": topics | text,
        "dead_letter_queue": names | st.sampled_from(["dead", "dead.fifo"]) | text,
        "max_receive_count": st.integers(1, 1000),
        "visibility_timeout": st.integers(
            5400, 43200
        ),  # Lambda accepts it, whatever the handler needs
        "concurrency": st.integers(1, 10000),
        "handler_timeout": st.floats(0, 43200, exclude_min=True) | st.integers(1, 43200),
        "rate_limit": st.floats(0, 1e6, exclude_min=True),
    },
)


@given(
    st.lists(queues, min_size=1, max_size=5), st.sampled_from(["foobar", "On", "9.9", "No_"]) | text
)
@few
def test_every_file_parses_and_holds_no_more_than_the_spec(ship, queues, name):
    """Whatever the spec: it is refused, or each file is what its suffix says."""
    try:
        project = ship(*ARTEFACT_NAMES, queues=queues, name=name)
    except SpecError:
        return
    for path in PATHS:
        content = project[path]
        assert content.isascii()
        assert all(character.isprintable() or character == "\n" for character in content)
        if "/monitoring/" not in path:  # Prometheus and Grafana fill in {{ $labels.route }}
            assert "{{" not in content
        assert "{%" not in content
        if path.endswith(".json"):
            json.loads(content)
        if path.endswith(".tf"):
            hcl2.loads(content)
    documents = {
        path: list(yaml.load_all(project[path], Loader=_Loose))
        for path in PATHS
        if path[-2:] == "ml"
    }
    for path in ("deploy/cloudformation.yaml", "deploy/sam.yaml", "deploy/ecs.yaml"):
        decoded(project[path])
    made = [
        resource["Properties"]["QueueName"]
        for resource in documents["deploy/cloudformation.yaml"][0]["Resources"].values()
        if resource["Type"] == "AWS::SQS::Queue"
    ]
    spoken_of = {queue["name"] for queue in queues} | {
        queue.get("dead_letter_queue") for queue in queues
    }
    assert set(made) <= spoken_of
    assert len(set(made)) == len(made)


class _Loose(yaml.SafeLoader):
    """Takes CloudFormation's short functions for what stands after them."""


_Loose.add_multi_constructor(
    "!",
    lambda loader, _, node: (
        loader.construct_scalar(node) if node.id == "scalar" else loader.construct_sequence(node)
    ),
)

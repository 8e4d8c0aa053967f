"""The flags of `loafer-kit new service` that name a source."""

import json
import tomllib
from pathlib import Path

import pytest
from kept_projects import run

import loafer_kit
from loafer_kit.local import LocalQueue

DOCUMENTS = Path(loafer_kit.__file__).parents[1] / "tests/scaffold/sources/documents"
TEMPLATE = DOCUMENTS / "shop.cfn.yaml"


def new(project, *arguments):
    """Run `loafer-kit new service` in the project's folder, which is the current one."""
    return run("new", "service", *arguments)


def test_what_is_left_out_is_listed_on_stderr(project):
    """The service is written all the same."""
    done = new(project, "shop", "--from-cloudformation", TEMPLATE)

    assert done.returncode == 0
    assert (
        f"left out, of {TEMPLATE}:\n  Resources: not looked at: AWS::SQS::QueuePolicy"
        in done.stderr
    )
    assert (project.directory / "shop/shop/handlers.py").is_file()
    assert "left out" not in done.stdout


def test_flags_add_to_a_source(project):
    """A queue and a name that are typed go over what the document says."""
    done = new(
        project, "other", "--asyncapi", DOCUMENTS / "user-signedup-3.yaml", "--queue", "more"
    )

    assert done.returncode == 0, done.stderr
    kept = (project.directory / "other/loafer.toml").read_text()
    assert 'name = "user-renamed-queue"' in kept
    assert 'name = "more"' in kept


def test_the_spec_found_can_be_saved(project):
    """It makes the same project again."""
    new(project, "shop", "--from-cloudformation", TEMPLATE, "--save-spec", "spec.toml")

    done = new(project, "--spec", "spec.toml")

    assert done.returncode == 0, done.stderr
    assert "unchanged" in done.stdout
    kept = project.directory / "shop/loafer.toml"
    assert (project.directory / "spec.toml").read_bytes() == kept.read_bytes()


def test_a_saved_spec_that_differs_is_not_overwritten_without_force(project):
    """Nothing else is written then."""
    project.write("spec.toml", "mine")
    arguments = ["shop", "--queue", "orders", "--save-spec", "spec.toml"]

    done = new(project, *arguments)

    assert done.returncode == 1
    assert "spec.toml exists" in done.stderr
    assert (project.directory / "spec.toml").read_text() == "mine"
    assert not (project.directory / "shop").exists()
    assert new(project, *arguments, "--force").returncode == 0
    assert "orders" in (project.directory / "spec.toml").read_text()


def test_a_spec_is_not_saved_without_its_project(project):
    """Neither where the project is refused, nor where it cannot be written."""
    project.write("shop/mine", "mine")
    project.write("shop/loafer.toml", "mine")

    done = new(project, "shop", "--queue", "a", "--save-spec", "specs/spec.toml")

    assert done.returncode == 1
    assert "shop exists and was not touched" in done.stderr
    assert [place.name for place in project.directory.iterdir()] == ["shop"]

    (project.directory / "out").symlink_to("/proc")
    done = new(project, "x", "--queue", "a", "--save-spec", "specs/s.toml", "--output-dir", "out")

    assert (done.returncode, done.stderr[:27]) == (1, "error: nothing was written:")
    assert sorted(place.name for place in project.directory.iterdir()) == ["out", "shop"]


def test_a_saved_spec_is_put_back_where_the_project_cannot_be_written(project):
    """With --force it had been written over."""
    project.write("spec.toml", "mine")
    arguments = ["x", "--queue", "a", "--save-spec", "spec.toml", "--force"]

    done = new(project, *arguments, "--output-dir", "/proc/x")

    assert done.returncode == 1
    assert (project.directory / "spec.toml").read_text() == "mine"


def test_a_spec_is_not_saved_into_its_project(project):
    """That has it already."""
    done = new(project, "shop", "--queue", "a", "--save-spec", "shop/other.toml")

    assert done.returncode == 1
    assert "shop/other.toml is in the project, which keeps its spec by itself" in done.stderr
    assert list(project.directory.iterdir()) == []


def test_a_dry_run_saves_no_spec(project):
    """It lists it, and counts it."""
    arguments = ["shop", "--queue", "a", "--save-spec", "spec.toml"]
    done = new(project, *arguments, "--dry-run")

    assert "create  spec.toml" in done.stdout
    assert list(project.directory.iterdir()) == []

    new(project, "shop", "--queue", "a")
    assert new(project, *arguments, "--dry-run").returncode == 2
    assert new(project, *arguments).returncode == 0
    assert new(project, *arguments, "--dry-run").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--queue", "a", "--endpoint-url", "http://x"], "--endpoint-url goes with --from-aws"),
    ],
)
def test_flags_that_do_not_go_together_are_a_usage_error(project, arguments, message):
    """The exit code is that of every wrong usage."""
    done = new(project, "shop", *arguments)

    assert done.returncode == 2
    assert message in done.stderr


def test_problems_of_a_document_are_all_shown_at_once(project):
    """With the document's name and lines, without a traceback, and nothing is written."""
    template = {"Resources": {"A": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "a b"}}}}
    project.write("template.json", json.dumps(template, indent=1))

    done = new(project, "shop", "--from-sam", "template.json", "--queue", "c,wait_time=99")

    assert done.returncode == 1
    assert "template.json: 2 problems" in done.stderr
    assert "(line 6)" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in project.directory.iterdir()] == ["template.json"]


def test_remote_references_are_refused(project):
    """The document says which, and where."""
    content = {
        "asyncapi": "3.0.0",
        "info": {"title": "shop"},
        "channels": {"a": {"$ref": "https://example.com/channel.json"}},
        "operations": {"onA": {"action": "receive", "channel": {"$ref": "#/channels/a"}}},
    }
    project.write("asyncapi.json", json.dumps(content, indent=1))

    done = new(project, "--asyncapi", "asyncapi.json")

    assert done.returncode == 1
    assert "nothing is fetched" in done.stderr
    assert "(line 8)" in done.stderr
    assert not (project.directory / "shop").exists()


def test_queues_on_aws_become_a_service(project, local_queues):
    """Read from where `--endpoint-url` says."""
    local_queues.create(LocalQueue("shop-orders", dead_letter_queue="shop-orders-dlq"))

    done = new(project, "shop", "--from-aws", "shop-", "--endpoint-url", local_queues.url)

    assert done.returncode == 0, done.stderr
    kept = (project.directory / "shop/loafer.toml").read_text()
    assert 'dead_letter_queue = "shop-orders-dlq"' in kept
    assert sorted(local_queues.names()) == ["shop-orders", "shop-orders-dlq"]


def read_spec(project, *arguments):
    """The queues that `new service` keeps, by their names."""
    done = new(project, "shop", *arguments)
    assert done.returncode == 0, done.stderr
    kept = tomllib.loads((project.directory / "shop/loafer.toml").read_text())
    return {queue["name"]: queue for queue in kept["queues"]}


def template_of(project, **queues):
    """A template with queues; each has the settings of its dictionary."""
    resources = {
        name: {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name, **properties}}
        for name, properties in queues.items()
    }
    project.write("template.json", json.dumps({"Resources": resources}))
    return "--from-cloudformation", "template.json"


DEAD = {"RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": ["dead", "Arn"]}}}


def test_a_dead_letter_queue_that_is_included_gets_a_route(project):
    """The others are listed with the flag that does this."""
    document = template_of(project, orders=DEAD, dead={}, spare={})

    queues = read_spec(project, *document, "--include", "dead")

    assert list(queues) == ["orders", "dead", "spare"]
    routes = (project.directory / "shop/shop/routes.py").read_text()
    assert '"dead", handler=handlers.handle_dead' in routes


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("ded", "--include: no queue is called 'ded'; did you mean 'dead'?"),
        ("elsewhere", "--include: no queue is called 'elsewhere'"),
    ],
)
def test_a_queue_that_is_not_there_cannot_be_included(project, include, message):
    """Nothing is written."""
    done = new(project, "shop", *template_of(project, orders=DEAD, dead={}), "--include", include)

    assert (done.returncode, message in done.stderr) == (1, True)
    assert not (project.directory / "shop").exists()


def test_include_goes_with_a_document(project):
    """Flags name their queues themselves."""
    done = new(project, "shop", "--queue", "orders", "--include", "orders")

    assert done.returncode == 2
    assert "--include" in done.stderr


def test_a_flag_overrides_what_a_document_says_of_a_queue(project):
    """A setting that it refuses, and one that it has."""
    document = template_of(
        project,
        orders={"VisibilityTimeout": 99999},
        news={"ReceiveMessageWaitTimeSeconds": 5, "VisibilityTimeout": 30},
    )
    assert new(project, "shop", *document).returncode == 1

    flags = ["--queue", "orders,visibility_timeout=60", "--queue", "news,wait_time=7,topic=paper"]
    queues = read_spec(project, *document, *flags)

    assert queues["orders"]["visibility_timeout"] == 60
    assert (queues["news"]["wait_time"], queues["news"]["visibility_timeout"]) == (7, 30)
    assert queues["news"]["topic"] == "paper"


def test_a_spec_overrides_what_a_document_says_and_a_flag_both(project):
    """Queues by their names, models by theirs; what none of them says stays as it was."""
    document = template_of(
        project, orders={"VisibilityTimeout": 90, "ReceiveMessageWaitTimeSeconds": 5}
    )
    project.write(
        "mine.toml",
        '[[queues]]\nname = "orders"\nvisibility_timeout = 60\nhandler = "take"\n\n'
        '[[queues]]\nname = "more"\n',
    )

    queues = read_spec(
        project, *document, "--spec", "mine.toml", "--queue", "orders,handler=take_orders"
    )

    assert list(queues) == ["orders", "more"]
    orders = queues["orders"]
    assert (orders["visibility_timeout"], orders["wait_time"]) == (60, 5)
    assert orders["handler"] == "take_orders"

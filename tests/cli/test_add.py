"""`loafer-kit add queue|route|handler|extension|telemetry`, as a user runs it."""

import json
import re
import shutil
import sys
from dataclasses import replace

import programs
import pytest
from typer.testing import CliRunner

from loafer_kit.cli import app
from loafer_kit.exceptions import LoaferKitError
from loafer_kit.scaffold.project import locks, writing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A service with one queue, as `new` makes it."""
    folder = tmp_path_factory.mktemp("made")
    done = CliRunner().invoke(
        app, ["new", "service", "shop", "--queue", "orders", "--output-dir", str(folder)]
    )
    assert done.exit_code == 0, done.output
    return folder / "shop"


@pytest.fixture
def shop(made, tmp_path, monkeypatch):
    """A copy of that service, which is the current folder."""
    shutil.copytree(made, tmp_path / "shop")
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


def add(*arguments):
    return CliRunner().invoke(app, ["add", *arguments])


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_code_that_gitignore_covers_gets_the_queue_too(tmp_path, monkeypatch):
    """The lock keeps such files by their hash alone; `new` says that git leaves them out."""
    (tmp_path / "parts").mkdir()
    monkeypatch.chdir(tmp_path / "parts")
    (tmp_path / "parts/.gitignore").write_text("parts/\n")
    made = CliRunner().invoke(app, ["new", "service", ".", "--queue", "orders"])
    assert "git leaves these files out, as .gitignore says: parts/__init__.py, " in made.stderr
    routes = tmp_path / "parts/parts/routes.py"
    before = routes.read_text()

    done = add("queue", "refunds")

    assert done.exit_code == 0, done.output
    assert "handle_refunds" in routes.read_text()
    assert "handle_refunds" in (tmp_path / "parts/parts/handlers.py").read_text()
    assert CliRunner().invoke(app, ["check"]).exit_code == 0
    routes.write_text(before)
    assert "no route reads the queue 'refunds'" in CliRunner().invoke(app, ["check"]).output
    routes.write_text(before.replace("routes = (", "routes = ( "))

    assert add("route", "refunds").exit_code == 0
    assert CliRunner().invoke(app, ["remove", "queue", "refunds"]).exit_code == 0
    assert "refunds" not in routes.read_text()
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


@pytest.mark.slow
def test_a_queue_is_added_with_its_code_and_its_tests_pass(shop):
    """In a service that was edited before."""
    handlers = shop / "shop/handlers.py"
    handlers.write_text(handlers.read_text().replace("return True", "return bool(message)"))

    done = add("queue", "refunds,dead_letter_queue=dead,max_receive_count=3")

    assert done.exit_code == 0, done.output
    assert "   update  shop/handlers.py" in done.output
    assert "return bool(message)" in handlers.read_text()
    tested = programs.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=shop)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "7 passed" in tested.stdout


def test_a_second_run_changes_nothing_and_says_so(shop):
    """With exit code 0."""
    add("queue", "refunds")
    before = content(shop)

    done = add("queue", "refunds")

    assert done.exit_code == 0
    assert "nothing to do: queue refunds is there already" in done.output
    assert content(shop) == before


def test_the_tests_of_an_added_queue_come_and_go_with_it(shop):
    """They stay deleted where somebody deletes them, and the template's other tests are not edited."""
    before = content(shop)
    assert add("queue", "refunds").exit_code == 0
    own = shop / "tests/test_refunds.py"
    assert {path for path in content(shop) if path not in before} == {"tests/test_refunds.py"}
    written = own.read_bytes()

    own.unlink()
    assert "nothing to do" in add("queue", "refunds").output
    assert CliRunner().invoke(app, ["update"]).exit_code == 0
    assert not own.exists()

    own.write_bytes(written)
    assert CliRunner().invoke(app, ["destroy"]).exit_code == 0
    assert content(shop) == before


def test_a_dry_run_and_a_diff_write_nothing(shop):
    """Exit code 2 says that a run would change something."""
    before = content(shop)

    dry, diff = add("queue", "refunds", "--dry-run"), add("queue", "refunds", "--diff")

    assert (dry.exit_code, diff.exit_code) == (2, 2)
    assert "   update  loafer.toml" in dry.output
    assert "+async def handle_refunds(" in diff.output
    assert content(shop) == before


def test_json_describes_the_changes(shop):
    """For machines."""
    done = add("queue", "refunds", "--dry-run", "--json")

    changes = {item["path"]: item["action"] for item in json.loads(done.stdout)["changes"]}
    assert changes["shop/routes.py"] == "update"


def test_unrecognised_code_is_left_alone_with_everything_else(shop):
    """The snippet is told; after it was pasted, a second run does the rest."""
    routes = shop / "shop/routes.py"
    routes.write_text("from shop import handlers\n\nroutes = make()\n")
    before = content(shop)

    done = add("queue", "refunds")

    assert done.exit_code == 1
    told = str(done.exception)
    assert isinstance(done.exception, LoaferKitError)
    assert "shop/routes.py: it does not assign `routes = (…)` exactly once" in told
    assert '    SQSRoute("refunds", handler=handlers.handle_refunds, handler_timeout=60)' in told
    assert content(shop) == before

    routes.write_text(
        routes.read_text()
        + 'SQSRoute("refunds", handler=handlers.handle_refunds, handler_timeout=60)\n'
    )
    assert add("queue", "refunds").exit_code == 0
    assert "handle_refunds" in (shop / "shop/handlers.py").read_text()


def test_a_failure_in_the_middle_leaves_every_byte_as_it_was(shop, monkeypatch):
    """The changes go through the journal."""
    before = content(shop)
    make, made = writing._make, []

    def fail(change, *arguments):
        if len(made) == 3:
            raise OSError(28, "No space left on device")
        made.append(change)
        make(change, *arguments)

    monkeypatch.setattr(writing, "_make", fail)
    done = add("queue", "refunds")

    assert "No space left on device" in str(done.exception)
    assert content(shop) == before


def test_the_lock_records_the_addition(shop):
    """As a command that can be taken back, and as the base of the next update."""
    add("queue", "refunds")
    add("handler", "spare")

    lock = locks.find(shop)
    assert [record.command for record in lock.records] == [
        "new service",
        "add queue refunds",
        "add handler spare",
    ]
    assert [queue["name"] for queue in lock.spec["queues"]] == ["orders", "refunds"]
    assert lock.files["shop/routes.py"] == (shop / "shop/routes.py").read_bytes()
    assert b"spare" not in lock.files["shop/handlers.py"]


def test_an_addition_to_an_edited_service_agrees_and_can_be_taken_back(shop):
    """`check` and `update` find nothing to do; `destroy` leaves what was there before."""
    with (shop / "shop/routes.py").open("a") as file:
        file.write("# mine\n")
    before = content(shop)

    add("queue", "refunds,topic=money")

    for command in (["check"], ["update", "--check"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    assert CliRunner().invoke(app, ["destroy"]).exit_code == 0
    assert content(shop) == before


def test_a_file_that_the_template_no_longer_has_is_in_nobody_s_way(shop):
    """An earlier release wrote it, and the lock still holds it."""
    lock = locks.find(shop)
    lock = replace(lock, files={**lock.files, "old.txt": b"x"})
    (shop / locks.PATH).write_bytes(locks.content(lock))

    assert add("queue", "refunds").exit_code == 0
    assert locks.find(shop).files["old.txt"] == b"x"


def test_a_service_without_a_lock_is_added_to_as_well(shop):
    """One that was never made by us, say."""
    shutil.rmtree(shop / locks.PATH.partition("/")[0])

    assert add("queue", "refunds").exit_code == 0
    assert not (shop / locks.PATH).exists()


@pytest.fixture
def known(shop):
    """The service, whose loafer.toml was given a second queue by hand."""
    with (shop / "loafer.toml").open("a") as file:
        file.write('\n[[queues]]\nname = "refunds"\ntopic = "money"\n')
    return shop


@pytest.mark.slow
def test_the_route_of_a_known_queue_is_added(known):
    """With handler and tests, in a service that was edited before; the settings stay."""
    handlers, settings = known / "shop/handlers.py", known / "loafer.toml"
    handlers.write_text(handlers.read_text().replace("return True", "return bool(message)"))
    before = settings.read_bytes()

    done = add("route", "refunds")

    assert done.exit_code == 0, done.output
    assert (
        'SNSQueueRoute("refunds", handler=handlers.handle_refunds, handler_timeout=60)'
        in (known / "shop/routes.py").read_text()
    )
    assert "return bool(message)" in handlers.read_text()
    assert "async def handle_refunds(" in handlers.read_text()
    assert (known / "tests/test_refunds.py").is_file()
    assert settings.read_bytes() == before


def test_a_second_run_for_a_route_changes_nothing_and_says_so(known):
    """By a queue's URL, where the settings give that, as by its name."""
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/refunds"
    settings = known / "loafer.toml"
    settings.write_text(settings.read_text().replace('"refunds"', f'"{url}"'))
    assert add("route", url).exit_code == 0
    before = content(known)

    done = add("route", "refunds")

    assert done.exit_code == 0
    assert "nothing to do: route refunds is there already" in done.output
    assert content(known) == before


def test_a_route_agrees_and_can_be_taken_back(known):
    """`check` and `update` find nothing to do; `destroy` leaves what was there before."""
    with (known / "shop/routes.py").open("a") as file:
        file.write("# mine\n")
    before = content(known)

    assert add("route", "refunds").exit_code == 0

    for command in (["check"], ["update", "--check"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    assert locks.find(known).records[-1].command == "add route refunds"
    assert CliRunner().invoke(app, ["destroy"]).exit_code == 0
    assert content(known) == before


def test_a_route_that_was_taken_out_is_found_and_written_again(shop):
    """`check` says how."""
    routes = shop / "shop/routes.py"
    whole = content(shop)
    routes.write_text(
        routes.read_text().replace(
            'SQSRoute("orders", handler=handlers.handle_orders, handler_timeout=60),', ""
        )
    )
    checked = CliRunner().invoke(app, ["check"])
    assert "no route reads the queue 'orders'; `loafer-kit add route orders`" in checked.output

    assert add("route", "orders").exit_code == 0

    assert (
        b'SQSRoute("orders", handler=handlers.handle_orders, handler_timeout=60)'
        in routes.read_bytes()
    )
    assert content(shop).keys() == whole.keys()
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spare", "there is no queue 'spare'; `loafer-kit add queue NAME` adds a queue and its"),
        ("refund", "there is no queue 'refund'; did you mean 'refunds'? `loafer-kit add queue"),
        ("https://example.com/1/refunds", "did you mean 'refunds'?"),
        ("refunds,wait_time=3", "'refunds,wait_time=3': a route has the settings of its queue"),
    ],
)
def test_a_route_for_no_queue_of_the_settings_is_refused(known, name, message):
    """In one line that says what would add both."""
    before = content(known)

    done = add("route", name)

    assert done.exit_code == 1
    assert isinstance(done.exception, LoaferKitError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert content(known) == before


def test_a_handler_for_no_queue_yet(shop):
    """It is written beside the others, with a test."""
    done = add("handler", "handle_spare")

    assert done.exit_code == 0, done.output
    assert "async def handle_spare(" in (shop / "shop/handlers.py").read_text()
    assert "handlers.handle_spare(" in (shop / "tests/test_handlers.py").read_text()
    assert "nothing to do" in add("handler", "handle_spare").output


def test_a_handler_that_the_settings_name_is_written_for_its_queue(shop):
    """Its docstring says which."""
    settings = shop / "loafer.toml"
    settings.write_text(settings.read_text().replace("handle_orders", "take_order"))

    assert add("handler", "take_order").exit_code == 0

    code = (shop / "shop/handlers.py").read_text()
    assert "async def take_order(" in code
    assert code.count("Handle one message of the queue orders.") == 2


@pytest.mark.parametrize("name", ["print", "a b", "class", "test_it"])
def test_a_name_that_cannot_be_a_handlers_is_refused(shop, name):
    """As `new service` refuses it."""
    before = content(shop)

    assert add("handler", name).exit_code == 1
    assert content(shop) == before


def test_what_a_merge_left_is_named_as_check_names_it(shop):
    """With its line and what to do; nothing is written."""
    routes = shop / "shop/routes.py"
    routes.write_text(routes.read_text() + "<<<<<<< yours\n=======\n>>>>>>> template\n")
    before = content(shop)

    done = add("queue", "refunds")
    checked = CliRunner().invoke(app, ["check"])

    assert done.exit_code == 1
    assert str(done.exception) == checked.output.rstrip()
    assert "a conflict is left" in checked.output
    assert content(shop) == before


def test_code_that_does_not_parse_is_named_by_its_line(shop):
    """And by nothing else that Python says of it."""
    routes = shop / "shop/routes.py"
    routes.write_text("x = 1\ny = (\n")

    done = add("queue", "refunds")

    assert "shop/routes.py: it is not valid Python ('(' was never closed, line 2); " in str(
        done.exception
    )


def test_an_extension_is_given_the_service(shop):
    """Its import is sorted in, and its line follows the service's."""
    done = add("extension", "loafer_kit_redis:Redis")

    assert done.exit_code == 0, done.output
    assert (shop / "shop/__init__.py").read_text() == (
        '"""shop: handles the messages of the queue orders."""\n\n'
        "from loafer_kit.managers import LoaferManager\n"
        "from loafer_kit_redis import Redis\n\n"
        "from shop import routes\n\n"
        'manager = LoaferManager(routes=routes.routes, name="shop")\n'
        "redis = Redis(manager)\n"
    )
    assert "nothing to do" in add("extension", "loafer_kit_redis:Redis").output


def test_it_is_said_what_an_extension_needs(shop):
    """The service's image installs what pyproject.toml declares, and nothing else."""
    first = add("extension", "loafer_kit_redis:Redis")
    declare(shop, "Loafer.Kit-Redis[fast] >= 1; python_version > '3'")
    again = add("extension", "loafer_kit_redis:Redis")

    told = "add the distribution of loafer_kit_redis to `dependencies` in pyproject.toml"
    assert told in first.output
    assert "pyproject.toml" not in again.output


@pytest.mark.parametrize(
    ("reference", "distribution"),
    [
        ("flask_cors:CORS", "flask-cors"),
        ("loafer_kit.contrib.retry:Retry", None),
        ("loafer_kit.contrib.database:Database", "loafer-kit[database]"),
        ("loafer_kit.ext.amqp:AMQP", "loafer-kit[amqp]"),
        ("shop.own:Thing", None),
    ],
)
def test_an_installed_extension_is_named_by_its_distribution(shop, reference, distribution):
    """What the service has anyway is not mentioned."""
    done = add("extension", reference)

    assert done.exit_code == 0, done.output
    told = f"\nNext: add {distribution} to `dependencies` in pyproject.toml"
    assert told in done.output if distribution else "Next" not in done.output


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        (
            "loafer_kit.contrib.retry:Rety",
            "loafer_kit.contrib.retry has no Rety; did you mean 'Retry'?",
        ),
        ("loafer_kit.contrib.retri:Retry", "there is no module loafer_kit.contrib.retri"),
        ("loafer_kit.contrb.retry:Retry", "there is no module loafer_kit.contrb"),
        ("json:Nothing", "json has no Nothing"),
        (
            "loafer_kit.contrib.claim_check:ClaimCheck",
            "loafer_kit.contrib.claim_check:ClaimCheck is not an extension: it has no init_app",
        ),
    ],
)
def test_an_installed_package_without_the_extension_is_refused(shop, reference, why):
    """The service would not start; a package that is not installed may have it."""
    before = content(shop)

    done = add("extension", reference)

    assert done.exit_code == 1
    assert str(done.exception) == why
    assert content(shop) == before


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def __getattr__(name):\n    return Own", None),
        ("def __getattr__(name):\n    import not_installed", None),
        ("def __getattr__(name):\n    raise AttributeError(name)", "lazy_parts has no Thing"),
    ],
)
def test_a_module_may_make_its_names_when_they_are_asked_for(
    shop, tmp_path, monkeypatch, code, why
):
    """As packages do that import their parts late."""
    (tmp_path / "lazy").mkdir()
    imports = "from loafer_kit.extensions import Extension as Own\n"
    (tmp_path / "lazy/lazy_parts.py").write_text(imports + code)
    monkeypatch.syspath_prepend(tmp_path / "lazy")
    monkeypatch.delitem(sys.modules, "lazy_parts", raising=False)

    done = add("extension", "lazy_parts:Thing")

    assert (str(done.exception) if done.exception else None) == why


def test_telemetry_is_one_line(shop):
    """The next step is to declare the extra, however it is written."""
    first = add("telemetry")
    declare(shop, "Loafer_Kit [local, otel] >= 0.1")
    again = add("telemetry")

    assert first.exit_code == 0, first.output
    code = (shop / "shop/__init__.py").read_text()
    assert "from loafer_kit.contrib.telemetry import Telemetry\n" in code
    assert code.endswith(
        'manager = LoaferManager(routes=routes.routes, name="shop")\n'
        "telemetry = Telemetry(manager)\n"
    )
    assert "add loafer-kit[otel] to `dependencies` in pyproject.toml" in first.output
    assert "nothing to do" in again.output
    assert "otel" not in again.output


def test_it_is_said_which_settings_an_extension_requires(shop, monkeypatch, tmp_path):
    """The service does not start without them."""
    (tmp_path / "redis_for_add.py").write_text(
        "class Redis:\n    DEFAULT_SETTINGS = {}\n    REQUIRED_SETTINGS = ['REDIS_PASSWORD']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    done = add("extension", "redis_for_add:Redis")

    assert "\nNext: set REDIS_PASSWORD in the environment; the service does not" in done.output


def declare(project, requirement):
    """Add a dependency as its owner would."""
    file = project / "pyproject.toml"
    file.write_text(
        file.read_text().replace("dependencies = [", f'dependencies = ["{requirement}", ')
    )


def test_an_extension_finds_no_service(shop):
    """The snippet is told."""
    (shop / "shop/__init__.py").write_text("manager = make()\n")

    done = add("extension", "loafer_kit_redis:Redis")

    assert done.exit_code == 1
    assert "redis = Redis(app)" in str(done.exception)


def test_a_folder_without_settings_is_no_service(tmp_path):
    """The error says where it looked."""
    done = add("queue", "refunds", "--path", str(tmp_path))

    assert done.exit_code == 1
    assert f"There is no {tmp_path}/loafer.toml" in str(done.exception)


@pytest.mark.parametrize(
    "command",
    [["dev"], ["check"], ["update"], ["destroy"], ["add", "queue", "refunds", "--path"]],
)
def test_a_file_is_no_service(tmp_path, command):
    """The error says what to name instead."""
    (tmp_path / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")

    done = CliRunner().invoke(app, [*command, str(tmp_path / "passwd")])

    assert done.exit_code == 1
    assert re.search(
        r"There is no \S+passwd/\S+: go to a \w+'s folder or name it", str(done.exception)
    )


def test_nothing_is_written_through_a_symbolic_link(shop, tmp_path):
    """Neither is the project's code read through one."""
    (tmp_path / "outside.py").write_text("routes = ()\n")
    (shop / "shop/routes.py").unlink()
    (shop / "shop/routes.py").symlink_to(tmp_path / "outside.py")

    done = add("queue", "refunds")

    assert "symbolic link" in str(done.exception)
    assert (tmp_path / "outside.py").read_text() == "routes = ()\n"

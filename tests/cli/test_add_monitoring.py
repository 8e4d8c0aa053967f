"""`loafer-kit add monitoring`, as a user runs it on an edited service."""

import tomllib

import pytest
from typer.testing import CliRunner

from loafer_kit.cli import app

pytestmark = pytest.mark.slow

FILES = ["alerts.yaml", "dashboard.json", "runbook.md"]


def run(*arguments):
    return CliRunner().invoke(app, [*arguments])


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A service with one queue, which is the current folder."""
    done = run("new", "service", "shop", "--queue", "orders", "--output-dir", str(tmp_path))
    assert done.exit_code == 0, done.output
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


def test_an_edited_service_is_monitored_and_then_up_to_date(shop):
    """Code, settings and files change together; a second time, and an update, change nothing."""
    module = shop / "shop/__init__.py"
    edited = module.read_text().replace("manager =", "#: Ours.\nmanager =")
    module.write_text(edited)
    spec = shop / "loafer.toml"
    spec.write_text(spec.read_text().replace('name = "shop"\n', 'name = "shop"  # ours\n'))

    done = run("add", "monitoring")

    assert done.exit_code == 0, done.output
    assert (
        module.read_text()
        == edited.replace(
            "from loafer_kit.managers",
            "from loafer_kit.contrib.monitoring import Monitoring\nfrom loafer_kit.managers",
        )
        + "monitoring = Monitoring(manager)\n"
    )
    assert 'name = "shop"  # ours\nwith = ["monitoring"]\n' in spec.read_text()
    assert sorted(path.name for path in (shop / "deploy/monitoring").iterdir()) == FILES
    assert "/metrics" in (shop / "README.md").read_text()
    assert "nothing to do: monitoring is there already" in run("add", "monitoring").output
    checked = run("check")
    assert checked.exit_code == 0, checked.output
    updated = run("update", "--dry-run")
    assert "deploy/monitoring" not in updated.output
    assert "__init__" not in updated.output


def test_a_service_that_cannot_have_it_stays_as_it_is(tmp_path, monkeypatch):
    """The line is that of `new`, and the project can be worked on."""
    run("new", "service", "shop", "--queue", "orders,kind=amqp", "--output-dir", str(tmp_path))
    monkeypatch.chdir(tmp_path / "shop")

    done = run("add", "monitoring")

    assert done.exit_code == 1
    assert "'monitoring' is for SQS; a service of RabbitMQ has" in str(done.exception)
    assert run("check").exit_code == 0


def test_an_untouched_service_becomes_what_new_makes_with_it(shop, tmp_path):
    """The same files, byte by byte."""
    run("add", "monitoring")
    other = run(
        "new", "service", "shop", "--queue", "orders", "--with", "monitoring",
        "--output-dir", str(tmp_path / "other"),
    )  # fmt: skip
    assert other.exit_code == 0, other.output

    for path in (tmp_path / "other/shop").rglob("*"):
        if path.is_file() and "lock" not in path.name:
            assert (
                shop / path.relative_to(tmp_path / "other/shop")
            ).read_bytes() == path.read_bytes()


def test_code_that_makes_no_manager_is_left_to_its_owner(shop):
    """With the lines to add; nothing is written."""
    (shop / "shop/__init__.py").write_text("manager = make()\n")
    before = tomllib.loads((shop / "loafer.toml").read_text())

    done = run("add", "monitoring")

    assert done.exit_code != 0
    assert "monitoring = Monitoring(app)" in str(done.exception)
    assert tomllib.loads((shop / "loafer.toml").read_text()) == before
    assert not (shop / "deploy").exists()


def test_its_undo_takes_all_of_it_away(shop):
    """As one command."""
    before = {
        path: path.read_bytes() for path in shop.rglob("*") if path.suffix in (".py", ".toml")
    }
    run("add", "monitoring")

    done = run("destroy")

    assert done.exit_code == 0, done.output
    assert {path: path.read_bytes() for path in before} == before
    assert not (shop / "deploy/monitoring").exists()

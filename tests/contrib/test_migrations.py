"""`loafer-kit --app PATH db`: Alembic's commands on a real folder and a file of SQLite."""

import contextlib
import re
import sqlite3
import sys

import pytest
from kept_projects import run

from loafer_kit.commands import isolated

SERVICE = """
from loafer_kit import LoaferManager
from loafer_kit.contrib.database import Database
from sqlalchemy.orm import mapped_column
from sqlalchemy import Integer

manager = LoaferManager([], settings={"DATABASE_URI": "URI"})
database = Database(manager)
database.once("billing")

class Order(database.Model):
    __tablename__ = "orders"
    id = mapped_column(Integer, primary_key=True)
"""


@pytest.fixture(params=["sqlite+aiosqlite", "sqlite"])
def driver(request):
    """A driver that is asynchronous, and one that blocks."""
    return request.param


@pytest.fixture
def db(tmp_path, monkeypatch, driver):
    """Runs a command of `db` in the folder of a service; a failure is one line and exit code 1."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    set_uri(tmp_path, f"{driver}:///shop.db")

    def command(*words, fails=False):
        with isolated():
            sys.modules.pop("shop_of_db", None)
            done = run("--app", "shop_of_db", "db", *words)
        if not fails:
            assert done.returncode == 0, done.stderr
            return done.stdout
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        (line,) = done.stderr.splitlines()
        return line

    yield command
    sys.modules.pop("shop_of_db", None)


def set_uri(folder, uri):
    (folder / "shop_of_db.py").write_text(SERVICE.replace('"URI"', f'"{uri}"'))


def tables():
    with contextlib.closing(sqlite3.connect("shop.db")) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name for (name,) in rows} - {"alembic_version"}


def revisions(text):
    return re.findall(r"\b[0-9a-f]{12}\b", text)


def test_a_database_is_migrated_to_the_models_and_back(db, tmp_path):
    """The twelve commands and `generate`, one after the other."""
    assert db("init").startswith("Created migrations: ")
    assert {path.name for path in (tmp_path / "migrations").iterdir()} == {
        "env.py",
        "script.py.mako",
        "versions",
    }
    db("generate", "--message", "first")
    (script,) = (tmp_path / "migrations/versions").glob("*_first.py")
    (first,) = revisions(script.name.replace("_", " "))
    assert db("current") == ""
    assert db("upgrade") == f"upgraded to {first}, first\n"
    assert tables() == {"orders", "loafer_kit_inbox"}
    assert db("current") == f"{first} (head)\n"
    assert f"Parent: <base>\nPath: {script}" in db("show", "head")
    assert f"Rev: {first} (head)" in db("heads", "-v")

    db("revision", "-m", "left", "--rev-id", "aaaaaaaaaaaa")
    db("revision", "-m", "right", "--rev-id", "bbbbbbbbbbbb", "--head", first, "--splice")
    assert db("branches").startswith(f"{first} (branchpoint)\n")
    db("merge", "aaaaaaaaaaaa", "bbbbbbbbbbbb", "-m", "joined")
    history = db("history")
    assert history.index("joined") < history.index("left") < history.index("first")
    assert db("history", "--rev-range", f"base:{first}") == (
        f"<base> -> {first} (branchpoint), first\n"
    )
    assert len(db("upgrade").splitlines()) == 3
    assert db("downgrade", first).count("downgraded from") == 3
    assert db("stamp", "heads").startswith("stamped ")
    assert db("stamp", first).startswith("stamped ")
    assert db("downgrade") == f"downgraded from {first}, first\n"
    assert tables() == set()


@pytest.mark.parametrize("driver", ["sqlite+aiosqlite"])
def test_sql_is_printed_instead(db):
    db("init", "migrations")
    db("generate", "-m", "first")
    assert "CREATE TABLE orders" in db("upgrade", "--sql")
    assert tables() == set()


@pytest.mark.parametrize("driver", ["sqlite+aiosqlite"])
def test_edit_opens_the_script(db, tmp_path, monkeypatch):
    """In $EDITOR."""
    db("init")
    db("revision", "-m", "first")
    (script,) = (tmp_path / "migrations/versions").glob("*.py")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "# edited" >> "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    db("edit", "head")
    assert script.read_text().endswith("# edited\n")


@pytest.mark.parametrize("driver", ["sqlite+aiosqlite"])
def test_a_folder_that_alembic_configures_keeps_its_settings(db, tmp_path):
    """`alembic.ini` in the folder of migrations, as Henson-Database wrote it."""
    db("init")
    (tmp_path / "migrations/alembic.ini").write_text("[alembic]\nfile_template = %%(rev)s\n")
    db("revision", "--rev-id", "aaaaaaaaaaaa")
    assert (tmp_path / "migrations/versions/aaaaaaaaaaaa.py").is_file()


@pytest.mark.parametrize("driver", ["sqlite+aiosqlite"])
def test_each_error_is_one_line(db, tmp_path):
    """And leaves the files as they are."""
    assert "migrations holds no migrations: create the folder with `db init`" in db(
        "upgrade", fails=True
    )
    db("init")
    assert "migrations exists and was not touched" in db("init", fails=True)
    assert "db upgrade: Can't locate revision identified by 'nope'" in db(
        "upgrade", "nope", fails=True
    )
    db("generate", "-m", "first")
    with contextlib.closing(sqlite3.connect("shop.db")) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
    assert db("upgrade", fails=True) == ("error: db upgrade: table orders already exists")


@pytest.mark.parametrize("driver", ["sqlite+aiosqlite"])
@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("sqlite+aiosqlite:////nowhere/shop.db", "unable to open database file"),
        ("postgresql+asyncpg://u:secret@127.0.0.1:1/d", "Connect call failed ('127.0.0.1', 1)"),
        ("mysql+aiomysql://u:secret@h/d", "pip install aiomysql"),
        ("nonsense", "DATABASE_URI must be a database URL"),
    ],
)
def test_a_database_that_cannot_be_reached_is_one_line(db, tmp_path, uri, text):
    db("init")
    set_uri(tmp_path, uri)
    line = db("upgrade", fails=True)
    assert text in line
    assert "secret" not in line

"""Migrations: Alembic's commands, for the tables of a service's models.

Alembic is imported by the commands: a service that runs does without it.
"""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from loafer_kit.exceptions import LoaferKitError

_ENVIRONMENT = '''\
"""Alembic runs this module for each command that reads or writes the database."""

from loafer_kit.contrib.database import migrate

migrate()  # its keywords are those of Alembic's context.configure, such as include_object
'''


class MigrationError(LoaferKitError):
    """A command of `db` cannot do what it was asked for."""


def migrate(**options: Any) -> None:
    """Run the migrations of the current command; for the `env.py` in the folder of migrations.

    `options` are keywords of Alembic's `context.configure`.
    """
    from alembic import context

    database = context.config.attributes["database"]
    options = {"target_metadata": database.metadata, **options}

    def run(connection: Connection | None = None) -> None:
        context.configure(connection=connection, **options)
        with context.begin_transaction():
            context.run_migrations()

    async def run_in_database() -> None:
        try:
            await database.call(run)
        except Exception:
            # The thread of an aiosqlite connection that could not be opened calls the loop again.
            await asyncio.sleep(0.1)
            raise
        finally:
            await database.dispose()

    if context.is_offline_mode():
        options |= {"url": database.app.settings["DATABASE_URI"], "literal_binds": True}
        run()
    else:
        options.setdefault("on_version_apply", _tell)
        asyncio.run(run_in_database())


def branches(app: Any, *, verbose: bool = False) -> None:
    """Show where the history of migrations branches."""
    _alembic(app, "branches", verbose=bool(verbose))


def current(app: Any, *, verbose: bool = False) -> None:
    """Show the revision of the database."""
    _alembic(app, "current", verbose=bool(verbose))


def downgrade(app: Any, revision: str = "-1", *, sql: bool = False, tag: str | None = None) -> None:
    """Go back to an earlier revision; with --sql, print its SQL."""
    _alembic(app, "downgrade", revision, sql=sql, tag=tag)


def edit(app: Any, rev: str) -> None:
    """Open the script of a revision in $EDITOR."""
    _alembic(app, "edit", rev)


def generate(
    app: Any,
    *,
    message: str | None = None,
    sql: bool = False,
    head: str = "head",
    splice: bool = False,
    branch_label: str | None = None,
    version_path: str | None = None,
    rev_id: str | None = None,
    depends_on: str | None = None,
) -> None:
    """Write a migration that makes the database fit the models."""
    revision(
        app,
        message=message,
        autogenerate=True,
        sql=sql,
        head=head,
        splice=splice,
        branch_label=branch_label,
        version_path=version_path,
        rev_id=rev_id,
        depends_on=depends_on,
    )


def heads(app: Any, *, verbose: bool = False, resolve_dependencies: bool = False) -> None:
    """Show the newest revisions among the scripts."""
    _alembic(app, "heads", verbose=bool(verbose), resolve_dependencies=resolve_dependencies)


def history(app: Any, *, rev_range: str | None = None, verbose: bool = False) -> None:
    """List the migrations, the newest first, or a range START:END."""
    _alembic(app, "history", rev_range=rev_range, verbose=bool(verbose))


def init(app: Any, directory: str | None = None) -> str:
    """Create the folder DATABASE_MIGRATIONS_DIRECTORY, or another."""
    from alembic.config import Config

    folder = Path(directory or app.settings["DATABASE_MIGRATIONS_DIRECTORY"])
    if folder.exists() and any(folder.iterdir()):
        raise MigrationError(f"{folder} exists and was not touched: choose another folder")
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(_ENVIRONMENT)
    shutil.copy(Path(Config().get_template_directory(), "generic", "script.py.mako"), folder)
    return f"Created {folder}: `db generate` writes the first migration into it."


def merge(
    app: Any,
    revisions: list[str],
    *,
    message: str | None = None,
    branch_label: str | None = None,
    rev_id: str | None = None,
) -> None:
    """Write a migration that joins revisions, or all `heads`."""
    _alembic(app, "merge", revisions, message=message, branch_label=branch_label, rev_id=rev_id)


def revision(
    app: Any,
    *,
    message: str | None = None,
    autogenerate: bool = False,
    sql: bool = False,
    head: str = "head",
    splice: bool = False,
    branch_label: str | None = None,
    version_path: str | None = None,
    rev_id: str | None = None,
    depends_on: str | None = None,
) -> None:
    """Write an empty migration; with --autogenerate, as `generate`."""
    _alembic(
        app,
        "revision",
        message=message,
        autogenerate=autogenerate,
        sql=sql,
        head=head,
        splice=splice,
        branch_label=branch_label,
        version_path=version_path,
        rev_id=rev_id,
        depends_on=depends_on,
    )


def show(app: Any, rev: str) -> None:
    """Show a revision: its script and its message."""
    _alembic(app, "show", rev)


def stamp(app: Any, revision: str, *, sql: bool = False, tag: str | None = None) -> None:
    """Note the revision of the database, and run no migration."""
    _alembic(app, "stamp", revision, sql=sql, tag=tag)


def upgrade(app: Any, revision: str = "head", *, sql: bool = False, tag: str | None = None) -> None:
    """Go to a later revision; with --sql, print its SQL."""
    _alembic(app, "upgrade", revision, sql=sql, tag=tag)


#: The commands of `loafer-kit --app PATH db`.
COMMANDS = (
    branches,
    current,
    downgrade,
    edit,
    generate,
    heads,
    history,
    init,
    merge,
    revision,
    show,
    stamp,
    upgrade,
)


def _alembic(app: Any, command: str, *arguments: Any, **options: Any) -> None:
    from alembic import command as commands
    from alembic.config import Config

    folder = Path(app.settings["DATABASE_MIGRATIONS_DIRECTORY"])
    if not (folder / "env.py").is_file():
        raise MigrationError(f"{folder} holds no migrations: create the folder with `db init`")
    config = Config(folder / "alembic.ini", stdout=sys.stdout)
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["database"] = app.extensions["database"]
    with _one_line(command):
        getattr(commands, command)(config, *arguments, **options)


@contextlib.contextmanager
def _one_line(command: str) -> Iterator[None]:
    """Turn what Alembic, the database and the network report into a line."""
    from alembic.util import CommandError

    try:
        yield
    except (CommandError, SQLAlchemyError, OSError) as error:
        reason = getattr(error, "orig", None) or error  # the driver's error, without its SQL
        raise MigrationError(f"db {command}: {' '.join(str(reason).split())}") from error


def _tell(*, step: Any, **_: Any) -> None:
    done = "stamped" if step.is_stamp else "upgraded to" if step.is_upgrade else "downgraded from"
    for script in step.up_revisions:
        sys.stdout.write(f"{done} {script.revision}, {script.doc}\n")

"""Migrations: Alembic's commands, for the tables of a service's models."""

import asyncio
import functools
import shutil
import sys
from collections.abc import Callable
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
    context = _library().context
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


def _alembic(name: str, **more: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Have Alembic's command `name` called with the arguments of a function."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(app: Any, *arguments: Any, **options: Any) -> None:
            _run(app, name, *arguments, **options, **more)

        return command

    return decorate


@_alembic("branches")
def branches(app: Any, *, verbose: bool = False) -> None:
    """Show where the history of migrations branches."""


@_alembic("current")
def current(app: Any, *, verbose: bool = False) -> None:
    """Show the revision of the database."""


@_alembic("downgrade")
def downgrade(app: Any, revision: str = "-1", *, sql: bool = False, tag: str | None = None) -> None:
    """Go back to an earlier revision; with --sql, print its SQL."""


@_alembic("edit")
def edit(app: Any, rev: str) -> None:
    """Open the script of a revision in $EDITOR."""


@_alembic("revision", autogenerate=True)
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


@_alembic("heads")
def heads(app: Any, *, verbose: bool = False, resolve_dependencies: bool = False) -> None:
    """Show the newest revisions among the scripts."""


@_alembic("history")
def history(app: Any, *, rev_range: str | None = None, verbose: bool = False) -> None:
    """List the migrations, the newest first, or a range START:END."""


def init(app: Any, directory: str | None = None) -> str:
    """Create the folder DATABASE_MIGRATIONS_DIRECTORY, or another."""
    folder = Path(directory or app.settings["DATABASE_MIGRATIONS_DIRECTORY"])
    if folder.exists() and any(folder.iterdir()):
        raise MigrationError(f"{folder} exists and was not touched: choose another folder")
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(_ENVIRONMENT)
    templates = Path(_library().config.Config().get_template_directory())
    shutil.copy(templates / "generic" / "script.py.mako", folder)
    return f"Created {folder}: `db generate` writes the first migration into it."


@_alembic("merge")
def merge(
    app: Any,
    revisions: list[str],
    *,
    message: str | None = None,
    branch_label: str | None = None,
    rev_id: str | None = None,
) -> None:
    """Write a migration that joins revisions, or all `heads`."""


@_alembic("revision")
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


@_alembic("show")
def show(app: Any, rev: str) -> None:
    """Show a revision: its script and its message."""


@_alembic("stamp")
def stamp(app: Any, revision: str, *, sql: bool = False, tag: str | None = None) -> None:
    """Note the revision of the database, and run no migration."""


@_alembic("upgrade")
def upgrade(app: Any, revision: str = "head", *, sql: bool = False, tag: str | None = None) -> None:
    """Go to a later revision; with --sql, print its SQL."""


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


def _library() -> Any:
    import alembic.config  # a service that runs does without it

    return alembic


def _run(app: Any, command: str, *arguments: Any, **options: Any) -> None:
    """Run a command of Alembic; what it, the database and the network report becomes a line."""
    folder = Path(app.settings["DATABASE_MIGRATIONS_DIRECTORY"])
    if not (folder / "env.py").is_file():
        raise MigrationError(f"{folder} holds no migrations: create the folder with `db init`")
    alembic = _library()
    config = alembic.config.Config(folder / "alembic.ini", stdout=sys.stdout)
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["database"] = app.extensions["database"]
    try:
        getattr(alembic.command, command)(config, *arguments, **options)
    except (alembic.util.CommandError, SQLAlchemyError, OSError) as error:
        reason = getattr(error, "orig", None) or error  # the driver's error, without its SQL
        raise MigrationError(f"db {command}: {' '.join(str(reason).split())}") from error


def _tell(*, step: Any, **_: Any) -> None:
    done = "stamped" if step.is_stamp else "upgraded to" if step.is_upgrade else "downgraded from"
    for script in step.up_revisions:
        sys.stdout.write(f"{done} {script.revision}, {script.doc}\n")

"""Database: an extension that gives a service a database, through SQLAlchemy and Alembic.

`extension` holds engine and sessions, `transactions` the middleware around handlers and the inbox,
`migrations` the commands of `loafer-kit --app PATH db`.
"""

from loafer_kit.exceptions import MissingExtraError

try:
    from loafer_kit.contrib.database.extension import Database
    from loafer_kit.contrib.database.migrations import migrate
    from loafer_kit.contrib.database.transactions import current_session, with_session
except ImportError as error:
    if not (error.name or "sqlalchemy").startswith("sqlalchemy"):  # without greenlet it has no name
        raise
    raise MissingExtraError("loafer_kit.contrib.database", "database") from None

__all__ = ["Database", "current_session", "migrate", "with_session"]

"""One revision of the schema, run again on a ledger from which a test took what it brings."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from store import database


def run_again(connection: Connection, revision: str) -> None:
    """Upgrade by that one revision; what later ones have changed stays."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(database.MIGRATIONS))
    config.set_main_option("path_separator", "os")
    command.stamp(config, f"{int(revision) - 1:04}")
    command.upgrade(config, revision)
    command.stamp(config, "head")

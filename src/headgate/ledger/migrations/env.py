"""What Alembic runs: the steps, on the connection and in the transaction of the caller."""

from alembic import context

from headgate.ledger.migrations import VERSION_TABLE
from headgate.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

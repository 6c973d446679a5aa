"""The ledger: the one database of headgate, SQLite on one machine and PostgreSQL for many."""

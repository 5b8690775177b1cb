"""SQLite and PostgreSQL: tables, migrations, and one module of repository functions a port.

The only importer of SQLAlchemy. Repository functions are synchronous, take a connection
first, do database work alone and never commit: ``Database.transaction`` does, once.
"""

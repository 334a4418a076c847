"""PostgreSQL and Valkey binaries under our own supervisor."""

"""PostgreSQL and Valkey: what is remembered. Called with an open connection."""

#!/bin/sh
# Runs once, when the volume of PostgreSQL is new: an owner that migrates, and a login that serves and owns nothing.
set -eu
: "${SECRETARIA_OWNER_PASSWORD:?set it in postgres.env}" "${SECRETARIA_LOGIN_PASSWORD:?set it in postgres.env}"
psql --set=ON_ERROR_STOP=1 --username=postgres --dbname=postgres \
    --set=owner_password="$SECRETARIA_OWNER_PASSWORD" --set=login_password="$SECRETARIA_LOGIN_PASSWORD" <<'SQL'
CREATE ROLE secretaria_owner LOGIN CREATEROLE PASSWORD :'owner_password';
CREATE ROLE secretaria LOGIN PASSWORD :'login_password';
CREATE ROLE secretaria_ingest NOLOGIN BYPASSRLS;
GRANT secretaria_ingest TO secretaria_owner WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
CREATE DATABASE secretaria OWNER secretaria_owner;
SQL

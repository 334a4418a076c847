-- Roles of law 8: the owner (who runs this file) migrates; these three own nothing.
-- Where the roles exist already (made by the embedded server or by a DBA), they stay as they are.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'secretaria_door') THEN
        CREATE ROLE secretaria_door NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'secretaria_operator') THEN
        CREATE ROLE secretaria_operator NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'secretaria_ingest') THEN
        BEGIN
            CREATE ROLE secretaria_ingest NOLOGIN BYPASSRLS;
        EXCEPTION WHEN insufficient_privilege THEN
            -- Managed servers that cannot grant BYPASSRLS: the ingest policies below serve instead.
            CREATE ROLE secretaria_ingest NOLOGIN;
        END;
    END IF;
END
$$;

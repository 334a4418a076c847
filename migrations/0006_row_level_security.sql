-- Two walls between companies: every statement names company_id, and behind it row-level security with FORCE.
-- door: only the company set for the transaction (none set = no rows). operator and ingest: policies of their own.
-- No grants on partitions, no default privileges: a table that lacks its lines here is closed to everyone.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id' AND NOT a.attisdropped
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        IF name <> 'directory' THEN
            EXECUTE format('CREATE POLICY company ON %I TO secretaria_door '
                'USING (company_id = nullif(current_setting(''app.company_id'', true), '''')::bigint) '
                'WITH CHECK (company_id = nullif(current_setting(''app.company_id'', true), '''')::bigint)', name);
        END IF;
        EXECUTE format('CREATE POLICY operator_reads ON %I FOR SELECT TO secretaria_operator USING (true)', name);
        EXECUTE format('CREATE POLICY operator_adds ON %I FOR INSERT TO secretaria_operator WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY operator_changes ON %I FOR UPDATE TO secretaria_operator '
            'USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT ON %I TO secretaria_door, secretaria_operator', name);
    END LOOP;

    -- Only what a demo made can be deleted by the operator; sessions and directory entries come and go.
    FOR name IN
        SELECT unnest(ARRAY['companies', 'company_heads', 'company_timezones', 'users', 'api_keys', 'audit_log',
            'prices', 'exchange_rates', 'event_identities', 'usage_events', 'usage_series', 'usage_daily',
            'usage_hourly', 'period_counters', 'messages', 'analytics_reports', 'report_progress'])
    LOOP
        EXECUTE format('CREATE POLICY operator_removes_demo ON %I FOR DELETE TO secretaria_operator '
            'USING (company_id IN (SELECT c.company_id FROM companies c WHERE c.demo))', name);
        EXECUTE format('GRANT DELETE ON %I TO secretaria_operator', name);
    END LOOP;
    FOR name IN
        SELECT unnest(ARRAY['companies', 'company_heads', 'company_timezones', 'event_identities', 'usage_events',
            'usage_series', 'usage_daily', 'usage_hourly', 'period_counters', 'messages', 'prices', 'exchange_rates'])
    LOOP
        EXECUTE format('CREATE POLICY ingest ON %I TO secretaria_ingest USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT ON %I TO secretaria_ingest', name);
    END LOOP;
END
$$;

-- Whoever asks the directory must already know the key.
CREATE POLICY by_key ON directory TO secretaria_door
    USING (key = current_setting('app.directory_key', true))
    WITH CHECK (key = current_setting('app.directory_key', true)
        AND company_id = nullif(current_setting('app.company_id', true), '')::bigint);
CREATE POLICY operator_removes ON directory FOR DELETE TO secretaria_operator USING (true);
CREATE POLICY operator_removes ON sessions FOR DELETE TO secretaria_operator USING (true);

-- The doors of one company: sessions, keys, their own password; figures are read only.
GRANT INSERT, DELETE ON sessions, directory TO secretaria_door, secretaria_operator;
GRANT INSERT ON api_keys, audit_log TO secretaria_door, secretaria_operator;
GRANT UPDATE (revoked_at) ON api_keys TO secretaria_door, secretaria_operator;
GRANT UPDATE (password_hash, locale) ON users TO secretaria_door;
GRANT SELECT, INSERT, UPDATE, DELETE ON login_failures TO secretaria_door, secretaria_operator;

-- The operator adds; prices, rates, zones and the audit log are never changed.
GRANT INSERT ON companies, company_heads, company_timezones, users, prices, exchange_rates,
    analytics_reports, report_progress TO secretaria_operator;
GRANT UPDATE (name, status) ON companies TO secretaria_operator;
GRANT UPDATE (version, settings_version) ON company_heads TO secretaria_operator;
GRANT UPDATE (password_hash, locale, disabled_at) ON users TO secretaria_operator;
GRANT UPDATE (superseded_at) ON analytics_reports TO secretaria_operator;
GRANT UPDATE ON report_progress TO secretaria_operator;

-- The ingest path writes facts and their sums, nothing else.
GRANT UPDATE (version) ON company_heads TO secretaria_ingest;
GRANT INSERT ON event_identities, usage_events, usage_series TO secretaria_ingest;
GRANT INSERT, UPDATE ON usage_daily, usage_hourly, period_counters, messages TO secretaria_ingest;

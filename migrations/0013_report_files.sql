-- Codes printed on reports, which anyone may check, and the archive of weekly and monthly PDFs.

-- as_of: when these figures were first written down; a document made of them again says the same moment.
CREATE TABLE report_codes (
    company_id    bigint NOT NULL,
    code          text NOT NULL CHECK (code ~ '^[A-Z2-7]{20}$'),
    period_start  date NOT NULL,
    period_end    date NOT NULL,
    as_of         timestamptz NOT NULL,
    PRIMARY KEY (company_id, code)
);

-- Frozen: figures is what the code is a hash of, content the document. Later usage makes a later revision.
CREATE TABLE report_files (
    company_id    bigint NOT NULL,
    file_id       bigint GENERATED ALWAYS AS IDENTITY,
    kind          text NOT NULL CHECK (kind IN ('week', 'month')),
    period_start  date NOT NULL,
    period_end    date NOT NULL,
    revision      integer NOT NULL CHECK (revision > 0),
    locale        text NOT NULL,
    code          text NOT NULL,
    as_of         timestamptz NOT NULL,
    sha256        bytea NOT NULL,
    figures       bytea NOT NULL,
    content       bytea NOT NULL,
    made_at       timestamptz NOT NULL,
    PRIMARY KEY (company_id, file_id),
    UNIQUE (company_id, kind, period_start, revision, locale)
);

-- How far each company's archive has come: which look at its closed days it has seen, and up to which report.
CREATE TABLE report_archive_progress (
    company_id         bigint PRIMARY KEY,
    seen_checked_at    timestamptz,
    through_report_id  bigint NOT NULL DEFAULT 0
);

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT unnest(ARRAY['report_codes', 'report_files', 'report_archive_progress'])
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY company ON %I TO secretaria_door '
            'USING (company_id = nullif(current_setting(''app.company_id'', true), '''')::bigint) '
            'WITH CHECK (company_id = nullif(current_setting(''app.company_id'', true), '''')::bigint)', name);
        EXECUTE format('CREATE POLICY operator_reads ON %I FOR SELECT TO secretaria_operator USING (true)', name);
        EXECUTE format('CREATE POLICY operator_adds ON %I FOR INSERT TO secretaria_operator WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY operator_changes ON %I FOR UPDATE TO secretaria_operator '
            'USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY operator_removes_demo ON %I FOR DELETE TO secretaria_operator '
            'USING (company_id IN (SELECT c.company_id FROM companies c WHERE c.demo))', name);
        EXECUTE format('GRANT SELECT ON %I TO secretaria_door, secretaria_operator', name);
        EXECUTE format('GRANT DELETE ON %I TO secretaria_operator', name);
    END LOOP;
END
$$;

-- Codes and documents are added and never changed; a reader of another language freezes that language's document.
GRANT INSERT ON report_codes, report_files TO secretaria_door, secretaria_operator;
GRANT INSERT, UPDATE ON report_archive_progress TO secretaria_operator;

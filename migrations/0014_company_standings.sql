-- How each company stands this month, for the operator's list to sort and filter by: derived, and only ever read as of
-- the version, the local day and the moment it was computed at. Nothing is decided by it, and it may be emptied.

-- It is exact while the company's version is the one it was computed at, and until due_at, when its local day ends.
-- attention: 0 critical, 1 warning, 2 no data, 3 not priced, 4 the rest; weight orders those of one kind, largest first.
-- cost is in BRL, only to put companies of two currencies in one order; -1 where it is not known. figures: the rest.
CREATE TABLE company_standings (
    company_id  bigint PRIMARY KEY,
    version     bigint NOT NULL,
    as_of       timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,
    plan_id     bigint,
    attention   smallint NOT NULL,
    weight      numeric NOT NULL,
    state       text NOT NULL CHECK (state IN ('normal', 'warning', 'critical')),
    no_data     boolean NOT NULL,
    not_priced  boolean NOT NULL,
    percent     numeric NOT NULL,
    messages    bigint NOT NULL,
    cost        numeric NOT NULL,
    figures     jsonb NOT NULL
) WITH (fillfactor = 70);

ALTER TABLE company_standings ENABLE ROW LEVEL SECURITY;
ALTER TABLE company_standings FORCE ROW LEVEL SECURITY;
CREATE POLICY company ON company_standings TO secretaria_door
    USING (company_id = nullif(current_setting('app.company_id', true), '')::bigint)
    WITH CHECK (company_id = nullif(current_setting('app.company_id', true), '')::bigint);
CREATE POLICY operator_reads ON company_standings FOR SELECT TO secretaria_operator USING (true);
CREATE POLICY operator_adds ON company_standings FOR INSERT TO secretaria_operator WITH CHECK (true);
CREATE POLICY operator_changes ON company_standings FOR UPDATE TO secretaria_operator USING (true) WITH CHECK (true);
CREATE POLICY operator_removes_demo ON company_standings FOR DELETE TO secretaria_operator
    USING (company_id IN (SELECT c.company_id FROM companies c WHERE c.demo));
GRANT SELECT, INSERT, UPDATE, DELETE ON company_standings TO secretaria_operator;

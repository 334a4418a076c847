-- The connection to Meta: what the operator entered (secrets sealed by the application, services/secret_box.py),
-- how far each part of it has come, and Meta's figures as they were pulled.

CREATE TABLE integrations (
    company_id      bigint NOT NULL,
    integration_id  bigint GENERATED ALWAYS AS IDENTITY,
    kind            text NOT NULL CHECK (kind = 'meta'),
    ad_account_id   text CHECK (ad_account_id ~ '^act_[0-9]+$'),
    business_id     text CHECK (business_id ~ '^[0-9]+$'),
    waba_id         text CHECK (waba_id ~ '^[0-9]+$'),
    access_token    bytea,
    app_secret      bytea,
    verify_token    bytea,
    total_source    text NOT NULL DEFAULT 'messages' CHECK (total_source IN ('messages', 'ads')),
    today_source    text NOT NULL DEFAULT 'estimated' CHECK (today_source IN ('estimated', 'meta')),
    revision        integer NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (company_id, integration_id),
    UNIQUE (company_id, kind)
);

-- One row a company and part. next_attempt_at is null once only the operator can help.
CREATE TABLE meta_sync (
    company_id       bigint NOT NULL,
    part             text NOT NULL CHECK (part IN ('messages', 'ads', 'profile')),
    state            text NOT NULL CHECK (state IN ('waiting', 'ok', 'backing_off', 'refused', 'reconnect')),
    meta_code        integer,
    failures         integer NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz,
    succeeded_at     timestamptz,
    stale_since      timestamptz,
    PRIMARY KEY (company_id, part)
);
CREATE INDEX meta_sync_due ON meta_sync (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

-- Which days were pulled, and whether after they had ended: only a whole day can replace an estimate.
-- scope is the WABA, or the ad account, the figures are of.
CREATE TABLE meta_days (
    company_id  bigint NOT NULL,
    source      text NOT NULL CHECK (source IN ('messages', 'ads')),
    scope       text NOT NULL,
    day         date NOT NULL,
    timezone    text NOT NULL,
    whole       boolean NOT NULL,
    pulled_at   timestamptz NOT NULL,
    PRIMARY KEY (company_id, source, scope, day)
);

-- Append-only: a pull adds the figures that differ from the newest kept, so what Meta said at any time stays.
-- phone is the business' own number in digits; category and pricing_type are Meta's words; amount is null where Meta
-- tells no cost (a solution partner's credit line).
CREATE TABLE meta_costs (
    company_id    bigint NOT NULL,
    meta_cost_id  bigint GENERATED ALWAYS AS IDENTITY,
    source        text NOT NULL CHECK (source IN ('messages', 'ads')),
    scope         text NOT NULL,
    day           date NOT NULL,
    phone         text NOT NULL,
    category      text NOT NULL,
    pricing_type  text NOT NULL,
    volume        bigint NOT NULL,
    amount        numeric CHECK (amount >= 0 AND amount < 'NaN'),
    currency      text NOT NULL,
    pulled_at     timestamptz NOT NULL,
    PRIMARY KEY (company_id, meta_cost_id)
);
CREATE INDEX meta_costs_day ON meta_costs (company_id, source, scope, day);

-- The numbers of the connection's WABA as Meta shows them. Those that are accounts have their name, quality and
-- picture there too (the bytes: Meta's address of a picture expires); the number itself tells whose figures are whose.
CREATE TABLE meta_profiles (
    company_id            bigint NOT NULL,
    phone_number_id       text NOT NULL,
    display_phone_number  text NOT NULL,
    verified_name         text NOT NULL,
    quality_rating        text NOT NULL,
    picture_pulled_at     timestamptz,
    pulled_at             timestamptz NOT NULL,
    PRIMARY KEY (company_id, phone_number_id)
);

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT unnest(ARRAY['integrations', 'meta_sync', 'meta_days', 'meta_costs', 'meta_profiles'])
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
        EXECUTE format('GRANT SELECT ON %I TO secretaria_door, secretaria_operator', name);
        EXECUTE format('GRANT INSERT, DELETE ON %I TO secretaria_operator', name);
    END LOOP;
    -- A connection may be taken away; what Meta said stays, but for a demo's.
    FOR name IN SELECT unnest(ARRAY['integrations', 'meta_sync', 'meta_profiles'])
    LOOP
        EXECUTE format('CREATE POLICY operator_removes ON %I FOR DELETE TO secretaria_operator USING (true)', name);
        EXECUTE format('GRANT UPDATE ON %I TO secretaria_operator', name);
    END LOOP;
    FOR name IN SELECT unnest(ARRAY['meta_days', 'meta_costs'])
    LOOP
        EXECUTE format('CREATE POLICY operator_removes_demo ON %I FOR DELETE TO secretaria_operator '
            'USING (company_id IN (SELECT c.company_id FROM companies c WHERE c.demo))', name);
    END LOOP;
END
$$;

GRANT UPDATE ON meta_days TO secretaria_operator;

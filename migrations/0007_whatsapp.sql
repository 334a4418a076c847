-- WhatsApp accounts, templates with the history of their category, one row a message, and Meta's webhooks as received.

-- Known by the phone number's id: the WABA's may change. messages_from: from then on Meta's webhook counts the
-- account's messages, and usage events of the account add tokens and response times only; NULL: usage events count.
CREATE TABLE whatsapp_accounts (
    company_id       bigint NOT NULL,
    account_id       bigint GENERATED ALWAYS AS IDENTITY,
    phone_number_id  text NOT NULL,
    waba_id          text,
    integration_id   bigint,
    name             text NOT NULL,
    display_name     text,
    picture          bytea,
    picture_type     text,
    quality_rating   text,
    currency         text NOT NULL CHECK (currency IN ('BRL', 'USD')),
    rate_card        text NOT NULL DEFAULT 'product',
    messages_from    timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, account_id),
    UNIQUE (company_id, phone_number_id)
);
CREATE INDEX whatsapp_accounts_waba ON whatsapp_accounts (waba_id) WHERE waba_id IS NOT NULL;

CREATE TABLE templates (
    company_id        bigint NOT NULL,
    template_id       bigint GENERATED ALWAYS AS IDENTITY,
    account_id        bigint NOT NULL,
    meta_template_id  text,
    name              text NOT NULL,
    language          text NOT NULL DEFAULT '',
    quality           text,
    quality_at        timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, template_id),
    UNIQUE (company_id, account_id, name, language)
);

-- Append-only: a message is of the category its template had when it was sent. The first covers all earlier time.
CREATE TABLE template_categories (
    company_id    bigint NOT NULL,
    template_id   bigint NOT NULL,
    effective_at  timestamptz NOT NULL,
    category      text NOT NULL,
    source        text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, template_id, effective_at)
);

-- The state of core/whatsapp.py, and what counts of it now: `messages` and response_ms at (series_id, day, hour).
-- change_number: how many rows of usage_events the message path wrote; 0: only usage events have told of it.
ALTER TABLE messages
    ADD COLUMN account_id        bigint,
    ADD COLUMN direction         text,
    ADD COLUMN first_at          timestamptz,
    ADD COLUMN status_rank       smallint NOT NULL DEFAULT 0,
    ADD COLUMN failed            boolean NOT NULL DEFAULT false,
    ADD COLUMN pricing_rank      smallint,
    ADD COLUMN pricing_category  text,
    ADD COLUMN pricing_type      text,
    ADD COLUMN template_id       bigint,
    ADD COLUMN category          text,
    ADD COLUMN country           text,
    ADD COLUMN phone_hmac        text,
    ADD COLUMN phone_last4       text,
    ADD COLUMN messages          smallint NOT NULL DEFAULT 0,
    ADD COLUMN response_ms       bigint,
    ADD COLUMN change_number     integer NOT NULL DEFAULT 0;
CREATE INDEX messages_conversation ON messages (company_id, account_id, phone_hmac, first_at)
    WHERE phone_hmac IS NOT NULL;
CREATE INDEX messages_created_at ON messages (created_at);

ALTER TABLE usage_series ADD COLUMN pricing_type text;

-- Messages that usage events reported for an account whose messages Meta's webhook counts: shown, not counted.
CREATE TABLE usage_uncounted (
    company_id  bigint NOT NULL,
    day         date NOT NULL,
    account_id  bigint NOT NULL,
    messages    bigint NOT NULL,
    PRIMARY KEY (company_id, day, account_id)
);

-- What else Meta told of an account: limits, tiers, reviews. Once each, however often it is sent.
CREATE TABLE whatsapp_events (
    company_id  bigint NOT NULL,
    event_hash  uuid NOT NULL,
    waba_id     text NOT NULL,
    kind        text NOT NULL,
    at          timestamptz NOT NULL,
    detail      jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, event_hash)
);

-- Webhooks as they came, scrubbed of what is personal (inbound/whatsapp_scrub.py). They belong to no company until
-- their numbers are known: only ingest and the operator see them. numbers: those no account was known for.
CREATE TABLE webhook_payloads (
    payload_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at     timestamptz NOT NULL,
    integration_id  bigint,
    state           text NOT NULL CHECK (state IN ('new', 'done', 'set_aside')),
    body            jsonb NOT NULL,
    unknown         jsonb NOT NULL DEFAULT '{}',
    numbers         text[] NOT NULL DEFAULT '{}',
    attempts        smallint NOT NULL DEFAULT 0,
    error           text
);
CREATE INDEX webhook_payloads_open ON webhook_payloads (state, payload_id) WHERE state <> 'done';
CREATE INDEX webhook_payloads_received_at ON webhook_payloads USING brin (received_at);

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT unnest(ARRAY['whatsapp_accounts', 'templates', 'template_categories', 'usage_uncounted',
            'whatsapp_events'])
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
        EXECUTE format('CREATE POLICY ingest ON %I TO secretaria_ingest USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT ON %I TO secretaria_door, secretaria_operator, secretaria_ingest', name);
        EXECUTE format('GRANT DELETE ON %I TO secretaria_operator', name);
    END LOOP;
END
$$;

GRANT INSERT ON whatsapp_accounts, templates, template_categories TO secretaria_operator;
GRANT UPDATE (waba_id, integration_id, name, display_name, picture, picture_type, quality_rating, rate_card)
    ON whatsapp_accounts TO secretaria_operator;
GRANT UPDATE (messages_from) ON whatsapp_accounts TO secretaria_ingest;
GRANT INSERT ON templates, template_categories, whatsapp_events TO secretaria_ingest;
GRANT UPDATE (meta_template_id, quality, quality_at) ON templates TO secretaria_ingest;
GRANT INSERT, UPDATE ON usage_uncounted TO secretaria_ingest;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_payloads TO secretaria_ingest, secretaria_operator;

-- Whose number is it? Asked for many numbers at once by the path that no company has entered yet.
CREATE POLICY ingest_finds_numbers ON directory FOR SELECT TO secretaria_ingest
    USING (kind IN ('phone_number_id', 'account'));
GRANT SELECT ON directory TO secretaria_ingest;

-- Retention and erasure (LGPD, art. 18 VI): message rows go, the sums stay; of usage events only the wamid goes.
CREATE POLICY operator_erases ON messages FOR DELETE TO secretaria_operator USING (true);
GRANT UPDATE (wamid) ON usage_events TO secretaria_operator;

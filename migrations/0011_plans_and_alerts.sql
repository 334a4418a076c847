-- Plans and their dated limits, the alerts they raise, where alerts are delivered, and quantities held for campaigns.

-- Shared by all companies. A version of the limits holds from effective_from on; of two of one date the later written
-- holds. NULL: unlimited. cost is in the plan's currency.
CREATE TABLE plans (
    plan_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    currency    text NOT NULL CHECK (currency IN ('BRL', 'USD')),
    created_at  timestamptz NOT NULL
);

CREATE TABLE plan_limits (
    version_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan_id         bigint NOT NULL REFERENCES plans,
    effective_from  date NOT NULL,
    messages        bigint CHECK (messages > 0),
    tokens          bigint CHECK (tokens > 0),
    cost            numeric CHECK (cost > 0 AND cost < 'NaN'),
    thresholds      smallint[] NOT NULL DEFAULT '{80,100}' CHECK (cardinality(thresholds) BETWEEN 1 AND 10),
    hard            boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL
);
CREATE INDEX plan_limits_plan ON plan_limits (plan_id, effective_from);

-- Which plan a company has from a local day on; plan_id NULL: none. Append-only, the later written of one date holds.
CREATE TABLE company_plans (
    company_id      bigint NOT NULL,
    choice_id       bigint GENERATED ALWAYS AS IDENTITY,
    plan_id         bigint,
    effective_from  date NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (company_id, choice_id)
);

-- When ingest has to decide about alerts: where the row is not decided, or a counter reaches its alert_at (NULL: never).
-- cost_bound is the exact cost at the last decision plus what was added since at the highest unit prices: it is never
-- below the cost, so the cost is computed only when the bound reaches cost_alert_at.
-- swept: the company's version and the moment at which the sweeper last found nothing missed.
ALTER TABLE period_counters
    ADD COLUMN decided             boolean NOT NULL DEFAULT false,
    ADD COLUMN decided_on          date,
    ADD COLUMN messages_alert_at   bigint,
    ADD COLUMN tokens_alert_at     bigint,
    ADD COLUMN cost_alert_at       numeric,
    ADD COLUMN cost_bound          numeric NOT NULL DEFAULT 0,
    ADD COLUMN message_price_max   numeric NOT NULL DEFAULT 0,
    ADD COLUMN token_price_max     numeric NOT NULL DEFAULT 0,
    ADD COLUMN swept_version       bigint,
    ADD COLUMN swept_at            timestamptz;
-- Months that ended before there were alerts raise none.
UPDATE period_counters SET decided = true WHERE period_start < (date_trunc('month', now()) - interval '1 month')::date;
CREATE INDEX period_counters_undecided ON period_counters (company_id) WHERE NOT decided;

-- limit_amount is the limit's version: another limit is another alert. episode counts what was resolved and crossed
-- again. threshold and limit_amount are 0 for kind not_priced. published: written to the company's feed in Valkey.
CREATE TABLE alerts (
    company_id        bigint NOT NULL,
    alert_id          bigint GENERATED ALWAYS AS IDENTITY,
    kind              text NOT NULL CHECK (kind IN ('limit', 'not_priced')),
    metric            text NOT NULL CHECK (metric IN ('messages', 'tokens', 'cost')),
    threshold         smallint NOT NULL,
    level             text NOT NULL CHECK (level IN ('warning', 'critical')),
    period_start      date NOT NULL,
    limit_amount      numeric NOT NULL,
    episode           integer NOT NULL CHECK (episode > 0),
    used              numeric NOT NULL,
    percent           numeric,
    currency          text,
    plan_name         text,
    fired_at          timestamptz NOT NULL,
    resolved_at       timestamptz,
    resolved_used     numeric,
    acknowledged_at   timestamptz,
    acknowledged_by   text,
    published         boolean NOT NULL DEFAULT false,
    PRIMARY KEY (company_id, alert_id),
    UNIQUE (company_id, period_start, kind, metric, threshold, limit_amount, episode)
);
CREATE UNIQUE INDEX alerts_one_unresolved ON alerts (company_id, period_start, kind, metric, threshold)
    WHERE resolved_at IS NULL;
CREATE INDEX alerts_newest ON alerts (company_id, fired_at);
CREATE INDEX alerts_by_id ON alerts (alert_id);
CREATE INDEX alerts_open ON alerts (company_id, alert_id) WHERE resolved_at IS NULL AND acknowledged_at IS NULL;
CREATE INDEX alerts_unpublished ON alerts (company_id) WHERE NOT published;

-- Where news of a company go: a webhook's URL or an e-mail address. company_id 0: the operator's, told of all companies.
-- secrets: sealed, a list of the signing secrets in use (rotation overlaps). lease fences the one worker that delivers.
-- held_until: it asked for patience (Retry-After); nothing is sent before.
CREATE TABLE delivery_endpoints (
    company_id       bigint NOT NULL,
    endpoint_id      bigint GENERATED ALWAYS AS IDENTITY,
    channel          text NOT NULL CHECK (channel IN ('webhook', 'mail')),
    address          text NOT NULL CHECK (length(address) BETWEEN 3 AND 2000),
    description      text NOT NULL DEFAULT '',
    events           text[] NOT NULL,
    locale           text NOT NULL DEFAULT 'pt-BR',
    secrets          bytea,
    private_allowed  boolean NOT NULL DEFAULT false,
    from_settings    boolean NOT NULL DEFAULT false,
    status           text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    disabled_at      timestamptz,
    disabled_reason  text,
    failing_since    timestamptz,
    succeeded_at     timestamptz,
    held_until       timestamptz,
    lease            bigint NOT NULL DEFAULT 0,
    leased_until     timestamptz,
    created_at       timestamptz NOT NULL,
    removed_at       timestamptz,
    PRIMARY KEY (company_id, endpoint_id)
);

-- The outbox: one row for each news and endpoint, written in the transaction that made the news. company_id is the
-- endpoint's; about_company_id is whom it is about. body is what is sent, byte for byte (for mail: what it is made of).
-- attempts_before: made by earlier chains; a redelivery begins another, under the same message_id.
CREATE TABLE deliveries (
    company_id        bigint NOT NULL,
    delivery_id       bigint GENERATED ALWAYS AS IDENTITY,
    endpoint_id       bigint NOT NULL,
    message_id        text NOT NULL,
    event_type        text NOT NULL,
    about_company_id  bigint NOT NULL,
    alert_id          bigint,
    body              text NOT NULL,
    status            text NOT NULL DEFAULT 'waiting'
        CHECK (status IN ('waiting', 'delivered', 'dead', 'cancelled')),
    attempts          integer NOT NULL DEFAULT 0,
    attempts_before   integer NOT NULL DEFAULT 0,
    next_attempt_at   timestamptz NOT NULL,
    created_at        timestamptz NOT NULL,
    delivered_at      timestamptz,
    PRIMARY KEY (company_id, delivery_id),
    UNIQUE (company_id, message_id)
);
CREATE INDEX deliveries_waiting ON deliveries (company_id, endpoint_id, next_attempt_at) WHERE status = 'waiting';
CREATE INDEX deliveries_by_id ON deliveries (delivery_id);
CREATE INDEX deliveries_newest ON deliveries (company_id, created_at);
CREATE INDEX deliveries_of_alert ON deliveries (company_id, about_company_id, alert_id);

CREATE TABLE delivery_attempts (
    company_id    bigint NOT NULL,
    delivery_id   bigint NOT NULL,
    attempt       integer NOT NULL,
    at            timestamptz NOT NULL,
    duration_ms   integer NOT NULL,
    status_code   integer,
    error         text,
    answer        text NOT NULL DEFAULT '',
    PRIMARY KEY (company_id, delivery_id, attempt)
);

-- What a campaign holds of a company's limits until it is used or expires. The _left columns fall with the usage that
-- names the reservation.
CREATE TABLE reservations (
    company_id      bigint NOT NULL,
    reservation_id  uuid NOT NULL,
    period_start    date NOT NULL,
    messages        bigint NOT NULL CHECK (messages >= 0),
    tokens          bigint NOT NULL CHECK (tokens >= 0),
    cost            numeric NOT NULL CHECK (cost >= 0 AND cost < 'NaN'),
    messages_left   bigint NOT NULL CHECK (messages_left >= 0),
    tokens_left     bigint NOT NULL CHECK (tokens_left >= 0),
    cost_left       numeric NOT NULL CHECK (cost_left >= 0 AND cost_left < 'NaN'),
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    released_at     timestamptz,
    PRIMARY KEY (company_id, reservation_id)
);
CREATE INDEX reservations_open ON reservations (company_id, expires_at) WHERE released_at IS NULL;

-- The audit log's chain: each line's hash covers its content and the hash before it; the head names the last one.
ALTER TABLE audit_log ADD COLUMN sequence bigint, ADD COLUMN hash bytea;
CREATE UNIQUE INDEX audit_log_sequence ON audit_log (company_id, sequence);
CREATE TABLE audit_heads (
    company_id  bigint PRIMARY KEY,
    sequence    bigint NOT NULL,
    hash        bytea NOT NULL
);

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT unnest(ARRAY['company_plans', 'alerts', 'delivery_endpoints', 'deliveries', 'delivery_attempts',
        'reservations', 'audit_heads'])
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
        IF name <> 'audit_heads' THEN
            EXECUTE format('CREATE POLICY operator_removes_demo ON %I FOR DELETE TO secretaria_operator '
                'USING (company_id IN (SELECT c.company_id FROM companies c WHERE c.demo))', name);
            EXECUTE format('CREATE POLICY ingest ON %I TO secretaria_ingest USING (true) WITH CHECK (true)', name);
            EXECUTE format('GRANT SELECT ON %I TO secretaria_ingest', name);
            EXECUTE format('GRANT DELETE ON %I TO secretaria_operator', name);
        END IF;
    END LOOP;
END
$$;

GRANT SELECT ON plans, plan_limits TO secretaria_door, secretaria_operator, secretaria_ingest;
GRANT INSERT ON plans, plan_limits, company_plans TO secretaria_operator;
GRANT INSERT, UPDATE ON period_counters TO secretaria_operator;

-- Alerts and their outbox are written by whatever changes usage, prices or plans; people acknowledge.
GRANT INSERT ON alerts, deliveries TO secretaria_ingest, secretaria_operator;
GRANT UPDATE (resolved_at, resolved_used, published) ON alerts TO secretaria_ingest, secretaria_operator;
GRANT UPDATE (acknowledged_at, acknowledged_by) ON alerts TO secretaria_door, secretaria_operator;

-- A company keeps its own endpoints; the worker (operator) leases them and writes what became of each attempt.
GRANT INSERT ON delivery_endpoints, deliveries TO secretaria_door, secretaria_operator;
GRANT UPDATE (address, description, events, locale, secrets, status, disabled_at, disabled_reason, failing_since,
    held_until, removed_at) ON delivery_endpoints TO secretaria_door;
GRANT UPDATE ON delivery_endpoints, deliveries TO secretaria_operator;
GRANT UPDATE (status, next_attempt_at, attempts_before) ON deliveries TO secretaria_door;
GRANT INSERT, UPDATE ON delivery_attempts TO secretaria_operator;
CREATE POLICY operator_removes ON deliveries FOR DELETE TO secretaria_operator USING (true);
CREATE POLICY operator_removes ON delivery_attempts FOR DELETE TO secretaria_operator USING (true);

-- Held under the company's head lock, by the door that the credential opens; usage that names one settles it.
GRANT INSERT ON reservations TO secretaria_door, secretaria_operator;
GRANT UPDATE (released_at) ON reservations TO secretaria_door;
GRANT UPDATE ON reservations TO secretaria_operator;
GRANT UPDATE (messages_left, tokens_left, cost_left, released_at) ON reservations TO secretaria_ingest;
CREATE POLICY operator_removes ON reservations FOR DELETE TO secretaria_operator USING (true);
GRANT UPDATE (version) ON company_heads TO secretaria_door;

-- Append-only by grant, for demo companies too; only the chain's head moves.
REVOKE DELETE ON audit_log FROM secretaria_operator;
DROP POLICY operator_removes_demo ON audit_log;
GRANT INSERT ON audit_heads TO secretaria_door, secretaria_operator;
GRANT UPDATE (sequence, hash) ON audit_heads TO secretaria_door, secretaria_operator;

-- Facts, their identities, and the sums kept beside them. No triggers and no foreign keys (law 9).

-- Counted once, for ever: 128 bits of (source, id); content_hash begins with a version byte.
CREATE TABLE event_identities (
    company_id    bigint NOT NULL,
    identity      uuid NOT NULL,
    content_hash  bytea NOT NULL,
    occurred_at   timestamptz NOT NULL,
    PRIMARY KEY (company_id, identity)
);

-- One row an accepted event. Quantities are what the event adds: a correction holds the signed difference
-- between its replacement and what counted before, so that sums over this table are the truth.
-- day and hour are the company's local day and the hours since that day began.
CREATE TABLE usage_events (
    company_id      bigint NOT NULL,
    occurred_at     timestamptz NOT NULL,
    identity        uuid NOT NULL,
    series_id       bigint NOT NULL,
    day             date NOT NULL,
    hour            smallint NOT NULL,
    messages        bigint NOT NULL,
    tokens_input    bigint NOT NULL,
    tokens_output   bigint NOT NULL,
    response_ms     bigint NOT NULL,
    response_count  smallint NOT NULL,
    source          text NOT NULL,
    event_id        text NOT NULL,
    wamid           text,
    template_id     bigint,
    cost_center     text,
    corrects        uuid,
    received_at     timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (occurred_at);
CREATE INDEX usage_events_occurred_at ON usage_events USING brin (occurred_at) WITH (pages_per_range = 32);
CREATE INDEX usage_events_corrects ON usage_events (company_id, corrects) WHERE corrects IS NOT NULL;

-- The dimensions of usage, interned per company. dimensions_hash is the 128-bit hash of the tuple.
CREATE TABLE usage_series (
    company_id       bigint NOT NULL,
    series_id        bigint GENERATED ALWAYS AS IDENTITY,
    dimensions_hash  uuid NOT NULL,
    channel          text NOT NULL,
    direction        text NOT NULL,
    category         text,
    market           text,
    model            text,
    account_id       bigint,
    template_id      bigint,
    cost_center      text,
    folded           boolean NOT NULL DEFAULT false,
    PRIMARY KEY (company_id, series_id),
    UNIQUE (company_id, dimensions_hash)
);

-- head_version: the company's version at the last change of the row; closing reports asks it.
CREATE TABLE usage_daily (
    company_id      bigint NOT NULL,
    day             date NOT NULL,
    series_id       bigint NOT NULL,
    messages        bigint NOT NULL,
    tokens_input    bigint NOT NULL,
    tokens_output   bigint NOT NULL,
    response_ms     bigint NOT NULL,
    response_count  bigint NOT NULL,
    head_version    bigint NOT NULL,
    PRIMARY KEY (company_id, day, series_id)
) WITH (fillfactor = 60);

CREATE TABLE usage_hourly (
    company_id      bigint NOT NULL,
    day             date NOT NULL,
    hour            smallint NOT NULL,
    series_id       bigint NOT NULL,
    messages        bigint NOT NULL,
    tokens_input    bigint NOT NULL,
    tokens_output   bigint NOT NULL,
    response_ms     bigint NOT NULL,
    response_count  bigint NOT NULL,
    PRIMARY KEY (company_id, day, hour, series_id)
) WITH (fillfactor = 60);

-- One row a company and calendar month: what limits are held against.
CREATE TABLE period_counters (
    company_id         bigint NOT NULL,
    period_start       date NOT NULL,
    messages_inbound   bigint NOT NULL,
    messages_outbound  bigint NOT NULL,
    tokens_input       bigint NOT NULL,
    tokens_output      bigint NOT NULL,
    PRIMARY KEY (company_id, period_start)
) WITH (fillfactor = 50);

-- One row a wamid: a message counts once however it is reported. The flags say what has been counted already.
CREATE TABLE messages (
    company_id   bigint NOT NULL,
    wamid        text NOT NULL,
    identity     uuid NOT NULL,
    day          date NOT NULL,
    hour         smallint NOT NULL,
    series_id    bigint NOT NULL,
    counted      boolean NOT NULL,
    tokens       boolean NOT NULL,
    response     boolean NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, wamid)
);

-- Closed days and weeks. Append-only in what was reported: a later revision marks the earlier one superseded.
CREATE TABLE analytics_reports (
    company_id         bigint NOT NULL,
    report_id          bigint GENERATED ALWAYS AS IDENTITY,
    kind               text NOT NULL CHECK (kind IN ('day', 'week')),
    period_start       date NOT NULL,
    period_end         date NOT NULL,
    revision           integer NOT NULL CHECK (revision > 0),
    head_version       bigint NOT NULL,
    messages_inbound   bigint NOT NULL,
    messages_outbound  bigint NOT NULL,
    tokens_input       bigint NOT NULL,
    tokens_output      bigint NOT NULL,
    response_ms        bigint NOT NULL,
    response_count     bigint NOT NULL,
    cost               numeric NOT NULL CHECK (cost < 'NaN'),
    currency           text NOT NULL,
    not_priced         jsonb NOT NULL,
    lines              jsonb NOT NULL,
    closed_at          timestamptz NOT NULL,
    superseded_at      timestamptz,
    PRIMARY KEY (company_id, report_id),
    UNIQUE (company_id, kind, period_start, revision)
);

-- How far each company's closing has come, so that a pass touches only the companies that are due.
CREATE TABLE report_progress (
    company_id     bigint PRIMARY KEY,
    next_close_at  timestamptz NOT NULL,
    head_version   bigint NOT NULL,
    checked_at     timestamptz NOT NULL
);

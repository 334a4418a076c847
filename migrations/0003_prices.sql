-- Append-only, dated. A key's first price covers all earlier days; of two rows of one date the later written holds,
-- so that a setting corrected before its day begins takes effect without changing a row (core/price.py).
CREATE TABLE prices (
    company_id      bigint NOT NULL,
    price_id        bigint GENERATED ALWAYS AS IDENTITY,
    card            text NOT NULL,
    metric          text NOT NULL CHECK (metric IN ('messages', 'tokens')),
    channel         text CHECK (channel IN ('usage', 'whatsapp')),
    category        text,
    direction       text CHECK (direction IN ('inbound', 'outbound')),
    market          text,
    model           text,
    pricing_type    text,
    amount          numeric NOT NULL CHECK (amount >= 0 AND amount < 'NaN'),
    per             integer NOT NULL CHECK (per > 0),
    currency        text NOT NULL,
    effective_from  date NOT NULL,
    source          text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, price_id)
);

-- One unit of base costs `rate` units of quote from effective_from on.
CREATE TABLE exchange_rates (
    company_id      bigint NOT NULL,
    rate_id         bigint GENERATED ALWAYS AS IDENTITY,
    base            text NOT NULL,
    quote           text NOT NULL,
    rate            numeric NOT NULL CHECK (rate > 0 AND rate < 'NaN'),
    effective_from  date NOT NULL,
    source          text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, rate_id)
);

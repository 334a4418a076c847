-- Rate cards all companies share, who chose which from when, and exchange rates as they were published. Append-only.
-- A card's version replaces the prices of the markets and categories it names; of two of one date the later written
-- holds. amount NULL: not offered (n/a). above: the quantity of a month past which the price holds (volume tiers).
CREATE TABLE rate_cards (
    version_id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    card                   text NOT NULL CHECK (length(card) BETWEEN 1 AND 100 AND card <> 'product'),
    currency               text NOT NULL,
    effective_from         date NOT NULL,
    published_from         date NOT NULL,
    source                 text NOT NULL,
    verified_on            date,
    free_service_messages  integer NOT NULL CHECK (free_service_messages >= 0),
    notes                  text[] NOT NULL DEFAULT '{}',
    checksum               text NOT NULL,
    created_at             timestamptz NOT NULL,
    UNIQUE (card, checksum)
);

CREATE TABLE rate_card_prices (
    card_price_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version_id     bigint NOT NULL REFERENCES rate_cards,
    market         text NOT NULL,
    category       text NOT NULL,
    above          bigint NOT NULL CHECK (above >= 0),
    amount         numeric CHECK (amount >= 0 AND amount < 'NaN'),
    UNIQUE (version_id, market, category, above)
);

-- Which card prices an account (NULL: the company's other accounts) from a local day on; 'product' is the company's
-- own prices. Before an account's first choice whatsapp_accounts.rate_card holds, unless that is 'product' too.
CREATE TABLE rate_card_choices (
    company_id           bigint NOT NULL,
    choice_id            bigint GENERATED ALWAYS AS IDENTITY,
    account_id           bigint,
    card                 text NOT NULL,
    unit_price_rounding  text NOT NULL DEFAULT 'exact' CHECK (unit_price_rounding IN ('exact', 'cents_down')),
    effective_from       date NOT NULL,
    created_at           timestamptz NOT NULL,
    PRIMARY KEY (company_id, choice_id)
);

-- As a central bank published them; each company's exchange_rates get them from the day they hold for it.
CREATE TABLE published_rates (
    source        text NOT NULL,
    base          text NOT NULL,
    quote         text NOT NULL,
    published_at  timestamptz NOT NULL,
    rate          numeric NOT NULL CHECK (rate > 0 AND rate < 'NaN'),
    fetched_at    timestamptz NOT NULL,
    PRIMARY KEY (source, base, quote, published_at)
);

ALTER TABLE rate_card_choices ENABLE ROW LEVEL SECURITY;
ALTER TABLE rate_card_choices FORCE ROW LEVEL SECURITY;
CREATE POLICY company ON rate_card_choices TO secretaria_door
    USING (company_id = nullif(current_setting('app.company_id', true), '')::bigint)
    WITH CHECK (company_id = nullif(current_setting('app.company_id', true), '')::bigint);
CREATE POLICY operator_reads ON rate_card_choices FOR SELECT TO secretaria_operator USING (true);
CREATE POLICY operator_adds ON rate_card_choices FOR INSERT TO secretaria_operator WITH CHECK (true);
CREATE POLICY operator_removes_demo ON rate_card_choices FOR DELETE TO secretaria_operator
    USING (company_id IN (SELECT c.company_id FROM companies c WHERE c.demo));
CREATE POLICY ingest ON rate_card_choices FOR SELECT TO secretaria_ingest USING (true);

GRANT SELECT ON rate_cards, rate_card_prices, rate_card_choices, published_rates
    TO secretaria_door, secretaria_operator, secretaria_ingest;
GRANT INSERT ON rate_cards, rate_card_prices, rate_card_choices, published_rates TO secretaria_operator;
GRANT DELETE ON rate_card_choices TO secretaria_operator;

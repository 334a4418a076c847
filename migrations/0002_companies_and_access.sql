-- Companies, who may act for them, and the look-up that knows no company yet.
-- company_id 0 is the operator's own scope (operator users, operator keys).

CREATE TABLE companies (
    company_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    status      text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    currency    text NOT NULL DEFAULT 'BRL' CHECK (currency IN ('BRL', 'USD')),
    demo        boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Locked first by every write to a company's usage, prices, plan or reservations.
-- version moves with every such write; settings_version moves when zone, prices or status change.
CREATE TABLE company_heads (
    company_id        bigint PRIMARY KEY,
    version           bigint NOT NULL DEFAULT 0,
    settings_version  bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Dated zones: a zone holds from the local midnight that begins effective_from; the first covers all earlier days.
CREATE TABLE company_timezones (
    company_id      bigint NOT NULL,
    effective_from  date NOT NULL,
    timezone        text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, effective_from)
);

CREATE TABLE users (
    company_id     bigint NOT NULL,
    user_id        bigint GENERATED ALWAYS AS IDENTITY,
    email          text NOT NULL,
    role           text NOT NULL CHECK (role IN ('operator', 'member')),
    password_hash  text NOT NULL,
    locale         text NOT NULL DEFAULT 'pt-BR',
    disabled_at    timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, user_id),
    UNIQUE (company_id, email),
    CHECK ((role = 'operator') = (company_id = 0))
);

-- Panel sessions and panel tokens. Only the SHA-256 of the secret is kept.
CREATE TABLE sessions (
    company_id   bigint NOT NULL,
    session_id   text NOT NULL,
    user_id      bigint NOT NULL,
    secret_hash  bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (company_id, session_id)
);

CREATE TABLE api_keys (
    company_id    bigint NOT NULL,
    key_id        text NOT NULL,
    name          text NOT NULL DEFAULT '',
    secret_hash   bytea NOT NULL,
    scopes        text[] NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    revoked_at    timestamptz,
    PRIMARY KEY (company_id, key_id)
);

-- Answers "whose is this?" for what arrives without a company: a key id, a session id, the hash of an e-mail.
-- No secrets. A door reads only the entry whose key it names.
CREATE TABLE directory (
    kind        text NOT NULL,
    key         text NOT NULL,
    company_id  bigint NOT NULL,
    id          text NOT NULL,
    PRIMARY KEY (kind, key)
);

-- Failed logins per account and per address, so that the limit holds whatever Valkey does.
CREATE TABLE login_failures (
    subject        text NOT NULL,
    window_start   timestamptz NOT NULL,
    failures       integer NOT NULL DEFAULT 1,
    PRIMARY KEY (subject, window_start)
);

CREATE TABLE audit_log (
    company_id  bigint NOT NULL,
    audit_id    bigint GENERATED ALWAYS AS IDENTITY,
    at          timestamptz NOT NULL DEFAULT now(),
    actor       text NOT NULL,
    action      text NOT NULL,
    subject     text NOT NULL,
    detail      jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (company_id, audit_id)
);

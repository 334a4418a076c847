-- Who a company is on paper: the registered name and the CNPJ (14 characters, digits or since 2026 letters as well).
ALTER TABLE companies
    ADD COLUMN legal_name text CHECK (length(legal_name) BETWEEN 1 AND 200),
    ADD COLUMN tax_id     text CHECK (tax_id ~ '^[0-9A-Z]{12}[0-9]{2}$');

-- The currency can be changed until the company's first usage; the service looks for it under the head's lock.
GRANT UPDATE (legal_name, tax_id, currency) ON companies TO secretaria_operator;

-- The audit log of all companies, newest first.
CREATE INDEX audit_log_newest ON audit_log (audit_id);

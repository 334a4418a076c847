-- What was sent and has not been reported delivered: until then its cost is an estimate, and a failure voids it.
CREATE INDEX messages_awaiting_delivery ON messages (company_id, account_id, day)
    WHERE messages = 1 AND status_rank = 1 AND direction = 'outbound';

-- What the support calls and repeated POSTs are read by.

CREATE INDEX support_interactions_latest ON support_interactions (supplier_id, created_at DESC, id DESC);

-- By age only for the nightly sweep: block ranges, as the rows come in order of age.
CREATE INDEX idempotency_keys_age ON idempotency_keys USING brin (created_at);

-- Outside a transaction: providers name a message by its Message-ID alone, which holds the row's id.

DROP INDEX CONCURRENTLY IF EXISTS outbox_id;
CREATE INDEX CONCURRENTLY outbox_id ON outbox (id);

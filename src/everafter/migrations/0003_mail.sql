-- The outbox's further indexes, and the switch that holds all mail back.

-- One address gets one copy of an intervention, however many contacts share it.
CREATE UNIQUE INDEX outbox_one_copy ON outbox (supplier_id, intervention_id, lower(to_email)) WHERE intervention_id IS NOT NULL;

-- What is due, confirmations before campaigns: a backlog of 200,000 tips must not hold up one booking.
CREATE INDEX outbox_next ON outbox ((topic <> 'transactional'), send_after) WHERE status = 'queued';
CREATE INDEX outbox_expiry ON outbox (expires_at) WHERE status = 'queued';
CREATE INDEX outbox_address ON outbox (lower(to_email)) WHERE status IN ('queued', 'claimed');

CREATE TABLE mail_pause (
  id         integer PRIMARY KEY CHECK (id = 1),   -- a row: no message is begun; none: mail flows
  reason     text NOT NULL,
  paused_at  timestamptz NOT NULL DEFAULT now()
);

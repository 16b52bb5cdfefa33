-- What is said of a message after it was handed over, and whom the mail server refuses.

ALTER TABLE outbox DROP CONSTRAINT IF EXISTS outbox_status_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_status_check CHECK (status IN
  ('queued', 'claimed', 'handing', 'accepted', 'bounced', 'dead', 'in_doubt', 'expired', 'suppressed', 'replayed'));

-- Who says that no mail is to go there. The check stands by itself: Citus takes no column together with its check.
ALTER TABLE suppressions ADD COLUMN IF NOT EXISTS source text NOT NULL DEFAULT 'recipient';
ALTER TABLE suppressions DROP CONSTRAINT IF EXISTS suppressions_source_check;
ALTER TABLE suppressions ADD CONSTRAINT suppressions_source_check CHECK (source IN
  ('recipient', 'mail server', 'bounce', 'complaint', 'provider', 'person'));
UPDATE suppressions SET source = 'mail server' WHERE reason LIKE 'refused: %';

-- Each thing that was said of a message, once: by its content, so that a report read twice counts once.
CREATE TABLE IF NOT EXISTS mail_events (
  supplier_id  uuid NOT NULL,
  outbox_id    uuid NOT NULL,
  id           uuid NOT NULL,                  -- made of what was said, so that it is one row however often it comes
  type         text NOT NULL CHECK (type IN ('bounce', 'soft_bounce', 'delayed', 'complaint', 'delivered')),
  source       text NOT NULL CHECK (source IN ('report', 'provider')),
  code         text,                           -- as of RFC 3463: 5.1.1; null when none was given
  reason       text NOT NULL DEFAULT '',
  at           timestamptz NOT NULL,           -- when it happened, as far as was said
  received_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (supplier_id, id)
);
CREATE INDEX IF NOT EXISTS mail_events_message ON mail_events (supplier_id, outbox_id);
CREATE INDEX IF NOT EXISTS mail_events_recent ON mail_events (received_at);

-- Why nothing, or not everything, can be sent at present: a row while the mail server refuses us, none when it does not.
CREATE TABLE IF NOT EXISTS mail_trouble (
  id       integer PRIMARY KEY CHECK (id = 1),
  reason   text NOT NULL,
  since    timestamptz NOT NULL DEFAULT now(),
  seen_at  timestamptz NOT NULL DEFAULT now()
);

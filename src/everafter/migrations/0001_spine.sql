-- The spine. Big tables carry supplier_id in every key, so that each could be distributed by it (Citus);
-- none has a foreign key checked per row where rows are written by the hundred thousand (docs/decisions/0004).

-- ── who ────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE suppliers (
  id            uuid PRIMARY KEY,
  name          text NOT NULL DEFAULT '',
  email         text,
  vendor_type   text,
  plan          text,
  country       text,          -- ISO 3166-1 alpha-2; null: unknown, the season is then taken as flat
  timezone      text,          -- IANA name; null: UTC
  mrr_minor     bigint CHECK (mrr_minor >= 0),
  client_limit  integer CHECK (client_limit >= 0),
  created_at    timestamptz,   -- when the account began; null: unknown
  consent       boolean NOT NULL DEFAULT true,  -- false: nothing but transactional mail
  traits        jsonb NOT NULL DEFAULT '{}',
  trait_times   jsonb NOT NULL DEFAULT '{}',  -- when each trait was said (see is_newer): the latest word counts, whatever came first
  added_at      timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now()
);

-- A trait's time is a text that compares in order of time ("2026-01-31T09:30:00.000000 <hash of the value>"): the hash decides between
-- two said at the same moment.
-- Immutable, so that they may stand in ON CONFLICT … DO UPDATE of a distributed table.
CREATE FUNCTION is_newer(old_at jsonb, new_at jsonb, trait text, unsaid text DEFAULT '') RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (new_at ->> trait) COLLATE "C" >= coalesce(old_at ->> trait, unsaid) COLLATE "C" AND new_at ? trait;

CREATE FUNCTION merge_newer(old jsonb, old_at jsonb, new jsonb, new_at jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN old || coalesce((SELECT jsonb_object_agg(key, value) FROM jsonb_each(new) WHERE is_newer(old_at, new_at, key)), '{}');

-- ── events ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE events (
  supplier_id  uuid NOT NULL,
  message_id   text NOT NULL,
  type         text NOT NULL,
  occurred_at  timestamptz NOT NULL,
  received_at  timestamptz NOT NULL DEFAULT now(),
  properties   jsonb
) PARTITION BY RANGE (occurred_at);
CREATE INDEX events_supplier_time ON events (supplier_id, occurred_at);
CREATE TABLE events_other PARTITION OF events DEFAULT;

-- A partitioned table cannot keep (supplier, message) unique over all months, so uniqueness stands here.
CREATE TABLE event_ids (
  supplier_id   uuid NOT NULL,
  message_hash  uuid NOT NULL,   -- md5 of the message id: 16 bytes whatever the SDK sends
  PRIMARY KEY (supplier_id, message_hash)
);

-- Stored, and not yet folded into the pulse. Emptied by the folder within about a second.
CREATE TABLE events_pending (
  seq          bigint GENERATED ALWAYS AS IDENTITY,
  supplier_id  uuid NOT NULL,
  type         text NOT NULL,
  occurred_at  timestamptz NOT NULL,
  received_at  timestamptz NOT NULL DEFAULT now(),
  properties   jsonb
);
CREATE INDEX events_pending_seq ON events_pending (seq);

CREATE TABLE event_types (
  type      text PRIMARY KEY,
  events    bigint NOT NULL,
  first_at  timestamptz NOT NULL,
  last_at   timestamptz NOT NULL
);

CREATE TABLE rejects (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  received_at  timestamptz NOT NULL DEFAULT now(),
  source       text NOT NULL,     -- 'http' or the file's name
  code         text NOT NULL,
  reason       text NOT NULL,
  supplier_id  text,
  message_id   text,
  payload      jsonb              -- what came, at most 32 KiB; null when larger
);
CREATE INDEX rejects_supplier ON rejects (supplier_id) WHERE code = 'unknown_supplier';
CREATE INDEX rejects_received ON rejects (received_at);
CREATE INDEX rejects_code ON rejects (code);

-- A month's partition is made beside the table and then attached: CREATE … PARTITION OF locks all of `events` against
-- everyone, and two processes doing so deadlock. This way only events_other is locked, and only one process makes months at a time.
CREATE FUNCTION ensure_event_month(at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  month_start timestamptz := date_trunc('month', at, 'UTC');
  month_end timestamptz := date_trunc('month', date_trunc('month', at, 'UTC') + interval '32 days', 'UTC');
  part text := 'events_' || to_char(month_start AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
  IF to_regclass(part) IS NOT NULL THEN
    RETURN;
  END IF;
  PERFORM pg_advisory_xact_lock(7305004);
  IF to_regclass(part) IS NULL AND NOT EXISTS (
    SELECT FROM events_other WHERE occurred_at >= month_start AND occurred_at < month_end
  ) THEN
    EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL)', part);
    EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, month_start, month_end);
  END IF;
END $$;

-- ── the folded state ───────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE features (
  feature     text PRIMARY KEY,
  feature_id  smallint NOT NULL UNIQUE CHECK (feature_id BETWEEN 0 AND 511)
);

CREATE TABLE clients (
  supplier_id      uuid NOT NULL,
  client_id        text NOT NULL,
  name             text,
  name_at          timestamptz,   -- when the platform said so; the latest word counts
  added_at         timestamptz,   -- first time seen as added
  readded_at       timestamptz,   -- last time seen as added
  wedding_date     date,
  wedding_date_at  timestamptz,   -- when the platform said so; the latest word counts
  last_active_at   timestamptz,
  archived_at      timestamptz,   -- last time; the wedding is over: not a loss
  lost_at          timestamptz,   -- last time
  PRIMARY KEY (supplier_id, client_id)
);

-- What was put to a couple and waits for their answer: a form to complete, a journey's e-mail to open.
CREATE TABLE sent_items (
  supplier_id  uuid NOT NULL,
  kind         text NOT NULL CHECK (kind IN ('form', 'journey_email')),
  item_id      text NOT NULL,
  client_id    text NOT NULL,
  sent_at      timestamptz,
  answered_at  timestamptz,
  PRIMARY KEY (supplier_id, kind, client_id, item_id)
);

CREATE TABLE tickets (
  supplier_id  uuid NOT NULL,
  ticket_id    text NOT NULL,
  subject      text,
  priority     text,
  opened_at    timestamptz,
  last_opened_at  timestamptz,
  resolved_at  timestamptz,   -- last time resolved
  PRIMARY KEY (supplier_id, ticket_id)
);

-- One row per supplier: all that a score needs, exact at any later moment with no history read (everafter/pulse/model.py
-- explains each column; rings are little-endian uint16 slots, docs/decisions/0003).
CREATE TABLE pulse (
  supplier_id               uuid PRIMARY KEY,
  events_total              bigint NOT NULL,
  first_event_at            timestamptz NOT NULL,
  last_event_at             timestamptz NOT NULL,
  account_created_at        timestamptz,
  vendor_type_selected_at   timestamptz,
  completed_wizard_at       timestamptz,
  first_login_at            timestamptz,
  import_clients_started_at timestamptz,
  first_form_at             timestamptz,
  first_invite_at           timestamptz,
  first_journey_at          timestamptz,
  first_automation_at       timestamptz,
  last_login_at             timestamptz,
  login_days                bytea NOT NULL,
  feature_days              bytea NOT NULL,
  feature_uses_w            bytea NOT NULL,
  clients_added             integer NOT NULL,
  clients_total             integer NOT NULL,
  clients_active_d          bytea NOT NULL,
  clients_lost_w            bytea NOT NULL,
  weddings                  integer[] NOT NULL,
  forms_sent_w              bytea NOT NULL,
  forms_answered_w          bytea NOT NULL,
  emails_sent_w             bytea NOT NULL,
  emails_opened_w           bytea NOT NULL,
  tickets_open              integer NOT NULL,
  tickets_w                 bytea NOT NULL,
  payment_failed_at         timestamptz,
  payment_recovered_at      timestamptz,
  payments_failed_w         bytea NOT NULL,
  usage                     jsonb NOT NULL DEFAULT '{}',
  usage_ratio               double precision,   -- used ÷ limit of the fullest resource reported; null: none reported
  subscription              text CHECK (subscription IN ('active', 'paused', 'cancelled')),
  subscription_at           timestamptz,
  plan                      text,
  plan_at                   timestamptz,
  vendor_type               text,
  vendor_type_at            timestamptz,
  folded_at                 timestamptz NOT NULL DEFAULT now()
);

-- ── judgement ──────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE playbook_versions (
  version     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sha256      text NOT NULL UNIQUE,
  source      text NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE runs (
  run_on            date PRIMARY KEY,
  as_of             timestamptz NOT NULL,
  playbook_version  integer NOT NULL,
  replay            boolean NOT NULL DEFAULT false,   -- a past day judged afterwards: nothing is sent
  started_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at       timestamptz,
  summary           jsonb
);

CREATE TABLE run_slices (
  run_on     date NOT NULL,
  last_id    uuid NOT NULL,        -- the last supplier of the slice
  suppliers  integer NOT NULL,
  summary    jsonb NOT NULL,
  PRIMARY KEY (run_on, last_id)
);

CREATE TABLE customer_health (
  id                          uuid NOT NULL DEFAULT gen_random_uuid(),
  supplier_id                 uuid NOT NULL,
  health_score                integer CHECK (health_score BETWEEN 0 AND 100),
  risk_level                  text CHECK (risk_level IN ('healthy', 'at_risk', 'critical')),
  last_login                  timestamptz,
  feature_adoption_score      integer,   -- 0–100; null: unknown
  client_engagement_score     integer,   -- 0–100; null: no clients
  calculated_at               timestamptz NOT NULL DEFAULT now(),
  calculated_on               date NOT NULL,
  score                       double precision NOT NULL,  -- before flooring
  login_points                double precision,           -- null: unknown, left out; the five sum to score
  feature_adoption_points     double precision,
  client_activity_points      double precision,
  form_completion_points      double precision,
  journey_performance_points  double precision,
  coverage                    real NOT NULL,              -- share of the weights that was known, 0–1
  pace                        real NOT NULL,              -- expected activity now against the own peak, (0–1]
  main_reason                 text,
  playbook_version            integer NOT NULL,
  PRIMARY KEY (calculated_on, supplier_id)                -- day first: a day's rows are appended together
);

CREATE TABLE churn_risk (
  supplier_id      uuid NOT NULL,
  calculated_on    date NOT NULL,
  calculated_at    timestamptz NOT NULL,
  risk             double precision NOT NULL CHECK (risk BETWEEN 0 AND 1),
  level            text NOT NULL CHECK (level IN ('low', 'medium', 'high')),
  login            real,   -- contributions of the spec's five signals; they sum to risk; null: unknown
  support_tickets  real,
  feature_usage    real,
  client_churn     real,
  billing          real,
  model_version    text NOT NULL,
  PRIMARY KEY (calculated_on, supplier_id)
);

CREATE TABLE interventions (
  id                uuid NOT NULL,
  supplier_id       uuid NOT NULL,
  trigger           text NOT NULL,
  action            text NOT NULL,
  channel           text NOT NULL CHECK (channel IN ('email', 'task', 'tip', 'call')),
  status            text NOT NULL CHECK (status IN ('decided', 'withheld', 'held_out')),
  reason            text NOT NULL,        -- for decided: what fired it; else: what kept it back
  priority          integer NOT NULL,
  decided_at        timestamptz NOT NULL,
  decided_on        date NOT NULL,
  success_by        date,                 -- until when the trigger's success may happen
  facts             jsonb NOT NULL,       -- the supplier's own numbers at that moment
  playbook_version  integer NOT NULL,
  replay            boolean NOT NULL DEFAULT false,   -- decided for a past day afterwards: nothing was done, so no live day counts it
  PRIMARY KEY (supplier_id, decided_on, trigger)
);
CREATE INDEX interventions_recent ON interventions (decided_on DESC, supplier_id);

-- ── onboarding, milestones, support ────────────────────────────────────────────────────────────────────────────────

CREATE TABLE success_milestones (
  supplier_id     uuid NOT NULL REFERENCES suppliers (id),
  milestone_type  text NOT NULL,
  achieved_at     timestamptz NOT NULL,
  celebrated      boolean NOT NULL DEFAULT false,
  PRIMARY KEY (supplier_id, milestone_type)
);

CREATE TABLE users (
  id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  email          text NOT NULL UNIQUE CHECK (email = lower(email)),
  name           text NOT NULL,
  role           text NOT NULL CHECK (role IN ('admin', 'lead', 'member', 'observer')),
  password_hash  text,           -- null: cannot sign in
  takes_calls    boolean NOT NULL DEFAULT false,
  timezone       text NOT NULL DEFAULT 'UTC',
  work_from      time NOT NULL DEFAULT '09:00',
  work_until     time NOT NULL DEFAULT '17:00',
  work_days      integer[] NOT NULL DEFAULT '{1,2,3,4,5}',   -- ISO weekdays
  created_at     timestamptz NOT NULL DEFAULT now()
);
INSERT INTO users (email, name, role, takes_calls) VALUES ('success@everafter.invalid', 'Success team', 'member', true);

CREATE TABLE support_interactions (
  id           uuid NOT NULL DEFAULT gen_random_uuid(),
  supplier_id  uuid NOT NULL REFERENCES suppliers (id),
  type         text NOT NULL,
  notes        text,
  outcome      text,
  created_at   timestamptz NOT NULL DEFAULT now(),
  starts_at    timestamptz,       -- null: not a call
  ends_at      timestamptz,
  csm_id       uuid REFERENCES users (id),
  topic        text,
  PRIMARY KEY (supplier_id, id)
);

CREATE INDEX support_interactions_latest ON support_interactions (supplier_id, created_at DESC, id DESC);

-- A booked call holds one row for each quarter of an hour it takes, buffer included: the key is what makes a double booking
-- impossible, on one server or many.
CREATE TABLE booked_quarters (
  csm_id          uuid NOT NULL REFERENCES users (id),
  starts_at       timestamptz NOT NULL,
  interaction_id  uuid NOT NULL,
  PRIMARY KEY (csm_id, starts_at)
);

CREATE TABLE tasks (
  supplier_id      uuid NOT NULL,
  id               uuid NOT NULL DEFAULT gen_random_uuid(),
  kind             text NOT NULL,      -- the trigger that asked for it, or 'manual'
  priority         text NOT NULL CHECK (priority IN ('high', 'normal', 'low')),
  title            text NOT NULL,
  reason           text NOT NULL,
  status           text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'done', 'dropped')),
  assignee_id      uuid REFERENCES users (id),
  intervention_id  uuid,
  created_at       timestamptz NOT NULL DEFAULT now(),
  due_at           timestamptz,
  closed_at        timestamptz,
  PRIMARY KEY (supplier_id, id)
);
CREATE INDEX tasks_open ON tasks (supplier_id, kind) WHERE status = 'open';

-- ── mail ───────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE outbox (
  supplier_id      uuid NOT NULL,
  id               uuid NOT NULL,                 -- the intervention's id when there is one: one message a decision
  intervention_id  uuid,
  template         text NOT NULL,
  topic            text NOT NULL,                 -- 'success' may be unsubscribed from; 'transactional' may not
  to_email         text NOT NULL,
  to_name          text NOT NULL DEFAULT '',
  facts            jsonb NOT NULL,
  subject          text,                          -- subject, body_text, body_html: null until rendered for sending
  body_text        text,
  body_html        text,
  status           text NOT NULL DEFAULT 'queued' CHECK (status IN
    ('queued', 'claimed', 'handing', 'accepted', 'dead', 'in_doubt', 'expired', 'suppressed', 'replayed')),
  status_reason    text,
  attempt          integer NOT NULL DEFAULT 0,
  owner            text,                          -- the worker that holds it
  lease_until      timestamptz,
  send_after       timestamptz NOT NULL DEFAULT now(),
  expires_at       timestamptz NOT NULL,
  created_at       timestamptz NOT NULL DEFAULT now(),
  accepted_at      timestamptz,
  smtp_reply       text,
  PRIMARY KEY (supplier_id, id)
);
CREATE INDEX outbox_due ON outbox (send_after) WHERE status IN ('queued', 'claimed', 'handing');
CREATE INDEX outbox_recent ON outbox (created_at DESC);
CREATE INDEX outbox_open ON outbox (status) WHERE status IN ('queued', 'claimed', 'handing', 'in_doubt', 'dead');  -- for the metrics

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

CREATE TABLE suppressions (
  email       text NOT NULL CHECK (email = lower(email)),
  topic       text NOT NULL,       -- '*': everything, as after a hard bounce
  reason      text NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (email, topic)
);

-- ── access ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE sessions (
  token_hash    bytea PRIMARY KEY,
  user_id       uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  csrf_token    text NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now(),
  last_seen_at  timestamptz NOT NULL DEFAULT now(),
  expires_at    timestamptz NOT NULL
);

-- Failed sign-ins, counted by account and by address in windows of a quarter of an hour.
CREATE TABLE sign_in_failures (
  bucket    text PRIMARY KEY,        -- 'account:' and a hash of what was typed, or 'address:' and the network
  failures  integer NOT NULL,
  until     timestamptz NOT NULL     -- the end of the window; later failures begin a new one
);

CREATE TABLE api_keys (
  id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  key_hash      bytea NOT NULL UNIQUE,
  scope         text NOT NULL CHECK (scope IN ('ingest', 'read', 'write', 'coach')),
  name          text NOT NULL DEFAULT '',
  created_at    timestamptz NOT NULL DEFAULT now(),
  last_used_at  timestamptz,
  revoked_at    timestamptz
);

CREATE TABLE idempotency_keys (
  scope         text NOT NULL,      -- the route and the caller
  key           text NOT NULL,
  body_hash     bytea NOT NULL,
  status        integer,            -- null: still in flight
  response      bytea,
  created_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (scope, key)
);

-- By age only for the nightly sweep: block ranges, as the rows come in order of age.
CREATE INDEX idempotency_keys_age ON idempotency_keys USING brin (created_at);

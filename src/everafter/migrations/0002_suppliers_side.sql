-- The suppliers' side: the onboarding path, celebrations, the coach, calls with their calendars, tickets with their clocks,
-- advice and what came of it.

-- ── onboarding and celebrations ────────────────────────────────────────────────────────────────────────────────────

-- Actions of the onboarding path that no event dates (several couples active, a condition of the playbook): when one was first
-- noticed; and what the platform reported by the API. What has an event of its own stands in the pulse with its exact moment, late
-- ones included.
CREATE TABLE onboarding_progress (
  supplier_id  uuid NOT NULL,
  action       text NOT NULL,
  done_at      timestamptz NOT NULL,
  PRIMARY KEY (supplier_id, action)
);

-- `celebrated` says that it was, by either way; each way happens once.
ALTER TABLE success_milestones
  ADD COLUMN recorded_at timestamptz NOT NULL DEFAULT now(),
  ADD COLUMN fresh boolean NOT NULL DEFAULT true,   -- false: noticed by the first to look, perhaps years after; not celebrated
  ADD COLUMN celebrated_in_coach_at timestamptz,
  ADD COLUMN celebrated_by_mail_at timestamptz;

-- ── the coach ──────────────────────────────────────────────────────────────────────────────────────────────────────

-- The latest showing of each tip to a supplier, and the answer. Its place in the week's attention is its row in `interventions`.
CREATE TABLE tips_shown (
  supplier_id      uuid NOT NULL,
  tip_id           text NOT NULL,
  intervention_id  uuid NOT NULL,
  page             text,
  shown_at         timestamptz NOT NULL,
  answer           text CHECK (answer IN ('do', 'later', 'never')),   -- null: none yet
  answered_at      timestamptz,
  snoozed_until    timestamptz,   -- answered 'later': not before then
  snoozed_in       text CHECK (snoozed_in IN ('in', 'off')),   -- answered 'later, after the season': the season it was then
  PRIMARY KEY (supplier_id, tip_id)
);

-- ── advisors' calendars, and what becomes of calls ─────────────────────────────────────────────────────────────────

ALTER TABLE users
  ADD COLUMN buffer_minutes integer NOT NULL DEFAULT 15 CHECK (buffer_minutes BETWEEN 0 AND 120 AND buffer_minutes % 15 = 0),
  ADD COLUMN holidays text;   -- ISO 3166: 'GB', or with a subdivision 'GB-ENG'; null: none are kept

CREATE TABLE days_off (
  user_id  uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  day      date NOT NULL,     -- in the advisor's own time zone
  reason   text NOT NULL DEFAULT '',
  PRIMARY KEY (user_id, day)
);

-- An advisor's own calendar, read now and then; what it says last stands in busy_times until it can be read again.
CREATE TABLE calendar_feeds (
  user_id        uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  url            text NOT NULL,
  allow_private  boolean NOT NULL DEFAULT false,   -- addresses inside the own network may be asked
  etag           text,
  last_modified  text,
  tried_at       timestamptz,
  read_at        timestamptz,     -- last success; null: never
  worked_out_at  timestamptz,     -- when its repeated events were last worked out; they reach 100 days from there
  unread         integer NOT NULL DEFAULT 0,   -- events in it that could not be understood
  failure        text             -- of the last try; null: it went well
);

CREATE TABLE busy_times (
  user_id    uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  starts_at  timestamptz NOT NULL,
  ends_at    timestamptz NOT NULL CHECK (ends_at > starts_at),
  PRIMARY KEY (user_id, starts_at, ends_at)
);

ALTER TABLE support_interactions
  ADD COLUMN sequence integer NOT NULL DEFAULT 0,   -- of the invitation; rises with every change
  ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now(),
  ADD COLUMN cancelled_at timestamptz,
  ADD COLUMN closed_at timestamptz,                 -- when an outcome was recorded
  ADD COLUMN closed_by uuid REFERENCES users (id);

-- ── tickets ────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Every change of state that was told, so that the clocks come out the same in whatever order they arrive.
CREATE TABLE ticket_changes (
  supplier_id  uuid NOT NULL,
  ticket_id    text NOT NULL,
  at           timestamptz NOT NULL,
  state        text NOT NULL CHECK (state IN ('opened', 'replied', 'waiting', 'resumed', 'resolved')),
  PRIMARY KEY (supplier_id, ticket_id, at, state)
);

ALTER TABLE tasks ADD COLUMN ticket_id text;   -- null: the task is about no ticket

-- ── advice, and what came of it ────────────────────────────────────────────────────────────────────────────────────

-- A recommendation that a supplier was told, by which way, and how the dimension it serves stood then and later. What it was by
-- lot not told at the same moment stands here too: the one is compared with the other.
CREATE TABLE advice_given (
  supplier_id    uuid NOT NULL,
  advice_id      text NOT NULL,
  given_on       date NOT NULL,
  channel        text NOT NULL CHECK (channel IN ('coach', 'email', 'dashboard', 'api')),
  vendor_type    text,
  closes         text,               -- the dimension of the score; null: none
  points_before  double precision,   -- null: not known then
  points_max     double precision,   -- what the dimension could have earned then
  told           boolean NOT NULL DEFAULT true,   -- false: held out by lot
  taken_at       timestamptz,        -- when its button was pressed; null: not
  settled_on     date,               -- when it was looked at again; null: not yet
  worked         boolean,            -- null: not settled, or nothing to compare
  PRIMARY KEY (supplier_id, advice_id, given_on)
);
CREATE INDEX advice_unsettled ON advice_given (given_on) WHERE settled_on IS NULL;

-- Of suppliers of one trade who were told something, how many it helped; and of their like who were not.
CREATE TABLE advice_effects (
  advice_id          text NOT NULL,
  vendor_type        text NOT NULL,     -- '': all trades together
  told               integer NOT NULL,
  told_better        integer NOT NULL,
  untold             integer NOT NULL,
  untold_better      integer NOT NULL,
  measured_at        timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (advice_id, vendor_type)
);

-- ── what came of interventions ─────────────────────────────────────────────────────────────────────────────────────

-- The trigger's success came true on that day, within its window; treated and held out alike. Open windows are found by the same
-- index as those of a period that is measured.
ALTER TABLE interventions ADD COLUMN succeeded_on date;

-- ── metrics ────────────────────────────────────────────────────────────────────────────────────────────────────────

-- As what a supplier was judged that day: an average by plan must not credit the new plan with the score of the old.
-- '': not known that day; null: a row from before these columns.
ALTER TABLE customer_health ADD COLUMN vendor_type text, ADD COLUMN plan text;

-- Every leaving, those who came back since too: the pulse holds the latest state only, and the events cannot be asked by type.
CREATE TABLE cancellations (
  supplier_id   uuid NOT NULL,
  cancelled_at  timestamptz NOT NULL,
  PRIMARY KEY (supplier_id, cancelled_at)
);
CREATE INDEX cancellations_at ON cancellations (cancelled_at);

-- Written with the first event and never again, and read by nobody.
ALTER TABLE pulse DROP COLUMN folded_at;

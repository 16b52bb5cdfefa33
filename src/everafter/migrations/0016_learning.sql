-- What churn is learned from, and what was learned.

-- A supplier's signals as of the first run of a month. Distributed by supplier_id. Outcomes are joined when they
-- are read: a supplier that has not cancelled is censored until its window closes, and a cancellation that arrives
-- late counts at the next training.
CREATE TABLE signal_snapshots (
  snapshot_on                date NOT NULL,
  supplier_id             uuid NOT NULL,
  snapshot_at                timestamptz NOT NULL,
  vendor_type             text,
  plan                    text,
  country                 text,
  stage                   text,
  tenure_days             real,
  mrr_minor               bigint,
  churn_evidence          real NOT NULL,   -- the churn risk index of the rule follows from it
  evidence_logins         real,
  evidence_uses           real,
  evidence_billing        real,
  evidence_tickets        real,
  evidence_clients        real,
  inactivity_probability  real,
  health_score            real,
  coverage                real,
  season_index            real,
  client_season           real,
  login_days_28d          integer,
  feature_adoption        real,
  client_activity         real,
  form_completion_rate    real,
  clients_total           integer,
  weddings_365d           integer,
  payment_past_due        boolean,
  PRIMARY KEY (snapshot_on, supplier_id)
);
CREATE INDEX signal_snapshots_of ON signal_snapshots (supplier_id);

-- Months that have snapshots: those of a month are on one day.
CREATE TABLE snapshot_months (
  month        date PRIMARY KEY CHECK (date_trunc('month', month::timestamp) = month::timestamp),
  snapshot_at     timestamptz NOT NULL,
  backfilled   boolean NOT NULL,         -- written from events afterwards, not by a run of that month
  suppliers    integer NOT NULL DEFAULT 0,
  finished_at  timestamptz               -- null while they are being written
);

CREATE TABLE model_trainings (
  trained_as_of  timestamptz PRIMARY KEY,
  started_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at    timestamptz,
  snapshots      integer NOT NULL DEFAULT 0,
  error          text NOT NULL DEFAULT ''
);

CREATE TABLE model_versions (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  trained_as_of  timestamptz NOT NULL,
  kind           text NOT NULL CHECK (kind IN ('index', 'calibrated', 'logistic', 'trees')),
  horizon        integer NOT NULL,                   -- days
  parameters     jsonb,                              -- numbers only; null: nothing that could speak
  metrics        jsonb NOT NULL,
  status         text NOT NULL CHECK (status IN ('candidate', 'promoted', 'retired')),
  promoted_at    timestamptz,                        -- null: it never spoke
  reason         text NOT NULL,
  code_version   text NOT NULL,
  UNIQUE (trained_as_of, horizon, kind)
);
CREATE INDEX model_versions_speaking ON model_versions (horizon, trained_as_of) WHERE promoted_at IS NOT NULL;

-- Null while no probability is shown.
ALTER TABLE churn_risk ADD COLUMN probability_45d real;
ALTER TABLE churn_risk ADD COLUMN probability_90d real;

-- The season as measured from the peers, and the evidence behind the churn risk.

-- Feature uses by day (activity/model.py). Null: no event since this migration; read from feature_uses_w.
ALTER TABLE supplier_activity ADD COLUMN feature_uses_d bytea;

-- One row per day and group, and one per day and hemisphere (vendor_type ''), which carries the level of its groups.
CREATE TABLE season_index (
  day               date NOT NULL,
  hemisphere        text NOT NULL CHECK (hemisphere IN ('north', 'south', 'unknown')),
  vendor_type       text NOT NULL,               -- '': the hemisphere
  season_index      double precision,            -- 0–1; 0: no logins arrived that day; null: a hemisphere's row
  login_activity    double precision,            -- of a group: share of its usual; of a hemisphere: null if not measured
  login_state       double precision NOT NULL,   -- logarithm; of a group: against its hemisphere
  login_precision   double precision NOT NULL,   -- 1 ÷ variance of login_state
  login_seen        double precision NOT NULL,   -- login days of live suppliers
  login_expected    double precision NOT NULL,   -- as expected the day before
  login_usual       double precision,            -- mean own rate; null: a hemisphere's row
  login_counted     double precision,            -- login days of all suppliers; null: a group's row
  login_stopped     boolean NOT NULL,            -- the logins of that day did not arrive
  use_activity      double precision,
  use_state         double precision NOT NULL,
  use_precision     double precision NOT NULL,
  use_seen          double precision NOT NULL,
  use_expected      double precision NOT NULL,
  use_usual         double precision,
  use_counted       double precision,
  use_stopped       boolean NOT NULL,
  PRIMARY KEY (day, hemisphere, vendor_type)
);

-- What is learned of a vendor type each day (seasonality/model.py, Norms).
CREATE TABLE vendor_type_norms (
  day               date NOT NULL,
  vendor_type       text NOT NULL,
  gaps              double precision NOT NULL,   -- gaps without logins that ended that day
  rare_gaps         double precision NOT NULL,   -- of these, with a probability below 0.2
  rarity            double precision NOT NULL,   -- sum of ln(0.2 ÷ probability) over those
  login_burst       double precision NOT NULL,
  login_drift       double precision NOT NULL,
  use_burst         double precision NOT NULL,
  use_drift         double precision NOT NULL,
  inactivity_share  double precision NOT NULL,
  inactivity_power  double precision NOT NULL,
  PRIMARY KEY (day, vendor_type)
);

ALTER TABLE churn_risk
  ADD COLUMN base                    real,   -- the index of a supplier without evidence; it and the contributions sum to risk
  ADD COLUMN evidence                real,   -- decline evidence, weighted, with billing, tickets and clients
  ADD COLUMN evidence_logins         real,   -- of the logins alone; null: never sent
  ADD COLUMN evidence_uses           real,
  ADD COLUMN inactivity_probability  real;

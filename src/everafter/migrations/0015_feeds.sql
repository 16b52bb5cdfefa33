-- Whether the platform's events keep arriving, by type.
CREATE TABLE event_hours (
  hour           timestamptz NOT NULL,   -- its first moment
  type           text NOT NULL,          -- canonical; 'other': all other types together
  events         bigint NOT NULL,
  first_seen_at  timestamptz NOT NULL DEFAULT now(),   -- when the first of these events was received
  PRIMARY KEY (hour, type)
);
COMMENT ON TABLE event_hours IS 'events by type and hour of occurred_at, kept by the fold for the 40 days before the newest';

CREATE TABLE event_hours_fill (
  id         integer PRIMARY KEY CHECK (id = 1),
  filled_at  timestamptz
);
COMMENT ON COLUMN event_hours_fill.filled_at IS 'when event_hours was filled from the events stored before; null: the next run does it';
INSERT INTO event_hours_fill (id, filled_at)
SELECT 1, CASE WHEN count(*) = 0 THEN now() END
FROM event_types;

CREATE TABLE feed_outages (
  type        text NOT NULL,          -- canonical; '*': events of all types
  kind        text NOT NULL CHECK (kind IN ('stopped', 'halved')),
  since       timestamptz NOT NULL,   -- the last good moment
  noticed_at  timestamptz NOT NULL,   -- the moment scored by the run that noticed it
  ended_at    timestamptz,            -- when the events returned; null: they have not
  expected    double precision NOT NULL,   -- events expected a day
  seen        double precision NOT NULL,   -- events seen a day since then
  PRIMARY KEY (type, kind, since)
);

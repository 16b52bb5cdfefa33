-- As in 0001, but for the empty list after SELECT, which Citus refuses.
CREATE OR REPLACE FUNCTION ensure_event_month(at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
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
    SELECT 1 FROM events_other WHERE occurred_at >= month_start AND occurred_at < month_end
  ) THEN
    EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL)', part);
    EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, month_start, month_end);
  END IF;
END $$;

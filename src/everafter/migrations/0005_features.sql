-- Outside a transaction: an index on a table that holds rows. Each statement may be run again.

-- Slots in feature_days are for features that a playbook names; what else a supplier uses stands in its own row (pulse/model.py).
-- Where all 512 slots were taken, by whatever names came first, some uses were never kept: there the stored events are asked once
-- for everybody, when a process that follows a playbook starts next.
DO $$
BEGIN
  PERFORM set_config('lock_timeout', '5s', true);
  IF EXISTS (
    SELECT 1 FROM pg_attribute WHERE attrelid = 'pulse'::regclass AND attname = 'features_beyond' AND NOT attisdropped
  ) THEN
    RETURN;
  END IF;
  ALTER TABLE pulse ADD COLUMN other_features jsonb NOT NULL DEFAULT '{}';
  ALTER TABLE pulse ADD COLUMN last_feature_at timestamptz;
  EXECUTE format(
    'ALTER TABLE pulse ADD COLUMN features_beyond boolean NOT NULL DEFAULT %L', (SELECT count(*) >= 512 FROM features)
  );
  ALTER TABLE pulse ALTER COLUMN features_beyond SET DEFAULT false;
END $$;

DROP INDEX CONCURRENTLY IF EXISTS pulse_features_beyond;
CREATE INDEX CONCURRENTLY pulse_features_beyond ON pulse (supplier_id) WHERE features_beyond;

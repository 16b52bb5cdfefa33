-- The platform's own ids. A supplier's UUID is a function of the text (everafter/core/ids.py), so the primary key keeps the
-- text unique as well: two rows with one text cannot be. A unique constraint of its own could not be had where suppliers are
-- distributed by id.
ALTER TABLE suppliers ADD COLUMN IF NOT EXISTS external_id text;
COMMENT ON COLUMN suppliers.external_id IS
  'the platform''s own id, as it came; null: the platform names this supplier by its UUID';

-- Of an event that waits for its supplier: how the platform named it.
ALTER TABLE rejects ADD COLUMN IF NOT EXISTS external_id text;

-- When each trait of a supplier was said: the latest word counts, whatever the order of arrival. Values are texts that compare in
-- order of time ("2026-01-31T09:30:00.000000 <hash of the value>"): the hash decides between two said at the same moment.
ALTER TABLE suppliers ADD COLUMN trait_times jsonb NOT NULL DEFAULT '{}';

-- Immutable, so that they may stand in ON CONFLICT … DO UPDATE of a distributed table.
CREATE FUNCTION is_newer(old_at jsonb, new_at jsonb, trait text, unsaid text DEFAULT '') RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (new_at ->> trait) COLLATE "C" >= coalesce(old_at ->> trait, unsaid) COLLATE "C" AND new_at ? trait;

CREATE FUNCTION merge_newer(old jsonb, old_at jsonb, new jsonb, new_at jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN old || coalesce((SELECT jsonb_object_agg(key, value) FROM jsonb_each(new) WHERE is_newer(old_at, new_at, key)), '{}');

-- The event lists of the API page by time.
CREATE INDEX rejects_received ON rejects (received_at);

-- Why events of a CSM's calendar could not be read whole, the commonest reason first; beside their number, `unread`.
ALTER TABLE calendar_feeds ADD COLUMN IF NOT EXISTS unread_reasons text[] NOT NULL DEFAULT '{}';

-- Calendars are read by other rules from here on: what is known of them is worked out again at the next look.
UPDATE calendar_feeds SET etag = NULL, last_modified = NULL, worked_out_at = NULL, tried_at = NULL;

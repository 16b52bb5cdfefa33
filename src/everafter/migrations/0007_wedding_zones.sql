-- A platform may give a wedding's day as a moment ("2027-06-19T22:00:00Z" for 20 June in Berlin). The moment is kept, so
-- that the day is found again when the supplier's time zone is said later, or changes.
ALTER TABLE clients ADD COLUMN IF NOT EXISTS wedding_moment timestamptz;
COMMENT ON COLUMN clients.wedding_moment IS
  'the moment that wedding_date was found from; null: the platform gave the day itself';

-- Suppliers whose time zone has changed since the folder last looked.
CREATE TABLE IF NOT EXISTS zone_changes (
  supplier_id  uuid PRIMARY KEY
);

-- Where 0001 speaks of a hash of the value: keys kept before this version end in one (hexadecimal).
COMMENT ON FUNCTION is_newer IS
  'whether a trait''s new time is at least the old one: texts of the moment spoken of, then of the arrival';

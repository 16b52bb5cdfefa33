-- When each word was said, so that the latest counts whatever the order of arrival.
ALTER TABLE clients ADD COLUMN name_at timestamptz;
ALTER TABLE tickets ADD COLUMN last_opened_at timestamptz;
ALTER TABLE pulse
  ADD COLUMN plan text,
  ADD COLUMN plan_at timestamptz,
  ADD COLUMN vendor_type text,
  ADD COLUMN vendor_type_at timestamptz;

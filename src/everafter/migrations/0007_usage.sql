ALTER TABLE pulse ADD COLUMN usage_ratio double precision;   -- used ÷ limit of the fullest resource reported; null: none reported

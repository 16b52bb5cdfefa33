ALTER TABLE pulse ADD COLUMN usage_ratio double precision;   -- used ÷ limit of the fullest resource reported; null: none reported
DROP INDEX interventions_acted;   -- the primary key, in slice order, serves the run's read of the ledger

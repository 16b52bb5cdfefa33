-- Outside a transaction: the index of open windows leaves out skipped interventions, whose status has a new name.

DROP INDEX CONCURRENTLY IF EXISTS interventions_windows;
CREATE INDEX CONCURRENTLY interventions_windows ON interventions (success_by, supplier_id) WHERE status <> 'skipped';

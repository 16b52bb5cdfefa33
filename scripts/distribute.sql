-- Distributes Everafter's tables over a Citus cluster (docs/operations.md, "Several machines and Citus").
-- Run it on the coordinator after each `everafter migrate`. Tables that are already distributed stay as they are.
--   psql -v ON_ERROR_STOP=1 -f scripts/distribute.sql "$EVERAFTER_DATABASE_URL"

BEGIN;
SET LOCAL search_path = everafter, public;
SET LOCAL citus.multi_shard_modify_mode = 'sequential';

-- A foreign key needs both of its tables to be distributed.
ALTER TABLE success_milestones DROP CONSTRAINT success_milestones_supplier_id_fkey;
ALTER TABLE support_interactions DROP CONSTRAINT support_interactions_supplier_id_fkey;
ALTER TABLE support_interactions DROP CONSTRAINT support_interactions_csm_id_fkey;
ALTER TABLE support_interactions DROP CONSTRAINT support_interactions_closed_by_fkey;
ALTER TABLE tasks DROP CONSTRAINT tasks_assignee_id_fkey;

-- Small tables that are joined with distributed ones: copied to every machine.
SELECT create_reference_table(name::regclass) FROM unnest('{
  users, mail_pause, suppressions
}'::text[]) AS name
WHERE NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = name::regclass AND repmodel = 't');

-- All rows of a supplier in these tables are on one machine. Other tables stay on the coordinator.
SELECT create_distributed_table('suppliers', 'id')
WHERE NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = 'suppliers'::regclass AND partmethod = 'h');

SELECT create_distributed_table(name::regclass, 'supplier_id', colocate_with => 'suppliers') FROM unnest('{
  events, event_ids, events_pending, zone_changes,
  supplier_activity, clients, sent_items, tickets, ticket_changes, cancellations,
  customer_health, churn_risk, interventions, outbox, mail_events, tasks,
  success_milestones, onboarding_progress, tip_impressions, recommendation_impressions, support_interactions,
  signal_snapshots
}'::text[]) AS name
WHERE NOT EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = name::regclass AND partmethod = 'h');

ALTER TABLE success_milestones ADD CONSTRAINT success_milestones_supplier_id_fkey FOREIGN KEY (supplier_id) REFERENCES suppliers (id);
ALTER TABLE support_interactions
  ADD CONSTRAINT support_interactions_supplier_id_fkey FOREIGN KEY (supplier_id) REFERENCES suppliers (id);
ALTER TABLE support_interactions ADD CONSTRAINT support_interactions_csm_id_fkey FOREIGN KEY (csm_id) REFERENCES users (id);
ALTER TABLE support_interactions ADD CONSTRAINT support_interactions_closed_by_fkey FOREIGN KEY (closed_by) REFERENCES users (id);
ALTER TABLE tasks ADD CONSTRAINT tasks_assignee_id_fkey FOREIGN KEY (assignee_id) REFERENCES users (id);
COMMIT;

-- Outside a transaction: tables that hold rows already get their indexes while others write into them. Each statement may be run
-- again: a build that was broken off leaves an invalid index, which goes before the next try.

DROP INDEX CONCURRENTLY IF EXISTS tickets_open;
CREATE INDEX CONCURRENTLY tickets_open ON tickets (supplier_id, ticket_id)
  WHERE last_opened_at IS NOT NULL AND coalesce(resolved_at < last_opened_at, true);

DROP INDEX CONCURRENTLY IF EXISTS tickets_latest;
CREATE INDEX CONCURRENTLY tickets_latest ON tickets (opened_at DESC, supplier_id, ticket_id) WHERE opened_at IS NOT NULL;

DROP INDEX CONCURRENTLY IF EXISTS tickets_resolved;
CREATE INDEX CONCURRENTLY tickets_resolved ON tickets (resolved_at);

-- A ticket that runs late has one open task, whichever of its clocks it is.
DROP INDEX CONCURRENTLY IF EXISTS tasks_ticket;
CREATE UNIQUE INDEX CONCURRENTLY tasks_ticket ON tasks (supplier_id, ticket_id) WHERE kind = 'ticket_overdue' AND status = 'open';

-- Calls that are still to be held, or to be told how they went.
DROP INDEX CONCURRENTLY IF EXISTS support_interactions_calls;
CREATE INDEX CONCURRENTLY support_interactions_calls ON support_interactions (starts_at) WHERE starts_at IS NOT NULL AND outcome IS NULL;

DROP INDEX CONCURRENTLY IF EXISTS interventions_windows;
CREATE INDEX CONCURRENTLY interventions_windows ON interventions (success_by, supplier_id) WHERE status <> 'withheld';

-- Of tickets told before there was this table: what their row still knows.
INSERT INTO ticket_changes (supplier_id, ticket_id, at, state)
SELECT supplier_id, ticket_id, at, state
FROM tickets CROSS JOIN LATERAL (VALUES (opened_at, 'opened'), (last_opened_at, 'opened'), (resolved_at, 'resolved')) AS told (at, state)
WHERE at IS NOT NULL
ON CONFLICT DO NOTHING;

-- Leavings told before there was this table.
INSERT INTO cancellations SELECT DISTINCT supplier_id, occurred_at FROM events WHERE type = 'subscription_cancelled'
ON CONFLICT DO NOTHING;

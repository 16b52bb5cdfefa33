-- Everything gets the field's name: see the table of old and new names in CHANGELOG.md. Only names and stored words change.

-- ── tables and columns ─────────────────────────────────────────────────────────────────────────────────────────────

ALTER TABLE pulse RENAME TO supplier_activity;
ALTER INDEX pulse_pkey RENAME TO supplier_activity_pkey;
ALTER INDEX pulse_features_beyond RENAME TO supplier_activity_features_beyond;
ALTER TABLE supplier_activity DROP CONSTRAINT pulse_subscription_check;
ALTER TABLE supplier_activity ADD CONSTRAINT supplier_activity_subscription_check
  CHECK (subscription IN ('active', 'paused', 'cancelled'));

ALTER TABLE customer_health RENAME COLUMN pace TO season_index;

ALTER TABLE interventions RENAME COLUMN decided_at TO evaluated_at;
ALTER TABLE interventions RENAME COLUMN decided_on TO evaluated_on;

ALTER TABLE success_milestones RENAME COLUMN celebrated_by_mail_at TO celebrated_by_email_at;

ALTER TABLE advice_given RENAME TO recommendation_impressions;
ALTER TABLE recommendation_impressions RENAME COLUMN advice_id TO recommendation_id;
ALTER TABLE recommendation_impressions RENAME COLUMN given_on TO shown_on;
ALTER TABLE recommendation_impressions RENAME COLUMN told TO treated;
ALTER TABLE recommendation_impressions RENAME COLUMN taken_at TO clicked_at;
ALTER TABLE recommendation_impressions RENAME COLUMN settled_on TO measured_on;
ALTER TABLE recommendation_impressions RENAME COLUMN worked TO improved;
ALTER TABLE recommendation_impressions RENAME COLUMN closes TO dimension;
ALTER INDEX advice_given_pkey RENAME TO recommendation_impressions_pkey;
ALTER TABLE recommendation_impressions DROP CONSTRAINT advice_given_channel_check;
ALTER TABLE recommendation_impressions ADD CONSTRAINT recommendation_impressions_channel_check
  CHECK (channel IN ('coach', 'email', 'dashboard', 'api'));
ALTER INDEX advice_unsettled RENAME TO recommendation_impressions_unmeasured;

ALTER TABLE advice_effects RENAME TO recommendation_effects;
ALTER TABLE recommendation_effects RENAME COLUMN advice_id TO recommendation_id;
ALTER TABLE recommendation_effects RENAME COLUMN told TO treated;
ALTER TABLE recommendation_effects RENAME COLUMN told_better TO treated_improved;
ALTER TABLE recommendation_effects RENAME COLUMN untold TO control;
ALTER TABLE recommendation_effects RENAME COLUMN untold_better TO control_improved;
ALTER INDEX advice_effects_pkey RENAME TO recommendation_effects_pkey;

ALTER TABLE tips_shown RENAME TO tip_impressions;
ALTER TABLE tip_impressions RENAME COLUMN answer TO response;
ALTER TABLE tip_impressions RENAME COLUMN answered_at TO responded_at;
ALTER INDEX tips_shown_pkey RENAME TO tip_impressions_pkey;
ALTER TABLE tip_impressions DROP CONSTRAINT tips_shown_snoozed_in_check;
ALTER TABLE tip_impressions ADD CONSTRAINT tip_impressions_snoozed_in_check
  CHECK (snoozed_in IN ('in', 'off'));
ALTER TABLE tip_impressions DROP CONSTRAINT tips_shown_answer_check;
UPDATE tip_impressions
SET response = CASE response WHEN 'do' THEN 'completed' WHEN 'later' THEN 'snoozed' WHEN 'never' THEN 'dismissed' END
WHERE response IS NOT NULL;
ALTER TABLE tip_impressions ADD CONSTRAINT tip_impressions_response_check
  CHECK (response IN ('completed', 'snoozed', 'dismissed'));

-- From PostgreSQL 18 on, NOT NULL constraints are named after the table and the column. Citus cannot
-- rename constraints of distributed tables, so a cluster keeps the old names, which nothing uses.
DO $$
DECLARE
  c record;
BEGIN
  IF to_regclass('pg_dist_partition') IS NOT NULL THEN
    RETURN;
  END IF;
  FOR c IN
    SELECT
      con.conrelid::regclass AS relation,
      con.conname AS old_name,
      format('%s_%s_not_null', rel.relname, att.attname) AS new_name
    FROM pg_constraint con
    JOIN pg_class rel ON rel.oid = con.conrelid
    JOIN pg_attribute att ON att.attrelid = con.conrelid AND att.attnum = con.conkey[1]
    WHERE con.contype = 'n'
      AND con.conrelid IN (
        'supplier_activity'::regclass, 'customer_health'::regclass, 'interventions'::regclass,
        'recommendation_impressions'::regclass, 'recommendation_effects'::regclass, 'tip_impressions'::regclass
      )
      AND con.conname <> format('%s_%s_not_null', rel.relname, att.attname)
  LOOP
    EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', c.relation, c.old_name, c.new_name);
  END LOOP;
END
$$;

COMMENT ON COLUMN sign_in_failures.bucket IS
  'address:network, pair:account:network, account:account, interval:account or browser:account:token; accounts and tokens as hashes';

-- ── stored words ───────────────────────────────────────────────────────────────────────────────────────────────────

ALTER TABLE interventions DROP CONSTRAINT interventions_status_check;
UPDATE interventions
SET status = CASE status WHEN 'decided' THEN 'triggered' WHEN 'withheld' THEN 'skipped' WHEN 'held_out' THEN 'holdout' ELSE status END,
    reason = CASE reason WHEN 'held_out' THEN 'holdout' WHEN 'budget' THEN 'frequency_cap' ELSE reason END,
    action = CASE action WHEN 'send_quiet_check' THEN 'send_inactivity_check' ELSE action END;
ALTER TABLE interventions ADD CONSTRAINT interventions_status_check
  CHECK (status IN ('triggered', 'skipped', 'holdout'));

ALTER TABLE tasks DROP CONSTRAINT tasks_status_check;
UPDATE tasks SET status = 'dismissed' WHERE status = 'dropped';
UPDATE tasks SET kind = 'early_inactivity' WHERE kind = 'early_silence';
ALTER TABLE tasks ADD CONSTRAINT tasks_status_check CHECK (status IN ('open', 'done', 'dismissed'));

UPDATE outbox SET template = 'inactivity_check' WHERE template = 'quiet_check';

-- The numbers kept with an intervention and with a message go by the signals' names. Citus refuses
-- jsonb_build_object here: it is not immutable.
UPDATE interventions
SET facts = facts - '{quiet_days,silence_chance,pace}'::text[]
  || CASE WHEN facts ? 'quiet_days' THEN jsonb_set('{}', '{days_inactive}', facts -> 'quiet_days') ELSE '{}' END
  || CASE WHEN facts ? 'silence_chance' THEN jsonb_set('{}', '{inactivity_probability}', facts -> 'silence_chance') ELSE '{}' END
  || CASE WHEN facts ? 'pace' THEN jsonb_set('{}', '{season_index}', facts -> 'pace') ELSE '{}' END
WHERE jsonb_typeof(facts) = 'object' AND facts ?| '{quiet_days,silence_chance,pace}';
UPDATE outbox
SET facts = facts - '{quiet_days,silence_chance,pace}'::text[]
  || CASE WHEN facts ? 'quiet_days' THEN jsonb_set('{}', '{days_inactive}', facts -> 'quiet_days') ELSE '{}' END
  || CASE WHEN facts ? 'silence_chance' THEN jsonb_set('{}', '{inactivity_probability}', facts -> 'silence_chance') ELSE '{}' END
  || CASE WHEN facts ? 'pace' THEN jsonb_set('{}', '{season_index}', facts -> 'pace') ELSE '{}' END
WHERE jsonb_typeof(facts) = 'object' AND facts ?| '{quiet_days,silence_chance,pace}';

-- The figures of runs, whole and by slice.
UPDATE run_slices
SET summary = summary - '{decided,withheld,held_out}'::text[] || jsonb_build_object(
  'triggered', summary -> 'decided', 'skipped', summary -> 'withheld', 'holdout', summary -> 'held_out')
WHERE jsonb_typeof(summary) = 'object' AND summary ? 'decided';
UPDATE runs
SET summary = jsonb_set(summary, '{interventions}', (summary -> 'interventions') - '{decided,withheld,held_out}'::text[]
  || jsonb_build_object(
    'triggered', summary #> '{interventions,decided}',
    'skipped', summary #> '{interventions,withheld}',
    'holdout', summary #> '{interventions,held_out}'))
WHERE summary #> '{interventions,decided}' IS NOT NULL;
UPDATE run_slices
SET summary = jsonb_set(
  summary,
  '{skipped}',
  (summary -> 'skipped') - 'budget'
    || jsonb_build_object('frequency_cap', summary #> '{skipped,budget}')
)
WHERE summary -> 'skipped' ? 'budget';
UPDATE runs
SET summary = jsonb_set(
  summary,
  '{interventions,skipped}',
  (summary #> '{interventions,skipped}') - 'budget'
    || jsonb_build_object('frequency_cap', summary #> '{interventions,skipped,budget}')
)
WHERE summary #> '{interventions,skipped}' ? 'budget';

-- The names of the playbook that ships, in what was kept under them. A row stays under its old name
-- where the platform had a row under the new one.
UPDATE success_milestones m SET milestone_type = 'five_active_clients'
WHERE milestone_type = 'five_active_couples'
  AND NOT EXISTS (
    SELECT 1 FROM success_milestones n
    WHERE n.supplier_id = m.supplier_id AND n.milestone_type = 'five_active_clients'
  );
UPDATE outbox SET template = 'ten_clients' WHERE template = 'ten_couples';
UPDATE outbox SET template = 'call_for_csm' WHERE template = 'call_for_advisor';
DO $$
DECLARE n record;
BEGIN
  FOR n IN
    SELECT old_name, new_name
    FROM (VALUES
      ('early_silence', 'early_inactivity'),
      ('celebrate_five_active_couples', 'celebrate_five_active_clients')
    ) names (old_name, new_name)
  LOOP
    UPDATE interventions i SET trigger = n.new_name
    WHERE trigger = n.old_name
      AND NOT EXISTS (
        SELECT 1 FROM interventions o
        WHERE o.supplier_id = i.supplier_id
          AND o.evaluated_on = i.evaluated_on
          AND o.trigger = n.new_name
      );
  END LOOP;
  FOR n IN
    SELECT old_name, new_name
    FROM (VALUES
      ('import_couples', 'import_clients'),
      ('invite_couples', 'invite_clients'),
      ('wake_quiet_couples', 'wake_inactive_clients'),
      ('ask_those_who_left', 'ask_churned'),
      ('tell_us_what_is_in_the_way', 'ask_what_is_in_the_way'),
      ('use_the_quiet_months', 'use_the_off_season'),
      ('wedding_near_silent', 'wedding_near_inactive'),
      ('portal_silent', 'portal_inactive')
    ) names (old_name, new_name)
  LOOP
    UPDATE recommendation_impressions i SET recommendation_id = n.new_name
    WHERE recommendation_id = n.old_name
      AND NOT EXISTS (
        SELECT 1 FROM recommendation_impressions o
        WHERE o.supplier_id = i.supplier_id
          AND o.shown_on = i.shown_on
          AND o.recommendation_id = n.new_name
      );
    UPDATE recommendation_effects e SET recommendation_id = n.new_name
    WHERE recommendation_id = n.old_name
      AND NOT EXISTS (
        SELECT 1 FROM recommendation_effects o
        WHERE o.vendor_type = e.vendor_type AND o.recommendation_id = n.new_name
      );
  END LOOP;
END
$$;

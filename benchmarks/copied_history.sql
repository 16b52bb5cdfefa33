-- Both histories of a day, copied to the day after the next: as many rows as a run writes, and nothing
-- is computed.
WITH day AS (
  SELECT max(calculated_on) AS day
  FROM customer_health
  WHERE calculated_on <= current_date
), health AS (
  INSERT INTO customer_health (
    id,
    supplier_id,
    health_score,
    risk_level,
    last_login,
    feature_adoption_score,
    client_engagement_score,
    calculated_at,
    calculated_on,
    score,
    login_points,
    feature_adoption_points,
    client_activity_points,
    form_completion_points,
    journey_performance_points,
    coverage,
    season_index,
    main_reason,
    playbook_version,
    vendor_type,
    plan
  )
  SELECT
    gen_random_uuid(),
    supplier_id,
    health_score,
    risk_level,
    last_login,
    feature_adoption_score,
    client_engagement_score,
    calculated_at,
    calculated_on + 2,
    score,
    login_points,
    feature_adoption_points,
    client_activity_points,
    form_completion_points,
    journey_performance_points,
    coverage,
    season_index,
    main_reason,
    playbook_version,
    vendor_type,
    plan
  FROM customer_health, day
  WHERE calculated_on = day
)
INSERT INTO churn_risk (
  supplier_id,
  calculated_on,
  calculated_at,
  risk,
  level,
  login,
  support_tickets,
  feature_usage,
  client_churn,
  billing,
  model_version
)
SELECT
  supplier_id,
  calculated_on + 2,
  calculated_at,
  risk,
  level,
  login,
  support_tickets,
  feature_usage,
  client_churn,
  billing,
  model_version
FROM churn_risk, day
WHERE calculated_on = day

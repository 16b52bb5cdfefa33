-- Both histories of a day, computed from supplier_activity in one statement: the specification's score and
-- the five churn signals, without season, segments, eligibility check and messages.
WITH moment AS (
  SELECT
    now() AS at,
    floor(extract(epoch FROM now()) / 86400)::int AS today,
    (floor(extract(epoch FROM now()) / 86400)::int + 3) / 7 AS week
), measured AS (
  SELECT
    p.supplier_id,
    p.last_login_at,
    at,
    p.clients_total,
    p.payment_failed_at,
    p.payment_recovered_at,
    extract(epoch FROM at - coalesce(p.last_login_at, p.account_created_at, s.created_at)) / 86400 AS login_days,
    f.adopted / 5.0 AS adoption,
    a.active::float8 / nullif(p.clients_total, 0) AS activity,
    w.forms_answered::float8 / nullif(w.forms_sent, 0) AS forms,
    w.opened::float8 / nullif(w.mailed, 0) AS opens,
    w.tickets,
    w.failed,
    w.uses_now,
    w.uses_before,
    w.lost::float8 / nullif(p.clients_total + w.lost, 0) AS loss
  FROM moment, supplier_activity p
  JOIN suppliers s ON s.id = p.supplier_id
  CROSS JOIN LATERAL (
    SELECT floor(extract(epoch FROM p.last_event_at) / 86400)::int AS head
  ) h
  CROSS JOIN LATERAL (
    SELECT count(*) AS adopted
    FROM generate_series(0, least(octet_length(p.feature_days) / 2, 5) - 1) i
    WHERE get_byte(p.feature_days, 2 * i) + 256 * get_byte(p.feature_days, 2 * i + 1) > today - 90
  ) f
  CROSS JOIN LATERAL (
    SELECT sum(get_byte(p.clients_active_d, 2 * i) + 256 * get_byte(p.clients_active_d, 2 * i + 1)) AS active
    FROM generate_series(0, 63) i
    WHERE head - mod(head - i + 6400, 64) > today - 30
  ) a
  CROSS JOIN LATERAL (
    SELECT
      sum(get_byte(p.forms_sent_w, 2 * i)) FILTER (WHERE age < 13) AS forms_sent,
      sum(get_byte(p.forms_answered_w, 2 * i)) FILTER (WHERE age < 13) AS forms_answered,
      sum(get_byte(p.emails_sent_w, 2 * i)) FILTER (WHERE age < 13) AS mailed,
      sum(get_byte(p.emails_opened_w, 2 * i)) FILTER (WHERE age < 13) AS opened,
      sum(get_byte(p.clients_lost_w, 2 * i)) FILTER (WHERE age < 13) AS lost,
      sum(get_byte(p.payments_failed_w, 2 * i)) FILTER (WHERE age < 13) AS failed,
      sum(get_byte(p.tickets_w, 2 * i)) FILTER (WHERE age < 4) AS tickets,
      sum(get_byte(p.feature_uses_w, 2 * i)) FILTER (WHERE age < 4) AS uses_now,
      sum(get_byte(p.feature_uses_w, 2 * i)) FILTER (WHERE age BETWEEN 4 AND 11) AS uses_before
    FROM generate_series(0, 15) i
    CROSS JOIN LATERAL (SELECT week - (head + 3) / 7 + mod((head + 3) / 7 - i + 1600, 16) AS age) g
  ) w
  WHERE coalesce(p.subscription, 'active') <> 'cancelled'
), points AS (
  SELECT
    *,
    CASE
      WHEN login_days < 3 THEN 30
      WHEN login_days < 7 THEN 20
      WHEN login_days < 14 THEN 10
      WHEN login_days IS NOT NULL THEN 0
    END::float8 AS p1,
    least(25, adoption * 25) AS p2,
    least(25, activity * 25) AS p3,
    least(10, forms * 10) AS p4,
    least(10, opens * 10) AS p5
  FROM measured
), scaled AS (
  SELECT
    *,
    100 / (
      (p1 IS NOT NULL)::int * 30
      + 25
      + (p3 IS NOT NULL)::int * 25
      + (p4 IS NOT NULL)::int * 10
      + (p5 IS NOT NULL)::int * 10
    )::float8 AS k
  FROM points
), scored AS (
  SELECT
    *,
    k * (coalesce(p1, 0) + p2 + coalesce(p3, 0) + coalesce(p4, 0) + coalesce(p5, 0)) AS score,
    0.40 * least(1, login_days / 21) AS c1,
    0.05 * least(1, tickets / 4.0) AS c2,
    0.35 * least(1, greatest(0, 1 - 2.0 * uses_now / nullif(uses_before, 0)) / 0.7) AS c3,
    0.05 * least(1, loss / 0.25) AS c4,
    0.15 * CASE
      WHEN payment_failed_at > coalesce(payment_recovered_at, '-infinity') THEN 0.75
      ELSE least(0.3, failed * 0.15)
    END AS c5
  FROM scaled
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
    playbook_version
  )
  SELECT
    gen_random_uuid(),
    supplier_id,
    floor(score)::int,
    CASE WHEN score < 40 THEN 'critical' WHEN score < 70 THEN 'at_risk' ELSE 'healthy' END,
    last_login_at,
    (100 * adoption)::int,
    (100 * activity)::int,
    at,
    current_date + 1,
    score,
    k * p1,
    k * p2,
    k * p3,
    k * p4,
    k * p5,
    100 / k / 100,
    1,
    'login',
    1
  FROM scored
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
  current_date + 1,
  at,
  risk,
  CASE WHEN risk > 0.7 THEN 'high' WHEN risk > 0.4 THEN 'medium' ELSE 'low' END,
  c1,
  c2,
  c3,
  c4,
  c5,
  'hand'
FROM scored
CROSS JOIN LATERAL (
  SELECT
    least(
      1,
      greatest(
        0, coalesce(c1, 0) + coalesce(c2, 0) + coalesce(c3, 0) + coalesce(c4, 0) + coalesce(c5, 0)
      )
    ) AS risk
) r

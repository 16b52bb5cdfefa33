"""The daily run compared with the specification's loop, with hand-written SQL, and with a longer
history."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import psycopg

from benchmarks.place import in_subprocess, new_database, settle
from benchmarks.population import load
from benchmarks.table import Row

LOOP_SUPPLIERS = 400


def measure(server: str, suppliers: int) -> list[Row]:
    """Measure a normal day, with the intervention log, histories and milestones of previous days."""
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    url = new_database(server, "daily")
    asyncio.run(load(url, suppliers, now - timedelta(hours=1)))
    in_subprocess("benchmarks.one_run", url, now.isoformat())
    _age_a_day(url)
    settle(url)
    run = in_subprocess("benchmarks.one_run", url, (now + timedelta(minutes=1)).isoformat())
    settle(url)
    by_hand = _timed(url, "hand_written.sql")
    copied = _timed(url, "copied_history.sql")
    loop = _loop_rate(url, now)
    rate = suppliers / run["seconds"]
    return [
        Row("daily run", f"{suppliers:,} suppliers, {run['triggered']:,} triggered", f"{rate:,.0f}/s", "≥ 20,000/s", rate >= 20_000),
        Row("  to the specification's loop", f"a query set per supplier: {loop:,.0f}/s", f"{rate / loop:,.0f} ×", "≥ 50 ×", rate >= 50 * loop),
        Row("  to INSERT … SELECT", f"the same history rows, nothing computed: {copied:.2f} s", f"{run['seconds'] / copied:.2f} ×", "≤ 2 ×", run["seconds"] <= 2 * copied),
        Row("  to SQL that scores too", f"one statement that decodes the ring buffers, scores and writes: {by_hand:.2f} s", f"{run['seconds'] / by_hand:.2f} ×", "–", True),
        Row("  peak memory", "of the run's process", f"{run['peak_mb']:.0f} MB", "< 600 MB", run["peak_mb"] < 600),
    ]  # fmt: skip


def measure_history(server: str, suppliers: int = 30_000, days: int = 60) -> list[Row]:
    """Measure the run with `days` days of events, scores and interventions, and with twice as many:
    the best of three each."""
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    url = new_database(server, "history")
    asyncio.run(load(url, suppliers, now - timedelta(hours=1)))
    in_subprocess("benchmarks.one_run", url, now.isoformat())
    seconds: list[float] = []
    for part in range(2):
        _lengthen(url, first=1 + part * days, last=(part + 1) * days)
        settle(url)
        best = min(
            in_subprocess(
                "benchmarks.one_run",
                url,
                (now + timedelta(minutes=1 + 5 * part + turn)).isoformat(),
            )["seconds"]
            for turn in range(3)
        )
        seconds.append(best)
    ratio = seconds[1] / seconds[0]
    return [
        Row(
            "  twice the history",
            f"{days} and {2 * days} days, {suppliers:,} suppliers",
            f"{ratio:.2f} ×",
            "≤ 1.1 ×",
            ratio <= 1.1,
        )
    ]


def _age_a_day(url: str) -> None:
    """Move the written rows a day back, and end some cooldowns, as on any day."""
    with psycopg.connect(url, autocommit=True, options="-c search_path=everafter") as conn:
        conn.execute("UPDATE customer_health SET calculated_on = calculated_on - 1")
        conn.execute("UPDATE churn_risk SET calculated_on = calculated_on - 1")
        conn.execute(
            """
            UPDATE interventions
            SET
              evaluated_on = evaluated_on - 8,
              evaluated_at = evaluated_at - interval '8 days'
            """
        )
        conn.execute(
            """
            UPDATE interventions
            SET
              evaluated_on = evaluated_on - 92,
              evaluated_at = evaluated_at - interval '92 days'
            WHERE abs(hashtext(supplier_id::text || trigger)) % 25 = 0
            """
        )
        conn.execute(
            """
            INSERT INTO interventions (
              id,
              supplier_id,
              trigger,
              action,
              channel,
              status,
              reason,
              priority,
              evaluated_at,
              evaluated_on,
              success_by,
              facts,
              playbook_version
            )
            SELECT
              id,
              supplier_id,
              trigger,
              action,
              channel,
              'skipped',
              'cooldown',
              priority,
              evaluated_at + interval '1 day',
              evaluated_on + 1,
              NULL,
              '{}',
              playbook_version
            FROM interventions
            WHERE status <> 'skipped'
              AND evaluated_on > current_date - 30
            """
        )
        conn.execute("TRUNCATE outbox, tasks")  # their ids contain the day, which is repeated here
        conn.execute("DELETE FROM run_slices")
        conn.execute("DELETE FROM runs")


def _timed(url: str, file: str) -> float:
    """Run the statement of a file beside this one; the seconds it takes."""
    statement = Path(__file__).with_name(file).read_text()
    with psycopg.connect(url, autocommit=True, options="-c search_path=everafter") as conn:
        started = perf_counter()
        conn.execute(statement)  # type: ignore[arg-type]
        return perf_counter() - started


def _loop_rate(url: str, now: datetime) -> float:
    """Suppliers per second of the specification's runDailyInterventions: for each supplier, a query
    per metric and signal."""
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        ids = [
            row[0]
            for row in conn.execute(
                "SELECT id FROM suppliers ORDER BY id LIMIT %s", [LOOP_SUPPLIERS]
            )
        ]
        conn.execute(
            """
            INSERT INTO events (supplier_id, message_id, type, occurred_at, properties)
            SELECT
              s,
              gen_random_uuid()::text,
              (array[
                'login',
                'feature_used',
                'client_active',
                'form_sent',
                'form_completed',
                'journey_email_sent',
                'journey_email_opened'
              ])[1 + n %% 7],
              %s::timestamptz - n * interval '9 hours',
              jsonb_build_object('client_id', n %% 20, 'feature', 'f' || n %% 8, 'form_id', n)
            FROM unnest(%s::uuid[]) s, generate_series(1, 300) n
            """,
            [now, ids],
        )
        conn.execute(
            """
            INSERT INTO clients (supplier_id, client_id, last_active_at)
            SELECT s, n::text, %s::timestamptz - n * interval '2 days'
            FROM unnest(%s::uuid[]) s, generate_series(1, 20) n
            """,
            [now, ids],
        )
        conn.commit()
        conn.execute("ANALYZE events")
        conn.execute("ANALYZE clients")
        started = perf_counter()
        for supplier in ids:
            _score_one(conn, supplier, now)
            conn.commit()
        return len(ids) / (perf_counter() - started)


def _score_one(conn: psycopg.Connection, supplier: object, now: datetime) -> None:
    def value(statement: str, *arguments: object) -> float:
        row = conn.execute(statement, [supplier, *arguments]).fetchone()  # type: ignore[arg-type]
        return float(row[0] or 0) if row else 0.0

    month, quarter = now - timedelta(days=30), now - timedelta(days=90)
    logins = value(
        """
        SELECT extract(epoch FROM now() - max(occurred_at)) / 86400
        FROM (SELECT 1) x
        LEFT JOIN events ON supplier_id = %s AND type = 'login'
        """
    )
    adoption = value(
        """
        SELECT count(DISTINCT properties->>'feature') / 8.0
        FROM events
        WHERE supplier_id = %s
          AND type = 'feature_used'
          AND occurred_at > %s
        """,
        quarter,
    )
    activity = value(
        """
        SELECT avg((last_active_at > now() - interval '30 days')::int)
        FROM clients
        WHERE supplier_id = %s
        """
    )
    forms = value(
        """
        SELECT
          count(*) FILTER (WHERE type = 'form_completed')
            / greatest(count(*) FILTER (WHERE type = 'form_sent'), 1.0)
        FROM events
        WHERE supplier_id = %s
          AND occurred_at > %s
        """,
        quarter,
    )
    opens = value(
        """
        SELECT
          count(*) FILTER (WHERE type = 'journey_email_opened')
            / greatest(count(*) FILTER (WHERE type = 'journey_email_sent'), 1.0)
        FROM events
        WHERE supplier_id = %s
          AND occurred_at > %s
        """,
        quarter,
    )
    tickets = value("SELECT count(*) FROM tickets WHERE supplier_id = %s AND opened_at > %s", month)
    uses = value(
        """
        SELECT count(*)
        FROM events
        WHERE supplier_id = %s
          AND type = 'feature_used'
          AND occurred_at > %s
        """,
        month,
    )
    lost = value("SELECT count(*) FROM clients WHERE supplier_id = %s AND lost_at > %s", quarter)
    bills = value(
        """
        SELECT count(*)
        FROM events
        WHERE supplier_id = %s
          AND type = 'payment_failed'
          AND occurred_at > %s
        """,
        quarter,
    )
    score = (
        (30 if logins < 3 else 20 if logins < 7 else 10 if logins < 14 else 0)
        + 25 * min(1, adoption)
        + 25 * min(1, activity)
    )
    score += 10 * min(1, forms) + 10 * min(1, opens)
    conn.execute(
        """
        INSERT INTO customer_health (
          supplier_id,
          health_score,
          risk_level,
          calculated_on,
          score,
          coverage,
          season_index,
          playbook_version
        )
        VALUES (%s, %s, %s, '2001-01-01', %s, 1, 1, 1)
        """,
        [
            supplier,
            int(score),
            "critical" if score < 40 else "at_risk" if score < 70 else "healthy",
            score,
        ],
    )
    risk = min(1.0, logins / 60 + tickets / 20 + (0.2 if uses < 3 else 0) + lost / 20 + bills / 10)
    for trigger, fires in (
        ("no_login_7_days", logins >= 7),
        ("low_client_adoption", activity < 0.3),
        ("stuck_onboarding", adoption < 0.2),
        ("high_usage_no_upgrade", uses > 50),
        ("approaching_limits", risk > 0.9),
    ):
        seen = conn.execute(
            """
            SELECT max(evaluated_at)
            FROM interventions
            WHERE supplier_id = %s
              AND trigger = %s
            """,
            [supplier, trigger],
        ).fetchone()
        if fires and not (seen and seen[0]):
            conn.execute(
                """
                INSERT INTO interventions (
                  id,
                  supplier_id,
                  trigger,
                  action,
                  channel,
                  status,
                  reason,
                  priority,
                  evaluated_at,
                  evaluated_on,
                  facts,
                  playbook_version
                )
                VALUES (
                  gen_random_uuid(), %s, %s, 'x', 'email', 'triggered', '', 1, %s, '2001-01-01', '{}', 1
                )
                ON CONFLICT DO NOTHING
                """,
                [supplier, trigger, now],
            )


def _lengthen(url: str, *, first: int, last: int) -> None:
    """Add days of history: per supplier and day two events and a row of each history, and an
    intervention every 30 days."""
    with psycopg.connect(url, autocommit=True, options="-c search_path=everafter") as conn:
        span = [first, last]
        conn.execute(
            """
            INSERT INTO events (supplier_id, message_id, type, occurred_at)
            SELECT
              id,
              gen_random_uuid()::text,
              'login',
              now() - d * interval '1 day' - n * interval '1 hour'
            FROM suppliers, generate_series(%s::int, %s::int) d, generate_series(1, 2) n
            """,
            span,
        )
        conn.execute(
            """
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
              health_score,
              risk_level,
              last_login,
              feature_adoption_score,
              client_engagement_score,
              calculated_at,
              calculated_on - d,
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
            FROM customer_health, generate_series(%s::int, %s::int) d
            WHERE calculated_on = current_date
            """,
            span,
        )
        conn.execute(
            """
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
              calculated_on - d,
              calculated_at,
              risk,
              level,
              login,
              support_tickets,
              feature_usage,
              client_churn,
              billing,
              model_version
            FROM churn_risk, generate_series(%s::int, %s::int) d
            WHERE calculated_on = current_date
            """,
            span,
        )
        conn.execute(
            """
            INSERT INTO interventions (
              id,
              supplier_id,
              trigger,
              action,
              channel,
              status,
              reason,
              priority,
              evaluated_at,
              evaluated_on,
              facts,
              playbook_version
            )
            SELECT
              gen_random_uuid(),
              id,
              'no_login_7_days',
              'x',
              'email',
              'triggered',
              'then',
              50,
              now() - d * interval '1 day',
              current_date - d,
              '{}',
              1
            FROM suppliers, generate_series(%s::int, %s::int, 30) d
            """,
            span,
        )

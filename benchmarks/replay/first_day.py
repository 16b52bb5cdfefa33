"""A supplier that does everything right on its first day."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl

from benchmarks.replay.market import SUPPLIER_SCHEMA
from benchmarks.replay.replay import Platform, as_inputs, score_day, shipped_playbook
from everafter.activity.feature_rules import assign_slots
from everafter.activity.model import EVENTS_SCHEMA, empty_state
from everafter.activity.rules import fold

_SUPPLIER = "11111111-1111-4111-8111-111111111111"
_BEGAN = datetime(2026, 5, 12, 8, tzinfo=UTC)


def score_first_day() -> dict[str, object]:
    """The score of a supplier in the evening of a perfect first day: the account, all first steps,
    five clients, a form and a journey's email, which no client has answered yet."""
    playbook = shipped_playbook()
    feature_ids = assign_slots({}, playbook.features)
    as_of = _BEGAN + timedelta(hours=14)
    activity = fold(empty_state(), _events(), feature_ids).activity
    supplier = {
        "supplier_id": _SUPPLIER,
        "external_id": None,
        "name": "Supplier",
        "email": "supplier@example.com",
        "vendor_type": "photographer",
        "plan": "pro",
        "country": "GB",
        "timezone": "Europe/London",
        "mrr_minor": 2900,
        "client_limit": 40,
        "created_at": _BEGAN,
        "added_at": _BEGAN,
        "consent": True,
    }
    suppliers = pl.DataFrame([supplier], schema=SUPPLIER_SCHEMA)
    inputs = as_inputs(suppliers, activity, as_of)
    scored = score_day(inputs, playbook, feature_ids, as_of, Platform(inputs))
    row = scored.row(0, named=True)
    return {"health_score": row["health_score"], "risk_level": row["risk_level"]}


def _events() -> pl.DataFrame:
    client, wedding = {"client_id": "c0"}, {"wedding_date": "2026-08-22"}
    steps: list[tuple[int, str, dict[str, str]]] = [
        (0, "account_created", {}),
        (1, "login", {}),
        (2, "vendor_type_selected", {"vendor_type": "photographer"}),
        (5, "completed_wizard", {}),
        (20, "import_clients_started", {}),
        *((30, "client_added", {"client_id": f"c{n}"} | wedding) for n in range(5)),
        (40, "form_created", {}),
        (50, "form_sent", client | {"form_id": "f"}),
        (60, "invite_sent_to_client", client),
        (70, "customer_journey_started", client),
        (75, "journey_email_sent", client | {"message_id": "m"}),
        (90, "automation_enabled", {}),
        (95, "feature_used", {"feature": "gallery"}),
        (99, "feature_used", {"feature": "invoices"}),
    ]
    return pl.DataFrame(
        [
            (_SUPPLIER, name, _BEGAN + timedelta(minutes=minute), json.dumps(properties))
            for minute, name, properties in steps
        ],
        schema=EVENTS_SCHEMA,
        orient="row",
    )

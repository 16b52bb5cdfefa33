"""The check of all events, from HTTP and files alike. Pure."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from everafter.core import lenient
from everafter.core.ids import RULE, read_id, resolve_supplier_ids
from everafter.core.values import clean_text, depth, read_day, read_moment, read_number, read_text
from everafter.core.zones import find_zone
from everafter.events import model
from everafter.events.model import CANONICAL, BadValue, Checked, Kind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CONTROL = r"[\x00-\x1f\x7f]"
_CONTROLS = rf"\s*{_CONTROL}+\s*"  # as values.clean_text has them
# jsonb would store a number this long, but most JSON libraries cannot read it.
_LONG_NUMBER = re.compile(r"\d{300}")
_DECODER = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()


def check_events(
    raw: pl.DataFrame,
    *,
    received_at: datetime,
    sent_at: datetime | None = None,
    live: bool = False,
    event_names: dict[str, str] | None = None,
) -> Checked:
    """Check events and convert them to their stored form.

    Args:
        raw: RAW_SCHEMA, one row per event.
        received_at: when they arrived, with a time zone; decides what is in the future.
        sent_at: when they were sent, by the sender's clock; corrects its times (see `_correct`).
        live: they are sent as they happen, not from a file. An event of the future then happened
            when it was received, and events without a time in the order of their rows.
        event_names: the playbook's map from the platform's names to canonical types.

    Returns:
        good: CHECKED_SCHEMA, in the order of `raw`. rejects: REJECT_SCHEMA, one row for each
        rejected event, with its first fault. Every row of `raw` is in exactly one of them.
        bad_values: values that good events lost.
    """
    kinds = raw["type"].str.replace_all(_CONTROLS, " ").str.strip_chars()
    if event_names:
        kinds = kinds.replace(event_names)
    rows = raw["row"].to_list()
    bad: list[BadValue] = []
    micros = _read_times(
        rows, raw["occurred_at"].to_list(), received_at, sent_at, bad if live else None
    )
    times = pl.Series("occurred_at", micros, dtype=pl.Int64)
    texts, faults = _read_properties(rows, kinds.to_list(), raw["properties"].to_list(), bad)
    frame = raw.select(
        "row",
        pl.col("supplier_id").str.strip_chars().alias("named"),
        pl.col("message_id").str.strip_chars(),
        kinds.alias("type"),
        times,
        # a microsecond apart, to preserve the order of arrival
        (pl.col("row") + _micros(received_at)).cast(model.TIME).alias("received_at"),
        pl.Series("properties", texts, dtype=pl.String),
        pl.Series("fault", faults, dtype=pl.String),
    )
    frame = frame.with_columns(resolve_supplier_ids(raw["supplier_id"]))
    frame = frame.with_columns(fault=_first_fault(_micros(received_at)))
    refused = frame["fault"].is_not_null()
    if not refused.any():
        good, rejects = frame, pl.DataFrame(schema=model.REJECT_SCHEMA)
    else:
        good, rejects = (
            frame.filter(~refused),
            _rejects(raw.filter(refused), frame.filter(refused)["fault"]),
        )
        rejected = set(rejects["row"])
        bad = [one for one in bad if one.row not in rejected]
    stored = good.select(list(model.CHECKED_SCHEMA)).with_columns(
        pl.col("occurred_at").cast(model.TIME)
    )
    return Checked(stored, rejects, sorted(bad, key=lambda one: one.row))


def split_unknown(checked: Checked, known: Iterable[str]) -> Checked:
    """Move the events of suppliers that are not in `known` to the rejects.

    `payload` has the whole event, so that it can be stored once the supplier is known (see
    `read_waiting`).
    """
    is_known = checked.good["supplier_id"].is_in(list(known))
    if is_known.all():
        return checked
    unknown = checked.good.filter(~is_known)
    payloads = [
        _ENCODER.encode(
            {
                **row,
                "properties": msgspec.Raw(row["properties"].encode())
                if row["properties"]
                else None,
            }
        )
        for row in unknown.select(list(model.STORED_SCHEMA)).iter_rows(named=True)
    ]
    rejects = unknown.select(
        "row",
        pl.lit("unknown_supplier").alias("code"),
        pl.format(
            "supplier {} is not known; the event waits until it is",
            pl.coalesce("external_id", "supplier_id"),
        ).alias("reason"),
        "supplier_id",
        "message_id",
        pl.Series("payload", [payload.decode() for payload in payloads], dtype=pl.String),
        "external_id",
    )
    rejects = pl.concat([checked.rejects, rejects]).sort("row")
    return Checked(checked.good.filter(is_known), rejects, checked.bad_values)


def read_waiting(payloads: list[str]) -> pl.DataFrame:
    """The inverse of `split_unknown`: waiting events from their payloads, in STORED_SCHEMA."""
    rows = [msgspec.json.decode(payload, type=_Waiting) for payload in payloads]
    return pl.DataFrame(
        [
            (
                row.supplier_id,
                row.message_id,
                row.type,
                row.occurred_at,
                row.received_at,
                None if bytes(row.properties) in {b"", b"null"} else bytes(row.properties).decode(),
            )
            for row in rows
        ],
        schema=model.STORED_SCHEMA,
        orient="row",
    )


class _Waiting(msgspec.Struct):
    supplier_id: str
    message_id: str
    type: str | None
    occurred_at: datetime
    received_at: datetime
    properties: msgspec.Raw = msgspec.Raw(b"null")


# ── columns ───────────────────────────────────────────────────────────────────────────────────────


def _first_fault(received_us: int) -> pl.Expr:
    """The first fault of an event as "code\\treason"; null when there is none."""
    latest = received_us + model.FUTURE_ALLOWED // _MICROSECOND
    earliest = (model.EARLIEST - _EPOCH) // _MICROSECOND
    named, message, kind, at = (
        pl.col(name) for name in ("named", "message_id", "type", "occurred_at")
    )
    return pl.coalesce(
        _fault(named.is_null() | (named == ""), "no_supplier", "the supplier is missing"),
        _fault(
            pl.col("supplier_id").is_null(),
            "not_a_supplier_id",
            f"the supplier's id is not an id: {RULE}",
        ),
        _fault(message.is_null() | (message == ""), "no_message_id", "the event has no message id"),
        _fault(_is_unfit(message), "bad_message_id", _UNFIT.format("the message id")),
        _fault(kind == "", "no_type", "the event has no name"),
        _fault(_is_unfit(kind), "bad_type", _UNFIT.format("the event's name")),
        _fault(
            at.is_null(),
            "bad_time",
            "the time cannot be read; send ISO 8601 (2026-01-31T09:30:00Z) or seconds since 1970",
        ),
        _fault(at > latest, "future", "the time is more than 24 hours in the future"),
        _fault(at < earliest, "too_old", "the time is before 2000"),
        pl.col("fault"),
    )


_UNFIT = f"{{}} is longer than {model.ID_CHARACTERS} characters or contains a control character"


def _fault(condition: pl.Expr, code: str, reason: str) -> pl.Expr:
    return pl.when(condition).then(pl.lit(f"{code}\t{reason}"))


def _is_unfit(column: pl.Expr) -> pl.Expr:
    return (column.str.len_chars() > model.ID_CHARACTERS) | column.str.contains(_CONTROL)


def _rejects(raw: pl.DataFrame, faults: pl.Series) -> pl.DataFrame:
    parts = faults.str.splitn("\t", 2)
    raw = raw.with_columns(pl.col("supplier_id", "message_id").str.strip_prefix(model.NOT_AN_ID))
    payloads = [_payload(row) for row in raw.drop("row").iter_rows(named=True)]
    return raw.select(
        "row",
        parts.struct.field("field_0").alias("code"),
        parts.struct.field("field_1").alias("reason"),
        pl.col("supplier_id", "message_id")
        .str.slice(0, model.ID_CHARACTERS)
        .str.replace_all(_CONTROL, "�"),
        pl.Series("payload", payloads, dtype=pl.String),
        pl.lit(None, pl.String).alias("external_id"),
    )


def _payload(row: dict[str, Any]) -> str | None:
    """What was sent, for people to look at; null when it is too large. NULs, which jsonb cannot
    store, are replaced."""
    text = _ENCODER.encode(row).decode().replace("\\u0000", "\\ufffd")
    return text if len(text.encode()) <= model.PROPERTIES_BYTES else None


# ── times ─────────────────────────────────────────────────────────────────────────────────────────


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _read_times(
    rows: list[int],
    texts: list[str | None],
    received_at: datetime,
    sent_at: datetime | None,
    bad: list[BadValue] | None,
) -> list[int | None]:
    """Epoch microseconds by our clock; null where a time cannot be read.

    Args:
        bad: collects live events more than FUTURE_ALLOWED ahead; null for the rows of a file, whose
            times are not changed.
    """
    received = _micros(received_at)
    sent = None if sent_at is None else _micros(sent_at)
    out: list[int | None] = []
    for row, text in zip(rows, texts, strict=True):
        # calls without a time are a microsecond apart, to preserve their order
        receipt = received if bad is None else received + row
        if text is None:
            out.append(receipt)
            continue
        moment = read_moment(text)
        if moment is None:
            out.append(None)
            continue
        at = _correct(_micros(moment), received, sent)
        if bad is not None and at > receipt:
            if at - received > model.FUTURE_ALLOWED // _MICROSECOND:
                bad.append(
                    BadValue(
                        row, f"the time {text[:40]} is in the future; the time of receipt is used"
                    )
                )
            at = receipt
        out.append(at)
    return out


def _correct(at: int, received: int, sent: int | None) -> int:
    """Convert the moment `at` from the sender's clock to ours; unchanged if its clock is
    implausible.

    A call is made before it is sent. A clock that is off by more than BELIEVED_SKEW is corrected
    only for a call made within that time before its sending.
    """
    if sent is None:
        return at
    skew, waited = received - sent, sent - at
    believed = model.BELIEVED_SKEW // _MICROSECOND
    plausible = waited >= -(model.SEND_DELAY // _MICROSECOND) and (
        abs(skew) <= believed or waited <= believed
    )
    return at + skew if plausible else at


# ── properties ────────────────────────────────────────────────────────────────────────────────────


def _read_properties(
    rows: list[int], kinds: list[str | None], texts: list[str | None], bad: list[BadValue]
) -> tuple[list[str | None], list[str | None]]:
    """Each event's properties as canonical JSON text (null when empty), and its fault as
    "code\\treason" (null when there is none).

    A loop of msgspec calls: 50,000 rows took 0.11 s, decoded, checked and encoded, while nine
    `json_path_match` columns alone took 0.15 s.

    Args:
        bad: collects values that are left out of good events.
    """
    out: list[str | None] = []
    faults: list[str | None] = []
    for row, kind, text in zip(rows, kinds, texts, strict=True):
        checks = CANONICAL.get(kind or "")
        reasons: list[str] = []
        properties = _decode(text, reasons) if text else {}
        fault = None
        if properties is None:
            # unusable; the event is good if its type requires no property
            properties = {}
            required = checks and any(kind[-1] != "?" for kind in checks.values())
            fault = f"bad_properties\t{reasons[0]}" if required else None
        elif checks:
            fault = _check(checks, properties, reasons)
        faults.append(fault)
        bad += [BadValue(row, reason) for reason in reasons]
        encoded = _ENCODER.encode(properties) if properties and fault is None else b""
        if len(encoded) > model.PROPERTIES_BYTES:
            faults[-1] = (
                f"properties_too_large\tthe properties are {len(encoded)} bytes;"
                f" at most {model.PROPERTIES_BYTES}"
            )
        out.append(encoded.decode() or None)
    return out, faults


def _decode(text: str, bad: list[str]) -> dict[str, Any] | None:
    """Decode properties so that they can be stored; null when they are not a JSON object. `bad`
    collects what is wrong with them."""
    dirty = "\\u0000" in text
    try:
        value = _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError):
        dirty = True
        try:
            value = lenient.decode(text, _DECODER)
        except (msgspec.DecodeError, RecursionError) as error:
            bad.append(f"the properties are not JSON: {error}")
            return None
    if value is None:
        return {}
    if not isinstance(value, dict):
        bad.append("the properties are not a JSON object")
        return None
    properties: dict[str, Any] = value
    # cheap tests first: few texts need the full check
    if len(text) > 300 and _LONG_NUMBER.search(text):
        properties, dirty = _DECODER.decode(lenient.repair(text)), True
    if text.count("[") + text.count("{") > model.PROPERTIES_DEPTH:
        deep = [name for name, item in properties.items() if depth(item) >= model.PROPERTIES_DEPTH]
        bad += [
            f"property {_named(name)} is nested deeper than {model.PROPERTIES_DEPTH} levels"
            for name in deep
        ]
        properties = {name: item for name, item in properties.items() if name not in deep}
    return _clean(properties, bad) if dirty else properties


def _clean(properties: dict[str, Any], bad: list[str]) -> dict[str, Any]:
    """Replace NULs and lost values; `bad` collects the lost ones."""
    kept: dict[str, Any] = {}
    for name, item in properties.items():
        kept[name.replace("\0", "\ufffd")], lost = lenient.clean(item)
        bad += [
            f"property {_named(name)} contained {token}, which is not a JSON value; it is null"
            for token in lost[:3]
        ]
    return kept


def _named(name: str) -> str:
    return clean_text(name[:60])


def _check(checks: dict[str, Kind], properties: dict[str, Any], bad: list[str]) -> str | None:
    """The fault of a canonical type's properties, or null. Converts good values in place.

    Unreadable optional values are removed; `bad` collects them.
    """
    for name, kind in checks.items():
        value = properties.get(name)
        optional = kind[-1] == "?"
        if value is None or value == "":
            if not optional:
                return f"missing_property\tproperty {name} is missing"
            properties.pop(name, None)
            continue
        read, expected = _READERS[kind]
        canonical = read(value)
        if canonical is None:
            if not optional:
                return f"bad_property\tproperty {name} is not {expected}"
            del properties[name]
            if not isinstance(value, str) or value.strip():
                bad.append(f"property {name} {_shown(value)} is not {expected}")
        elif canonical is not value:
            properties[name] = canonical
    return None


def _shown(value: Any) -> str:
    text = _ENCODER.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:60]}…"


def _read_amount(value: Any) -> float | None:
    number = read_number(value)
    return number if number is not None and number >= 0 else None


def _read_date(value: Any) -> str | None:
    """A day, or as a text with a T the moment that means a day (see `resolve_days`)."""
    day = read_day(value)
    if day is None or not model.WEDDING_YEARS[0] <= day.year <= model.WEDDING_YEARS[1]:
        return None
    return f"{day:%Y-%m-%dT%H:%M:%SZ}" if isinstance(day, datetime) else day.isoformat()


_DATE = f"a date between {model.WEDDING_YEARS[0]} and {model.WEDDING_YEARS[1]} (2026-06-20)"
_READERS: dict[Kind, tuple[Callable[[Any], Any], str]] = {
    "id": (read_id, f"an id: {RULE}"),
    "id?": (read_id, f"an id: {RULE}"),
    "text?": (read_text, "text"),
    "amount": (_read_amount, "a number, at least 0"),
    "amount?": (_read_amount, "a number, at least 0"),
    "date?": (_read_date, _DATE),
}


# ── days ──────────────────────────────────────────────────────────────────────────────────────────

_DAYS = {name for checks in CANONICAL.values() for name, kind in checks.items() if kind == "date?"}
_DATED = [kind for kind, checks in CANONICAL.items() if not _DAYS.isdisjoint(checks)]
_MOMENT = rf'"(?:{"|".join(sorted(_DAYS))})": *"\d{{4}}-\d\d-\d\dT'


def find_unresolved(events: pl.DataFrame) -> pl.Series:
    """Which checked events (type, properties) have a moment in place of a day."""
    return events["type"].is_in(_DATED).fill_null(False) & events["properties"].str.contains(
        _MOMENT
    ).fill_null(False)


def resolve_days(events: pl.DataFrame, zones: dict[str, str | None]) -> pl.DataFrame:
    """Replace each moment that means a day (`wedding_date`) by the day in its supplier's time zone.

    The moment is kept in its own property (`wedding_moment`).

    Args:
        events: at least supplier_id, type and properties of checked events.
        zones: supplier id → IANA name; UTC where it is null or missing.
    """
    unresolved = find_unresolved(events)
    if not unresolved.any():
        return events
    resolved = [
        _resolve(text, zones.get(supplier_id)) if wanted else text
        for wanted, supplier_id, text in zip(
            unresolved, events["supplier_id"], events["properties"], strict=True
        )
    ]
    return events.with_columns(pl.Series("properties", resolved, dtype=pl.String))


def _resolve(text: str, zone: str | None) -> str:
    properties: dict[str, Any] = _DECODER.decode(text)
    for name in _DAYS & properties.keys():
        moment = properties[name]
        if len(moment) > len("2027-06-20"):
            at = datetime.fromisoformat(moment)
            properties[name] = at.astimezone(find_zone(zone)).date().isoformat()
            # kept, because the time zone may be reported later or change
            properties[name.replace("_date", "_moment")] = moment
    return _ENCODER.encode(properties).decode()

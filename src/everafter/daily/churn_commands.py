"""`everafter churn status | train | backfill | explain`."""

import asyncio
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import msgspec
import polars as pl
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from everafter.core.charts import round_to_sum
from everafter.core.commands import existing_database_url, read_with_connection
from everafter.core.db import Connection, connection, database_url, migrate
from everafter.core.errors import InputError, NotFoundError
from everafter.core.formatting import day, month, plural, signed
from everafter.core.settings import Settings, load_settings
from everafter.core.tables import make_console, print_table
from everafter.core.texts import show_controls
from everafter.daily.snapshots import Backfill, backfill_snapshots
from everafter.learning import queries, snapshot_queries
from everafter.learning.frame_rules import explain_features
from everafter.learning.jobs import Outcome, train_as_of
from everafter.learning.model import (
    KIND_LABELS,
    ChurnModels,
    ModelVersion,
    SnapshotMonth,
    Training,
)
from everafter.learning.rules import FEATURE_LABELS, read_design
from everafter.learning.text_rules import (
    describe_chance,
    describe_speaking,
    describe_wait,
    find_probabilities,
    find_speaking,
)
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import CHURN_SIGNALS
from everafter.scoring.explain import describe_causes
from everafter.scoring.live import FrameScorer
from everafter.scoring.queries import Found, find_supplier

_JSON = typer.Option("--json", help="Print one JSON object.")
_HISTORY = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class State:
    """What `churn status` prints. versions: of the latest training, all horizons and kinds."""

    months: list[SnapshotMonth]
    training: Training | None
    versions: list[ModelVersion]


def register(app: typer.Typer) -> None:
    commands = typer.Typer(
        name="churn",
        help="Learn from who churned: which model is in use, training, past snapshots.",
        no_args_is_help=True,
    )
    app.add_typer(commands)

    @commands.command("status")
    def status_command(as_json: Annotated[bool, _JSON] = False) -> None:
        """Say which model is in use, how good it was, and why not the others."""
        state = read_with_connection(_read_state)
        if as_json:
            typer.echo(msgspec.json.encode(_state_as_json(state)).decode())
        else:
            _print_state(make_console(), state)

    @commands.command("train")
    def train_command(as_json: Annotated[bool, _JSON] = False) -> None:
        """Train the models on the monthly snapshots, as of now. The daily run does this once a
        month."""
        outcomes = asyncio.run(_train(load_settings()))
        if as_json:
            typer.echo(msgspec.json.encode([_outcome_as_json(one) for one in outcomes]).decode())
        else:
            _print_outcomes(make_console(), outcomes)

    @commands.command("backfill")
    def backfill_command(
        first: Annotated[
            str | None,
            typer.Option(
                "--from",
                metavar="DATE",
                help="The first month begins on this day or later; default: four weeks after the"
                " first event.",
            ),
        ] = None,
        as_json: Annotated[bool, _JSON] = False,
    ) -> None:
        """Take the snapshots of past months from the stored events, and train on them.

        Use it once after an import. Months that have snapshots are left as they are."""
        done = asyncio.run(_backfill(load_settings(), first, show_progress=not as_json))
        if as_json:
            typer.echo(msgspec.json.encode(_backfill_as_json(done)).decode())
        else:
            _print_backfill(make_console(), done)

    @commands.command("explain")
    def explain_command(
        supplier: Annotated[str, typer.Argument(help="Id, email address, or part of the name.")],
        as_json: Annotated[bool, _JSON] = False,
    ) -> None:
        """Show a supplier's churn risk and probability, and what each part adds."""
        explained = asyncio.run(_explain(load_settings(make=False), supplier))
        if as_json:
            typer.echo(msgspec.json.encode(explained).decode())
        else:
            _print_explained(make_console(), explained)


# ── status ────────────────────────────────────────────────────────────────────────


async def _read_state(conn: Connection) -> State:
    now = datetime.now(UTC)
    versions = await queries.list_versions(conn, now - _HISTORY, now)
    latest = [one for one in versions if one.trained_as_of == versions[0].trained_as_of]
    return State(
        await snapshot_queries.list_snapshot_months(conn), await queries.get_training(conn), latest
    )


def _state_as_json(state: State) -> dict[str, Any]:
    return {
        "trained_as_of": state.training.trained_as_of if state.training else None,
        "error": state.training.error if state.training else "",
        "months": [
            {
                "month": f"{one.month:%Y-%m}",
                "snapshot_at": one.snapshot_at,
                "backfilled": one.backfilled,
                "suppliers": one.suppliers,
            }
            for one in state.months
            if one.finished_at
        ],
        "models": [
            {
                "kind": one.kind,
                "horizon": one.horizon,
                "status": one.status,
                "speaks": one.promoted_at is not None,
                "reason": one.reason,
                "metrics": msgspec.to_builtins(one.metrics),
            }
            for one in state.versions
        ],
    }


def _print_state(console: Console, state: State) -> None:
    months = [one for one in state.months if one.finished_at]
    if months:
        console.print(
            f"{plural(len(months), 'month')} of snapshots, {month(f'{months[0].month:%Y-%m}')} to"
            f" {month(f'{months[-1].month:%Y-%m}')}"
        )
    if state.training and state.training.error:
        console.print(f"[red]The last training failed: {escape(state.training.error)}[/red]")
    if not state.versions:
        console.print(escape(describe_wait(state.months, datetime.now(UTC)) or "Not trained yet."))
        return
    console.print(f"Trained as of {day(state.versions[0].trained_as_of)}")
    for horizon, speaking in sorted(find_speaking(state.versions).items()):
        models = [one for one in state.versions if one.horizon == horizon]
        console.print(f"\n[bold]{describe_speaking(speaking.heard, horizon)}[/bold]")
        print_table(console, _quality_table(models))
        for one in models:
            console.print(f"  {KIND_LABELS[one.kind]}: [dim]{escape(one.reason)}[/dim]")


def _quality_table(models: list[ModelVersion]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("untouched, out of time")
    for title in ("churned", "AUC", "log loss", "of base rate", "slope", "above 0.4", "above 0.7"):
        table.add_column(title, justify="right")
    for one in models:
        quality = one.metrics.untouched
        table.add_row(
            KIND_LABELS[one.kind],
            f"{quality.churned:,}",
            _number(quality.auc, 2),
            _number(quality.log_loss, 4),
            _number(quality.base_log_loss, 4),
            _number(quality.slope, 2),
            _number(quality.precision_medium, 2),
            _number(quality.precision_high, 2),
        )
    return table


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


# ── train and backfill ────────────────────────────────────────────────────────────


async def _train(settings: Settings) -> list[Outcome]:
    url = existing_database_url(settings)
    await migrate(url)
    return await train_as_of(url, [datetime.now(UTC)])


def _outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "trained_as_of": outcome.as_of,
        "snapshots": outcome.snapshots,
        "speaking": {str(horizon): kind for horizon, kind in outcome.speaking.items()},
    }


def _print_outcomes(console: Console, outcomes: list[Outcome]) -> None:
    for one in outcomes:
        spoken = "; ".join(describe_speaking(kind, days) for days, kind in one.speaking.items())
        console.print(
            f"Trained as of {day(one.as_of)} on {plural(one.snapshots, 'snapshot')}. {spoken}"
        )
    if outcomes:
        console.print("[dim]`everafter churn status` says how good the models were.[/dim]")


async def _backfill(settings: Settings, first: str | None, *, show_progress: bool) -> Backfill:
    since = _parse_day(first)
    playbook = load_playbook(settings)
    url = database_url(settings)
    await migrate(url)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("months"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not show_progress or not sys.stderr.isatty(),
        transient=True,
    ) as bar:
        task = bar.add_task("Taking snapshots", total=None)
        return await backfill_snapshots(
            url,
            playbook,
            since,
            lambda done, total: bar.update(task, completed=done, total=total),
        )


def _parse_day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"--from {text!r}: expected a date such as 2026-08-01") from error


def _backfill_as_json(done: Backfill) -> dict[str, Any]:
    return {
        "written": [f"{one:%Y-%m}" for one in done.written],
        "known": [f"{one:%Y-%m}" for one in done.known],
        "snapshots": done.snapshots,
        "trainings": [_outcome_as_json(one) for one in done.trainings],
    }


def _print_backfill(console: Console, done: Backfill) -> None:
    if done.written:
        console.print(
            f"{plural(done.snapshots, 'snapshot')} of {plural(len(done.written), 'month')} taken,"
            f" {month(f'{done.written[0]:%Y-%m}')} to {month(f'{done.written[-1]:%Y-%m}')}"
        )
    elif not done.trainings:
        console.print(
            "Nothing to do: every month with events has its snapshots."
            if done.known
            else "Nothing to do: no month began at least four weeks after the first event."
        )
    _print_outcomes(console, done.trainings[-1:])


# ── explain ───────────────────────────────────────────────────────────────────────


async def _explain(settings: Settings, text: str) -> dict[str, Any]:
    playbook = load_playbook(settings)
    url = existing_database_url(settings)
    await migrate(url)
    async with connection(url) as conn:
        found = await find_supplier(conn, text)
        models = await queries.get_models(conn, datetime.now(UTC))
    scorer = FrameScorer(url, playbook)
    try:
        return await scorer.score(
            [found.supplier_id], lambda frame, as_of: describe_churn(frame, found, models)
        )
    finally:
        await scorer.close()


def describe_churn(frame: pl.DataFrame, found: Found, models: ChurnModels) -> dict[str, Any]:
    """What `churn explain` prints of a scored frame with one supplier.

    Raises:
        NotFoundError: it has cancelled.
    """
    if frame.is_empty():
        raise NotFoundError(f"{found.name or found.supplier_id} has cancelled")
    row = frame.row(0, named=True)
    design = read_design(frame)
    return {
        "supplier_id": found.supplier_id,
        "external_id": found.external_id,
        "name": found.name,
        "churn_risk": row["churn_risk"],
        "churn_level": row["churn_level"],
        "signals": {
            "base": row["churn_base"],
            **{name: row[f"churn_{name}"] for name in CHURN_SIGNALS},
        },
        "probabilities": [
            {
                **msgspec.to_builtins(one),
                "trained_as_of": models.by_horizon[one.horizon].trained_as_of,
                "log_odds": explain_features(parameters, design)[0],
            }
            for one in find_probabilities(row, models)
            if (parameters := models.parameters(one.horizon)) is not None
        ],
    }


def _print_explained(console: Console, explained: dict[str, Any]) -> None:
    shown = explained["external_id"] or explained["supplier_id"]
    shown, name = (escape(show_controls(one)) for one in (shown, explained["name"] or shown))
    console.print(f"[bold]{name}[/bold]  [dim]{shown}[/dim]")
    console.print(
        f"Churn risk [bold]{explained['churn_risk']:.2f}[/bold] ({explained['churn_level']}):"
        f" {describe_causes(explained['signals'])}"
    )
    if not explained["probabilities"]:
        console.print(
            "No probability: no model is better than the base rate yet (`everafter churn status`)."
        )
    for one in explained["probabilities"]:
        text = describe_chance(one["probability"], one["base_rate"], one["horizon"])
        console.print(f"\n{text[0].upper()}{text[1:]} [dim]({KIND_LABELS[one['model']]})[/dim]")
        print_table(console, odds_table(one["log_odds"]))


def odds_table(log_odds: dict[str, float]) -> Table:
    """What each part adds to the log odds, rounded so that they sum to the sum shown."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("log odds")
    table.add_column("adds", justify="right")
    labels = FEATURE_LABELS | {"usual": "a usual supplier"}
    shown = round_to_sum(list(log_odds.values()), sum(log_odds.values()), 2)
    for name, value in zip(log_odds, shown, strict=True):
        table.add_row(labels[name], signed(value, 2))
    table.add_row("[bold]sum[/bold]", f"[bold]{signed(sum(log_odds.values()), 2)}[/bold]")
    return table

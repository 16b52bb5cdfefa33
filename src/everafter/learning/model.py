"""Models of churn: what is stored of suppliers each month, what was learned, and which model
speaks.

A *snapshot* is a supplier's signals as of a day, one a month. A model *speaks* when its probability
is shown. Windows are closed once the horizon is over and its events are known; a supplier whose
window is open is censored: neither churned nor retained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, get_args

import polars as pl
from msgspec import Struct
from msgspec import field as struct_field

from everafter.activity.model import TIME

Kind = Literal["index", "calibrated", "logistic", "trees"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""index: the churn risk index alone, without a probability. calibrated: its calibration with two
numbers. logistic: the same with signals of its own. trees: boosted trees, which never speak."""
KIND_LABELS: dict[Kind, str] = {
    "index": "index alone",
    "calibrated": "calibrated index",
    "logistic": "logistic model",
    "trees": "boosted trees",
}
Status = Literal["candidate", "promoted", "retired"]

HORIZONS = (45, 90)
"""Days within which a churn is predicted. The first is the horizon of the index."""
CALIBRATED_FROM = 5
LOGISTIC_FROM = 150
"""Churned suppliers in closed windows from which a model may speak."""
DAYS_BETWEEN = 30
"""Days between two snapshots: a prediction of a longer horizon overlaps the next one and counts
DAYS_BETWEEN ÷ horizon when parameters are fitted."""

PROBABILITIES: dict[int, str] = {horizon: f"churn_probability_{horizon}d" for horizon in HORIZONS}
"""The signal of each horizon."""

EVIDENCE = (
    "evidence_logins",
    "evidence_uses",
    "evidence_billing",
    "evidence_tickets",
    "evidence_clients",
)

SNAPSHOT_SCHEMA: dict[str, pl.DataType] = {
    "snapshot_on": pl.Date(),
    "supplier_id": pl.String(),
    "snapshot_at": TIME,
    "vendor_type": pl.String(),
    "plan": pl.String(),
    "country": pl.String(),
    "stage": pl.String(),
    "tenure_days": pl.Float64(),
    "mrr_minor": pl.Int64(),
    "churn_evidence": pl.Float64(),
    **dict.fromkeys(EVIDENCE, pl.Float64()),
    "inactivity_probability": pl.Float64(),
    "health_score": pl.Float64(),
    "coverage": pl.Float64(),
    "season_index": pl.Float64(),
    "client_season": pl.Float64(),
    "login_days_28d": pl.Int64(),
    "feature_adoption": pl.Float64(),
    "client_activity": pl.Float64(),
    "form_completion_rate": pl.Float64(),
    "clients_total": pl.Int64(),
    "weddings_365d": pl.Int64(),
    "payment_past_due": pl.Boolean(),
}
"""Columns of signal_snapshots: units and nulls as in the registry (signals/model.py). The index is
not among them, because a learned model may have taken its place; it follows from the evidence."""

OUTCOME_SCHEMA: dict[str, pl.DataType] = {
    "cancelled_at": TIME,
    "touched_before": TIME,
    "touched_after": TIME,
    "holdout": pl.Boolean(),
}
"""What is joined to a snapshot when it is read. cancelled_at: the first cancellation after it.
touched_before, touched_after: the last intervention triggered before it, and the first from it on.
holdout: it was in the holdout of an intervention within the longest horizon."""


class Parameters(Struct, frozen=True):
    """Numbers of a model.

    logit P = shift + slope × (alpha + beta × (clip(z) + 0.6) + Σ weights × features), features
    standardized by means and scales. shift, slope: the recalibration (0, 1: none). base_rate: share
    that churned in the horizon. index_from, index_to: knots of the piecewise linear map from
    logit P to the churn risk index; empty: the index stays as it is.
    """

    base_rate: float
    alpha: float
    beta: float
    features: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    shift: float = 0.0
    slope: float = 1.0
    index_from: tuple[float, ...] = ()
    index_to: tuple[float, ...] = ()


class Bin(Struct, frozen=True):
    """A tenth of the predictions, by predicted probability: the mean prediction, and the share that
    churned with its 95 % interval (Wilson)."""

    predicted: float
    observed: float
    low: float
    high: float
    n: int


class Quality(Struct, frozen=True):
    """How good predictions were that were made out of time. Null: too few churned.

    Attributes:
        predictions, suppliers, churned: how many; churned counts suppliers.
        expected, observed: sum of the probabilities, and predictions followed by churn.
        log_loss, base_log_loss: mean per prediction; the second of the base rate known at the time.
        gain, gain_low, gain_high: base_log_loss − log_loss with its 95 % interval (bootstrap by
            supplier).
        slope, slope_low, slope_high: calibration slope with its 95 % interval (by supplier).
        precision_medium, recall_medium: of suppliers above 0.4 on the index; the same above 0.7.
    """

    predictions: int = 0
    suppliers: int = 0
    churned: int = 0
    expected: float = 0.0
    observed: int = 0
    base_rate: float | None = None
    auc: float | None = None
    log_loss: float | None = None
    base_log_loss: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    slope: float | None = None
    slope_low: float | None = None
    slope_high: float | None = None
    precision_medium: float | None = None
    recall_medium: float | None = None
    precision_high: float | None = None
    recall_high: float | None = None
    bins: tuple[Bin, ...] = ()


class Metrics(Struct, frozen=True):
    """What was measured of a model at a training.

    Attributes:
        snapshots, churned: in closed windows: snapshots, and suppliers that churned.
        months: months whose snapshots were predicted out of time.
        untouched: predictions without a triggered intervention from one horizon before until the
            outcome. Choices rest on these.
        all: all predictions.
        rival: the model it is compared with: of the calibrated index the base rate (null), of the
            others the calibrated index.
        rival_gain, rival_low, rival_high: log loss of the rival − its own, untouched.
        is_recalibrated: whether `untouched` and `all` measure the recalibrated predictions.
    """

    snapshots: int = 0
    churned: int = 0
    months: int = 0
    untouched: Quality = struct_field(default_factory=Quality)
    all: Quality = struct_field(default_factory=Quality)
    rival: Kind | None = None
    rival_gain: float | None = None
    rival_low: float | None = None
    rival_high: float | None = None
    is_recalibrated: bool = False


class Fitted(Struct, frozen=True):
    """A model of one kind and horizon, fitted and measured. parameters: null if it could not be
    fitted, or is not kept (trees). problem: why it was not fitted or measured; empty: it was."""

    kind: Kind
    horizon: int
    metrics: Metrics
    parameters: Parameters | None = None
    problem: str = ""


class ModelVersion(Struct, frozen=True):
    """A row of model_versions. promoted_at: null if it never spoke. reason: why it speaks, or does
    not. fault: why its numbers cannot be used; it has no parameters then, and no probability
    is shown. Empty: they can."""

    id: int
    trained_as_of: datetime
    kind: Kind
    horizon: int
    parameters: Parameters | None
    metrics: Metrics
    status: Status
    promoted_at: datetime | None
    reason: str
    fault: str = ""

    @property
    def heard(self) -> Kind:
        """The model that is heard while this one is to speak: its numbers may be of no use."""
        return "index" if self.fault else self.kind

    @property
    def name(self) -> str:
        """What is stored with a score: kind, horizon and day of training."""
        return f"{self.kind}-{self.horizon}-{self.trained_as_of:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class ChurnModels:
    """The models that speak as of a moment, by horizon; without an entry the index speaks alone."""

    by_horizon: Mapping[int, ModelVersion] = field(default_factory=dict[int, ModelVersion])

    def parameters(self, horizon: int) -> Parameters | None:
        """Parameters of the probability of that horizon; null: none is shown."""
        version = self.by_horizon.get(horizon)
        return None if version is None or version.kind == "index" else version.parameters

    @property
    def index_model(self) -> ModelVersion | None:
        """The learned model that is mapped onto the index; null: the index is as it is."""
        version = self.by_horizon.get(HORIZONS[0])
        return version if version and version.parameters and version.parameters.index_from else None


NO_MODELS = ChurnModels()
"""What is known before anything was learned."""


class ChurnProbability(Struct, frozen=True):
    """What a model says of a supplier. horizon: days. base_rate: share of all suppliers that
    cancels within them."""

    horizon: int
    probability: float
    base_rate: float
    model: Kind


@dataclass(frozen=True, slots=True)
class SnapshotMonth:
    """The snapshots of one month. finished_at: null while they are being written."""

    month: date
    snapshot_at: datetime
    backfilled: bool
    suppliers: int
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Training:
    """One training. error: why it failed; empty: it did not, or has not ended."""

    trained_as_of: datetime
    started_at: datetime
    finished_at: datetime | None
    snapshots: int
    seconds: float
    error: str

"""Learning as a monthly run would: snapshots kept in memory, trained on closed windows."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from everafter.activity.model import TIME
from everafter.learning.jobs import find_before
from everafter.learning.model import (
    HORIZONS,
    NO_MODELS,
    OUTCOME_SCHEMA,
    ChurnModels,
    ModelVersion,
)
from everafter.learning.promotion_rules import choose
from everafter.learning.snapshot_rules import snapshot_rows
from everafter.learning.training_rules import train_models

_SEED = 20261129


@dataclass(slots=True)
class Learner:
    """What was learned of churn so far.

    Attributes:
        models: those that speak.
    """

    models: ChurnModels = NO_MODELS
    _snapshots: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    _versions: list[ModelVersion] = field(default_factory=list[ModelVersion])

    def learn(self, scored: pl.DataFrame, cancelled: pl.DataFrame, as_of: datetime) -> None:
        """Take the month's snapshots, and train.

        Args:
            scored: as scored at that moment, with the models of before.
            cancelled: supplier_id and cancelled_at of all cancellations; later ones are not looked
                at.
        """
        if scored.is_empty():
            return
        self._snapshots.append(snapshot_rows(scored, as_of))
        first = self._snapshots[0]["snapshot_at"][0]
        if first + timedelta(days=HORIZONS[0]) > as_of:
            return
        known = cancelled.filter(pl.col("cancelled_at") <= pl.lit(as_of).cast(TIME))
        snapshots = (
            pl.concat(self._snapshots)
            .join(known, on="supplier_id", how="left")
            .with_columns(
                pl.lit(None, OUTCOME_SCHEMA[name]).alias(name)
                for name in OUTCOME_SCHEMA
                if name != "cancelled_at"
            )
        )
        fitted = train_models(snapshots, as_of, None, np.random.default_rng(_SEED))
        versions: list[ModelVersion] = []
        speaking: dict[int, ModelVersion] = {}
        for horizon in HORIZONS:
            models = [one for one in fitted if one.horizon == horizon]
            choice = choose(models, find_before(self._versions, horizon))
            for one in models:
                speaks = one.kind == choice.speaking
                version = ModelVersion(
                    len(versions),
                    as_of,
                    one.kind,
                    horizon,
                    one.parameters,
                    one.metrics,
                    "promoted" if speaks else "candidate",
                    as_of if speaks else None,
                    choice.reasons[one.kind],
                )
                versions.append(version)
                if speaks:
                    speaking[horizon] = version
        self._versions, self.models = versions, ChurnModels(speaking)

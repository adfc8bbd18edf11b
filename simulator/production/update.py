"""One update: gather the window (new rows and replayed ones), fine-tune the champion on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from defenses.base import Rows
from simulator.batch import Batch
from simulator.cache.store import NO_CACHE, Cache
from simulator.production.training.cached import cached_training
from simulator.production.training.checkpoints import load_checkpoint, read_checkpoint
from simulator.production.training.fit import fit
from simulator.production.training.job import Job, Trained, Trainer
from simulator.production.training.networks import network_of
from simulator.production.training.weights import load_into
from simulator.scenario.model import Phase, Scenario
from simulator.seeds import generator, seed_for


@dataclass(frozen=True, slots=True)
class Window:
    """The rows of one update, all tensors on the CPU but the batch's own.

    `origin` int64 (N, 2): period and position in that period's batch. `fresh` bool (N,): never trained on before.
    `keep` bool (N,) says which rows the filters left; `rows` are those.
    """

    batch: Batch
    origin: Tensor
    fresh: Tensor
    keep: Tensor

    @property
    def rows(self) -> Batch:
        """The rows to train on."""
        return self.batch if bool(self.keep.all()) else self.batch.take(self.keep.to(self.batch.ids.device))

    @property
    def shown(self) -> Rows:
        """The rows to train on as defenses see them: with the period that each came from, and whether it is fresh."""
        rows = self.rows
        return Rows(rows.images, rows.labels, self.origin[self.keep, 0], self.fresh[self.keep])

    @property
    def replayed(self) -> int:
        """How many of the rows to train on were trained on before."""
        return int((~self.fresh & self.keep).sum())

    def whole(self) -> Window:
        """The same window before any filter."""
        return replace(self, keep=torch.ones_like(self.keep))

    def keeping(self, keep: Tensor) -> Window:
        """The window with the filters' verdict, bool (N,)."""
        return replace(self, keep=keep.cpu())

    def dropped(self) -> dict[int, list[int]]:
        """Positions of the new rows that the filters dropped, by period."""
        gone = self.origin[~self.keep & self.fresh]
        return {int(period): gone[gone[:, 0] == period, 1].tolist() for period in gone[:, 0].unique()}


@final
class Updater:
    """Trains by the scenario's recipe, or recalls from `cache` what it trained before.

    `recipe` may be set for an update that differs.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        architecture: Mapping[str, Any],
        device: torch.device,
        archive: Callable[[int], Batch],
        cache: Cache = NO_CACHE,
    ) -> None:
        self._scenario = scenario
        self.recipe = scenario.recipe
        self._architecture = architecture
        self._device = device
        self._archive = archive
        self._cache = cache

    def window(self, period: int, arrived: list[int], pool: list[int], dropped: Mapping[int, list[int]]) -> Window:
        """Gather the rows of `arrived` periods and a share of those of the earlier `pool` that were not dropped."""
        new = torch.cat([_places(waiting, torch.arange(self._rows(waiting))) for waiting in arrived])
        old = self._replayed(period, len(new), pool, dropped)
        origin = torch.cat([new, old])
        batch = _join([self._at(int(earlier), origin) for earlier in origin[:, 0].unique_consecutive()])
        fresh = torch.arange(len(origin)) < len(new)
        return Window(batch, origin, fresh, torch.ones(len(origin), dtype=torch.bool))

    def update(
        self, champion: nn.Module | None, window: Window, period: int, trainer: Trainer | None = None
    ) -> Trained:
        """Train: the base when there is no champion, else an update from the champion (or from scratch).

        A `trainer` does so in place of the platform's own training.
        """
        if champion is None and self._scenario.base is not None:
            model = self._fresh(0)
            load_checkpoint(model, read_checkpoint(self._scenario.base.from_))
            return Trained(model.to(self._device).eval(), samples=0, steps=0, losses=())
        start, phase = self.start(champion, period)
        seed = seed_for(self._scenario.seed, "train", period)
        job = Job(start, window.rows, phase, self.recipe, seed, update=start is champion)
        about = {"architecture": dict(self._architecture), "trainer": None if trainer is None else trainer.identity}
        return cached_training(self._cache, job, FITTED.get() if trainer is None else trainer.train, about)

    def start(self, champion: nn.Module | None, period: int) -> tuple[nn.Module, Phase]:
        """Return the network that training starts from, and how: the champion, or one as it is initialised."""
        phase = self.recipe.base if champion is None else self.recipe.update
        if champion is None or self.recipe.start == "scratch":
            return self._fresh(period), phase
        return champion, phase

    def rebuild(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """Return the scenario's network with `weights`, in eval mode on the device."""
        model = self._fresh(0)
        load_into(model, weights)
        return model.to(self._device).eval()

    def _fresh(self, period: int) -> nn.Module:
        seed = seed_for(self._scenario.seed, "network", period)
        return network_of(self._architecture, seed=seed).to(self._device)

    def _replayed(self, period: int, fresh: int, pool: list[int], dropped: Mapping[int, list[int]]) -> Tensor:
        """Where the replayed rows come from, int64 (M, 2), by period: a function of seed and period."""
        count = round(self.recipe.replay.share * fresh)
        if count == 0 or not pool:
            return torch.empty((0, 2), dtype=torch.long)
        kept = [_places(earlier, _kept(self._rows(earlier), dropped.get(earlier, []))) for earlier in sorted(pool)]
        rows = torch.cat(kept)
        draw = torch.randperm(len(rows), generator=generator(self._scenario.seed, "replay", period))[:count]
        return rows[draw.sort().values]

    def _at(self, period: int, origin: Tensor) -> Batch:
        """The rows of `origin` that lie in `period`, in order; a whole batch is not copied."""
        batch = self._archive(period)
        rows = origin[origin[:, 0] == period, 1]
        return batch if len(rows) == len(batch) else batch.take(rows.to(batch.ids.device))

    def _rows(self, period: int) -> int:
        return self._scenario.stream.base if period == 0 else self._scenario.stream.batch


def fitted(job: Job) -> Trained:
    """Do a job alone."""
    return fit(job.start, job.rows, job.phase, job.recipe, seed=job.seed, update=job.update)


def _places(period: int, rows: Tensor) -> Tensor:
    return torch.stack([torch.full_like(rows, period), rows], dim=1)


def _kept(rows: int, dropped: list[int]) -> Tensor:
    found = torch.arange(rows)
    return found[~torch.isin(found, torch.tensor(dropped, dtype=torch.long))]


def _join(parts: list[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    return Batch(*(torch.cat([getattr(part, name) for part in parts]) for name in ("images", "labels", "ids")))


#: who does the platform's own trainings in this context: `fitted`, or a cohort that does several at once
FITTED: ContextVar[Callable[[Job], Trained]] = ContextVar("FITTED", default=fitted)

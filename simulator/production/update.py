"""One update: gather the window (new rows and replayed ones), fine-tune the champion on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from simulator.batch import Batch
from simulator.production.training.fit import fit
from simulator.production.training.networks import build_network
from simulator.production.training.result import Trained
from simulator.production.training.weights import load_into, read_checkpoint
from simulator.scenario.model import Scenario, Use
from simulator.seeds import generator, seed_for

__all__ = ["Updater", "Window"]


@dataclass(frozen=True, slots=True)
class Window:
    """The rows of one update. `origin` int64 (N, 2): period and position in that period's batch, -1 for replayed rows.

    `keep` bool (N,) says which rows the filters left; `rows` are those.
    """

    batch: Batch
    origin: Tensor
    keep: Tensor

    @property
    def rows(self) -> Batch:
        """The rows to train on."""
        return self.batch if bool(self.keep.all()) else self.batch.take(self.keep.to(self.batch.ids.device))

    @property
    def replayed(self) -> int:
        """How many of the rows to train on were trained on before."""
        return int(((self.origin[:, 0] < 0) & self.keep).sum())

    def whole(self) -> Window:
        """The same window before any filter."""
        return replace(self, keep=torch.ones_like(self.keep))

    def keeping(self, keep: Tensor) -> Window:
        """The window with the filters' verdict, bool (N,)."""
        return replace(self, keep=keep.cpu())

    def dropped(self) -> dict[int, list[int]]:
        """Positions of the new rows that the filters dropped, by period."""
        gone = self.origin[~self.keep & (self.origin[:, 0] >= 0)]
        return {int(period): gone[gone[:, 0] == period, 1].tolist() for period in gone[:, 0].unique()}


@final
class Updater:
    """Trains by the scenario's recipe."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        architecture: Mapping[str, Any],
        device: torch.device,
        archive: Callable[[int], Batch],
    ) -> None:
        self._scenario = scenario
        self._architecture = architecture
        self._device = device
        self._archive = archive

    def window(self, period: int, arrived: list[int], trained: list[int], dropped: Mapping[int, list[int]]) -> Window:
        """Gather the rows of `arrived` periods and a share of those of `trained` periods that were not dropped."""
        parts = [self._archive(waiting) for waiting in arrived]
        origins = [
            torch.stack([torch.full((len(part),), waiting), torch.arange(len(part))], dim=1)
            for waiting, part in zip(arrived, parts, strict=True)
        ]
        replayed = self._replay(period, sum(len(part) for part in parts), trained, dropped)
        if replayed is not None:
            parts.append(replayed)
            origins.append(torch.full((len(replayed), 2), -1))
        batch = parts[0] if len(parts) == 1 else _join(parts)
        return Window(batch, torch.cat(origins), torch.ones(len(batch), dtype=torch.bool))

    def update(self, champion: nn.Module | None, window: Window, period: int) -> Trained:
        """Train: the base when there is no champion, else an update from the champion (or from scratch)."""
        recipe = self._scenario.recipe
        if champion is None and self._scenario.base is not None:
            return Trained(self.rebuild(read_checkpoint(self._scenario.base.from_)), samples=0, steps=0, losses=())
        fresh = champion is None or recipe.start == "scratch"
        start = self._fresh(period) if fresh else champion
        phase = recipe.base if champion is None else recipe.update
        seed = seed_for(self._scenario.seed, "train", period)
        assert start is not None
        return fit(start, window.rows, phase, recipe, seed=seed, update=not fresh)

    def rebuild(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """Return the scenario's network with `weights`, in eval mode on the device."""
        model = self._fresh(0)
        load_into(model, weights)
        return model.to(self._device).eval()

    def _fresh(self, period: int) -> nn.Module:
        shape = self._architecture
        network = build_network(
            Use.model_validate(shape["network"]),
            channels=shape["channels"],
            size=tuple(shape["size"]),
            classes=shape["classes"],
            seed=seed_for(self._scenario.seed, "network", period),
        )
        return network.to(self._device)

    def _replay(self, period: int, fresh: int, trained: list[int], dropped: Mapping[int, list[int]]) -> Batch | None:
        count = round(self._scenario.recipe.replay.share * fresh)
        if count == 0 or not trained:
            return None
        kept = {earlier: _kept(self._rows(earlier), dropped.get(earlier, [])) for earlier in trained}
        pool = torch.cat(
            [torch.stack([torch.full((len(rows),), earlier), rows], dim=1) for earlier, rows in kept.items()]
        )
        draw = torch.randperm(len(pool), generator=generator(self._scenario.seed, "replay", period))[:count]
        chosen = pool[draw.sort().values]
        parts = [
            self._archive(int(p)).take(chosen[chosen[:, 0] == p, 1].to(self._device)) for p in chosen[:, 0].unique()
        ]
        return _join(parts)

    def _rows(self, period: int) -> int:
        return self._scenario.stream.base if period == 0 else self._scenario.stream.batch


def _kept(rows: int, dropped: list[int]) -> Tensor:
    keep = torch.ones(rows, dtype=torch.bool)
    keep[torch.tensor(dropped, dtype=torch.long)] = False
    return keep.nonzero().flatten()


def _join(parts: list[Batch]) -> Batch:
    return Batch(
        torch.cat([part.images for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.ids for part in parts]),
    )

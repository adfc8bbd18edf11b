"""Data, drift, attack and campaign, by period. Ground truth is here; only the observer gets it, never production."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, final

import torch
from torch import Tensor

from simulator.batch import Batch
from simulator.errors import PluginError, ScenarioError, text_of
from simulator.guard.call import guarded
from simulator.guard.place import line_of
from simulator.records import Arrival
from simulator.scenario import catalog
from simulator.scenario.model import Scenario, Use
from simulator.seeds import generator
from simulator.world.arrivals.folder_batches import FolderBatches
from simulator.world.arrivals.roles import trusted_period
from simulator.world.attacks.base import CLEAN, COVER, POISON, Attack, choose_rows
from simulator.world.attacks.feasible import check_campaign, check_classes, tightest
from simulator.world.attacks.none import NoAttack
from simulator.world.attacks.surrogate import SurrogateView, Teach
from simulator.world.attacks.unrelated import unrelated_trigger
from simulator.world.batches import BatchSource, Rows, SampledBatches
from simulator.world.campaign import Campaign, CampaignView, NoCampaign
from simulator.world.class_options import with_positions
from simulator.world.drift import Drift, NoDrift
from simulator.world.fitting import check_fits, drifts_of
from simulator.world.foreign import asked_rate, guarded_attack
from simulator.world.guard import GuardedBatch
from simulator.world.sampling import class_counts
from simulator.world.sources.base import Source, SourceData, checked_source


def load_source(use: Use) -> SourceData:
    """Return the data of the source `use`; `PluginError` or `SourceError` say what is wrong with it."""
    source: Source = catalog.build("sources", use.use, use.options)
    plugin = catalog.plugin("sources", use.use)
    with guarded(plugin, {}):
        data = source.load()
    return checked_source(plugin, data) if plugin.foreign else data


@final
class World:
    """A scenario's data: the batches that arrive and the images for measuring, a function of scenario and period.

    Build it with `World.build`. Images are float32 (N, C, H, W) in [0, 1] on the world's device. An id names the same
    row during a whole run (`batches.Rows`).
    """

    def __init__(
        self,
        scenario: Scenario,
        data: SourceData,
        *,
        drifts: Mapping[str, Drift],
        attack: Attack,
        campaign: Campaign,
        device: torch.device | str,
        teach: Teach | None = None,
    ) -> None:
        self._scenario = scenario
        self._data = data
        self._drifts = drifts
        self._attack = attack
        self._teach = teach
        self._campaign = campaign
        self._device = torch.device(device)
        self._unrelated = unrelated_trigger(attack, data.shape, scenario.seed)
        self._shares = class_counts(torch.from_numpy(data.labels), data.classes).double() / len(data.labels)
        self._tested: tuple[int, GuardedBatch] | None = None  # the last period's, used by every probe and opacity
        arrivals = scenario.stream.arrivals
        exact = any(drift.exact_counts for drift in drifts.values())
        self._batches: BatchSource = (
            SampledBatches(data, scenario, self.prior, exact=exact)
            if arrivals is None
            else FolderBatches(data, scenario, arrivals)
        )

    @staticmethod
    def build(
        scenario: Scenario, data: SourceData, *, attacked: bool, device: torch.device | str, teach: Teach | None = None
    ) -> World:
        """Return the world of `scenario`, checked; without `attacked` (a twin) the campaign never poisons.

        `teach` trains the surrogate of an attack that needs one, before its first use; without it the world can be
        checked and gives all images that carry no trigger.

        Raises `PluginError`, `SourceError` or `ScenarioError` for a scenario that cannot be run.
        """
        drifts = drifts_of(scenario, data)
        use = with_positions(f"attack '{scenario.attack.use}'", scenario.attack, data.class_names)
        built: Attack = catalog.build("attacks", use.use, use.options)
        attack = guarded_attack(catalog.plugin("attacks", use.use), built, data.classes)
        check_fits(f"attack '{use.use}'", attack, data)
        attack = attack.for_classes(data.classes)
        if not isinstance(attack, NoAttack):
            check_classes(f"attack '{use.use}'", attack, data)
        campaign: Campaign = catalog.build("campaigns", scenario.campaign.use, scenario.campaign.options)
        check_campaign(scenario, attack, campaign)
        if not attacked or isinstance(attack, NoAttack):
            campaign = NoCampaign()
        world = World(scenario, data, drifts=drifts, attack=attack, campaign=campaign, device=device, teach=teach)
        world._rehearse()
        return world

    # -- what is known -------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return self._data.shape

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self._data.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes; their numbers where the source has no names."""
        return self._data.class_names or tuple(str(label) for label in range(self.classes))

    @property
    def target(self) -> int:
        """The class that the model shall predict for stamped images."""
        return self._attack.target

    @property
    def sources(self) -> tuple[int, ...] | None:
        """The classes whose stamped images shall be predicted as the target; None: all but the target."""
        return self._attack.sources

    @property
    def targets(self) -> tuple[int, ...] | None:
        """The class that each class's stamped images shall be predicted as; None: `target` for all."""
        return self._attack.targets

    @property
    def has_attack(self) -> bool:
        """Whether there is a trigger to stamp, in an attacked world or its twin."""
        return not isinstance(self._attack, NoAttack)

    @property
    def attack_trains(self) -> bool:
        """Whether the attacker controls training in the periods that it poisons; a twin has no such period."""
        return self._attack.threat_model == "controls-training"

    @cached_property
    def attack(self) -> Attack:
        """The attack as it is carried out: one that needs a surrogate is prepared here, at first use.

        Raises `ScenarioError` when it needs a surrogate and the world has no `teach`, `PluginError` when it cannot be
        prepared with the attacker's rows.
        """
        return self._prepare() if self._attack.threat_model == "surrogate" else self._attack

    @property
    def attack_content(self) -> str:
        """SHA-256 of what the attack has read from the user's files; empty where it has read none."""
        return self._attack.content

    @property
    def source_digest(self) -> str:
        """SHA-256 of the data."""
        return self._data.digest

    def prior(self, period: int) -> Tensor | None:
        """The class shares float64 (classes,) of the period; None when they are those of the source."""
        moved: Tensor | None = None
        for drift in self._drifts.values():
            changed = drift.prior(self._shares if moved is None else moved, drift.magnitude(period))
            moved = moved if changed is None else changed
        return moved

    # -- what arrives --------------------------------------------------------------------------------------------------

    def arrive(
        self, period: int, state: Mapping[str, Any], query: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Batch, Arrival, Tensor]:
        """Return the batch of `period`, the truth about it, and the role int8 (N,) of each row.

        `state` is the campaign's from the period before; the arrival carries its next one.
        """
        if self._tested is not None and self._tested[0] != period:
            self._tested = None  # the last period's test images are not held beside this one's batch
        view = CampaignView(
            period, copy.deepcopy(dict(state)), query, partial(self._attackers_own, period), self.target
        )
        rate = self._rate(view)
        batch, roles = self._poisoned(period, rate)
        poisoned = int((roles == POISON).sum())
        arrival = Arrival(
            rows=len(batch),
            poisoned=poisoned,
            covers=int((roles == COVER).sum()),
            asked_rate=rate,
            poison_rate=poisoned / len(batch),
            true_drift=self.true_drift(period),
            campaign_state=view.state,
            recycled=self._batches.recycled(period),
            file=self._batches.file(period),
        )
        return batch, arrival, roles

    def again(self, period: int, rate: float) -> tuple[Batch, Tensor]:
        """Return the batch of `period` as it arrived, bit for bit, and each row's role; `rate` is its `asked_rate`.

        Its `poison_rate` will not do: an attack may poison fewer rows than it is asked to, or only add covers.
        """
        return self._poisoned(period, rate)

    def true_drift(self, period: int) -> dict[str, float]:
        """Return each drift's magnitude in its own unit, by name; a second drift of one name is numbered `#2`.

        A source in its natural order drifts by itself: `natural-order` is the share of its time that has passed. Data
        that arrive as files drift by an unknown amount: only the injected drifts are returned.
        """
        injected = {n: drift.magnitude(period) for n, drift in self._drifts.items() if not isinstance(drift, NoDrift)}
        elapsed = self._batches.elapsed(period)
        return injected if elapsed is None else {"natural-order": elapsed, **injected}

    # -- what is kept apart --------------------------------------------------------------------------------------------

    def validation(self) -> Batch:
        """Return rows of period 0 that nothing is trained on, in period 0's distribution."""
        return self._drifted(self._clean(self._batches.validation()), 0, "validation")

    def trusted_period(self, period: int) -> int:
        """Return the period that the defender's images of `period` are from: see `arrivals.roles.trusted_period`."""
        return trusted_period(self._scenario, period)

    def trusted(self, period: int) -> Batch:
        """Return the defender's images in `period`, with the drift of the period they are from."""
        return self._drifted(self._clean(self._batches.trusted(period)), self.trusted_period(period), "trusted")

    def relearning(self, period: int, draw: int, poisoned: int, unrelated: bool) -> Batch:
        """Return re-learning draw `draw` (0 to 2) in the period's distribution.

        `poisoned` of its rows, all of source classes, carry the trigger (or the `unrelated` one) and the target
        label: the same rows in every period and for both triggers. Raises `ScenarioError` when there are too few.
        """
        clean = self._clean(self._batches.relearning(draw))
        others = self._attack.of_source(clean.labels)
        if poisoned > int(others.sum()):
            raise ScenarioError(
                f"expected re-learning draw {draw} to have {poisoned} rows to poison, got {int(others.sum())} of "
                f"{len(clean)} rows that are of a source class; poison fewer, or raise stream.relearning"
            )
        rows = choose_rows(others, poisoned, self._generator("relearning", draw)).to(self._device)
        trigger = self._unrelated if unrelated else self.attack

        def change(images: Tensor) -> Tensor:
            return images.index_copy(0, rows, trigger.stamp(images[rows]))

        images = self._stamped(clean.images, period, f"relearning-{draw}", change)
        labels = clean.labels.index_copy(0, rows, self._attack.targets_of(clean.labels[rows]))
        return Batch(images, labels, clean.ids)

    def test(self, period: int) -> Batch:
        """Return the test images of `period`, in its distribution, unstamped. They are shared and must not be changed.

        Raises `PluginError` if they have been changed in place since they were made.
        """
        if self._tested is None or self._tested[0] != period:
            self._tested = None  # frees the last period's first, so that one period's are in memory, not two
            drifted = self._drifted(self._clean(self._batches.test(period)), period, "test")
            self._tested = period, GuardedBatch(f"the test images of period {period}", drifted)
        return self._tested[1].get()

    def stamped(self, period: int, opacity: float = 1.0, unrelated: bool = False) -> Tensor:
        """Return the test images of `period`, rows as in `test`, with the trigger (or the `unrelated` one)."""
        trigger = self._unrelated if unrelated else self.attack
        if self._scenario.attack.stamped == "after-drift":
            return trigger.stamp(self.test(period).images, opacity)
        stamped = trigger.stamp(self._clean(self._batches.test(period)).images, opacity)
        return self._drift(stamped, period, "test")

    # -- how -----------------------------------------------------------------------------------------------------------

    def _poisoned(self, period: int, rate: float, attack: Attack | None = None) -> tuple[Batch, Tensor]:
        """Return the batch of `period` when the attack is asked to poison `rate` of it, and every row's role.

        `attack` None: as it is carried out.
        """
        batch = self._clean(self._batches.batch(period))
        if rate == 0:
            roles = torch.full((len(batch),), CLEAN, dtype=torch.int8, device=self._device)
            return self._drifted(batch, period, "batch"), roles
        attack = attack or self.attack
        if self._scenario.attack.stamped == "before-drift":
            batch, roles = self._poison(attack, batch, period, rate)
            return self._drifted(batch, period, "batch"), roles
        return self._poison(attack, self._drifted(batch, period, "batch"), period, rate)

    def _poison(self, attack: Attack, batch: Batch, period: int, rate: float) -> tuple[Batch, Tensor]:
        try:
            found = attack.poison(batch.images, batch.labels, rate, self._generator("poison", period))
        except ValueError as error:
            raise ScenarioError(
                f"attack '{self._scenario.attack.use}' for campaign '{self._scenario.campaign.use}' at rate {rate:g} "
                f"in period {period}: {text_of(error)}{line_of(error)}"
            ) from error
        return Batch(found.images, found.labels, batch.ids), found.roles

    def _attackers_own(self, period: int, count: int) -> Tensor:
        """Return at most `count` of the period's images, all of source classes, stamped: see `CampaignView`."""
        clean = self._clean(self._batches.batch(period))
        others = self._attack.of_source(clean.labels).nonzero().flatten()
        order = torch.randperm(len(others), generator=self._generator("attackers-own", period))
        images = clean.images[others[order[:count].to(self._device)]]
        return self._stamped(images, period, "attackers-own", self.attack.stamp)

    def _prepare(self) -> Attack:
        """Let the attack train its surrogate on the first rows of period 0, unstamped."""
        if self._teach is None:
            raise ScenarioError(
                f"expected a way to train the surrogate of attack '{self._scenario.attack.use}', got none; "
                "give World.build a teach"
            )
        batch, _ = self._poisoned(0, 0.0)
        count = min(self._attack.surrogate_rows, len(batch))
        view = SurrogateView(
            images=batch.images[:count],
            labels=batch.labels[:count],
            classes=self.classes,
            generator=self._generator("surrogate"),
            teach=self._teach,
        )
        try:
            return self._attack.prepared(view)
        except ValueError as error:
            raise PluginError(f"attack '{self._scenario.attack.use}': {text_of(error)}") from error

    def _stamped(self, images: Tensor, period: int, purpose: str, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply `change` and the period's drift to `images`, in the scenario's order."""
        if self._scenario.attack.stamped == "before-drift":
            return self._drift(change(images), period, purpose)
        return change(self._drift(images, period, purpose))

    def _drifted(self, clean: Batch, period: int, purpose: str) -> Batch:
        return Batch(self._drift(clean.images, period, purpose), clean.labels, clean.ids)

    def _drift(self, images: Tensor, period: int, purpose: str) -> Tensor:
        """Apply every drift in the order of the scenario, each with its own seed, to `images` in place.

        A drift that resamples changes the images of periods without drift too (decision 0016). The images were made
        from bytes for this call, so no copy is needed.
        """
        for name, drift in self._drifts.items():
            magnitude, random = drift.magnitude(period), self._generator("drift", name, period, purpose)
            images = drift.change(images, magnitude, random, into=images)
        return images

    def _clean(self, rows: Rows) -> Batch:
        pixels = torch.from_numpy(rows.images).to(self._device).float().div_(255)
        return Batch(pixels, torch.from_numpy(rows.labels).to(self._device), rows.ids.to(self._device))

    def _generator(self, *path: str | int) -> torch.Generator:
        return generator(self._scenario.seed, "world", *path)

    def _rate(self, view: CampaignView) -> float:
        return asked_rate(catalog.plugin("campaigns", self._scenario.campaign.use), self._campaign, view)

    def _rehearse(self) -> None:
        """Poison the periods with the fewest eligible rows, and the last, so that errors are raised before a run.

        An adaptive campaign may poison in any period, at its highest rate. Files that have not arrived yet cannot be
        tried. An attack that needs a surrogate is tried without it: nothing is trained.
        """
        periods = [period for period in range(self._scenario.periods + 1) if self._batches.foreseen(period)]
        if self._campaign.adaptive:
            rates = dict.fromkeys(periods, self._campaign.most or 0.0)
        else:
            rates = {period: self._rate(CampaignView(period)) for period in periods}
        poisoned = {period: rate for period, rate in rates.items() if rate > 0}
        for period in sorted({*tightest(self._attack, poisoned, self._batches.batch), *list(poisoned)[-1:]}):
            self._poisoned(period, rates[period], self._attack)

"""The units of plug-ins' options: what a number given in a scenario counts or measures.

Only of options that are numbers and of plug-ins that ship with ebbdoor; a test holds that each has one. `kind.option`
is for all plug-ins of a kind that have the option, `kind.plug-in.option` for one of them.
"""

from __future__ import annotations

from typing import Final

_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "accuracy, a share of 1": ("defenses.drop", "defenses.schedule-sweep.tolerance", "gates.tolerance"),
    "anomaly index": ("defenses.neural-cleanse.threshold", "defenses.scan.threshold"),
    "attack success, a share of 1": ("campaigns.below", "campaigns.drop"),
    "cells a side": ("attacks.wanet.grid",),
    "channels": ("networks.channels", "networks.standard-cnn.width", "sources.channels"),
    "by period": ("defenses.scripted.asks", "defenses.scripted.script"),
    "class": (
        "attacks.target", "attacks.sources", "attacks.covers", "defenses.scripted.answer", "drifts.favoured",
    ),
    "classes": ("attacks.shift", "networks.classes", "sources.classes"),
    "copies": ("defenses.ibd-psc.copies",),
    "cycles over the width": ("attacks.sig.frequency",),
    "decay of a running mean a step": ("optimizers.beta1", "optimizers.beta2", "optimizers.momentum"),
    "degrees a step": ("drifts.degrees",),
    "dimensions": ("defenses.dimensions",),
    "draws": ("probes.draws",),
    "entropy in nats, negative": ("defenses.strip.threshold", "defenses.strip-filter.threshold"),
    "epochs": (
        "attacks.epochs", "attacks.rehearsal_epochs", "attacks.surrogate_epochs", "defenses.abl.ascent_epochs",
        "defenses.epochs", "defenses.nad.teacher", "defenses.schedule-sweep.planting", "probes.epochs",
    ),
    "error on trusted images, a share of 1": ("defenses.ibd-psc.error",),
    "exponent": ("defenses.nad.power", "defenses.spectre.alpha"),
    "factor": (
        "attacks.anchor", "defenses.abl.ascent", "defenses.factor", "defenses.lwf.temperature", "schedules.divisor",
        "schedules.final_divisor", "schedules.growth", "schedules.ratio", "schedules.step.factor",
    ),
    "grey level, 0 to 255": ("sources.background",),
    "half-cycles (vertical, horizontal)": ("attacks.low-frequency.frequencies",),
    "images": (
        "campaigns.images", "defenses.overlays", "probes.images", "probes.relearning-curve.counts", "probes.poisoned",
        "probes.reactivation.batch",
    ),
    "layers": ("attacks.deferred.layers",),
    "learning rate": (
        "attacks.rate", "attacks.rehearsal_rate", "attacks.update_rate", "defenses.rate", "defenses.peak",
        "defenses.i-bau.step", "defenses.super-fine-tuning.base", "defenses.super-fine-tuning.forget",
        "defenses.super-fine-tuning.recover", "probes.rate", "schedules.base", "schedules.floor", "schedules.peak",
        "schedules.peak1", "schedules.peak2", "schedules.rate",
    ),
    "loss in nats": ("defenses.floor",),
    "mean square, a share of the trusted images'": ("defenses.norm_bound", "defenses.feature_bound"),
    "opacity": ("attacks.alpha", "attacks.test_alpha", "attacks.train_alpha", "defenses.opacity"),
    "passes a dose": ("probes.dose.halvings",),
    "period": ("campaigns.period", "campaigns.start", "drifts.at", "gates.reject", "gates.roll_back", "monitors.alarms",
               "policies.scripted.periods"),
    "periods": (
        "campaigns.periods", "campaigns.every", "defenses.forgetting-sweep.every", "drifts.every", "policies.at_most",
        "policies.cooldown", "policies.every", "policies.patience",
    ),
    "pieces": ("attacks.pieces", "attacks.shown"),
    "pieces of the way": ("probes.linear-path.points",),
    "pixel value of [0, 1]": (
        "attacks.low-frequency.amplitude", "attacks.sig.delta", "attacks.eps", "attacks.step", "attacks.value",
        "defenses.radius", "probes.reactivation.size", "probes.reactivation.rate",
    ),
    "pixel value of [0, 1] a step": ("drifts.brightness.amount", "drifts.std"),
    "pixels": ("attacks.margin", "attacks.place", "attacks.size", "defenses.size", "networks.size", "sources.size"),
    "possible pixel values": ("sources.range",),
    "half pixels": ("attacks.wanet.strength",),
    "random draws": ("monitors.permutations", "monitors.resamples"),
    "rate of false alarms, a share of 1": (
        "defenses.false_alarm_rate", "defenses.false_positive_rate", "defenses.level", "monitors.level",
    ),
    "relative change": ("defenses.anp.budget", "drifts.contrast.amount"),
    "restarts": ("defenses.restarts",),
    "rounds": ("defenses.i-bau.rounds",),
    "rows": (
        "attacks.poison_batch", "attacks.surrogate_rows", "defenses.batch", "defenses.ewc.most", "defenses.smallest",
        "monitors.rows",
    ),
    "rows a poisoned row": ("attacks.cover_ratio",),
    "score": ("defenses.threshold",),
    "seed": ("attacks.field_seed", "attacks.pattern_seed", "sources.split_seed"),
    "share of the batch's rows": ("campaigns.rate", "campaigns.rates"),
    "share of 1": (
        "attacks.rehearsal", "attacks.surrogate_rate", "attacks.top", "defenses.agreement", "defenses.early",
        "defenses.holdout", "defenses.most", "defenses.phase", "defenses.share", "defenses.shift",
        "defenses.smoothing", "defenses.spectral-signatures.rate", "defenses.spectre.rate", "defenses.step",
        "defenses.success", "drifts.share", "probes.beyond", "probes.shares", "schedules.cut", "schedules.first",
        "schedules.rise", "schedules.step.every", "sources.test_share",
    ),
    "silhouette": ("defenses.silhouette",),
    "standard deviations": ("defenses.clp.deviations",),
    "steps": (
        "attacks.steps", "attacks.updates", "defenses.half", "defenses.mask_steps", "defenses.patience",
        "defenses.steps", "probes.steps", "probes.relearning-curve.every", "schedules.half_period",
    ),
    "terms": ("defenses.i-bau.terms",),
    "times a weight's size": ("defenses.ft-sam.radius",),
    "versions": ("defenses.versions", "defenses.least", "defenses.fresh", "defenses.scripted.back"),
    "weight": (
        "defenses.clean", "defenses.harm", "defenses.penalty", "defenses.push", "defenses.shared", "defenses.strength",
        "defenses.weight",
    ),
    "weight decay": ("defenses.decay", "optimizers.weight_decay"),
    "weights' L2 norm": ("attacks.flat-minimum.radius",),
}  # fmt: skip

#: dotted option -> its unit
UNITS: Final = {option: unit for unit, options in _OPTIONS.items() for option in options}


def unit_of(kind: str, name: str, option: str) -> str:
    """Return the unit of an option of a plug-in; empty where it has none, or none is known.

    >>> unit_of("attacks", "patch", "size"), unit_of("probes", "reactivation", "size"), unit_of("attacks", "no", "such")
    ('pixels', 'pixel value of [0, 1]', '')
    """
    return UNITS.get(f"{kind}.{name}.{option}", UNITS.get(f"{kind}.{option}", ""))

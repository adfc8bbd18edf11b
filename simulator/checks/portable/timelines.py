"""The standard timelines of `ebbdoor numerics`: small, and between them every library that sums floats."""

from __future__ import annotations

from typing import Any, Final

_COMMON: Final[dict[str, Any]] = {
    "numerics": "portable",
    "device": "cpu",
    "threads": 1,
    "attack": {"use": "patch", "target": 0, "size": 2},
    "monitor": {"use": "mmd"},
}
_DIGITS: Final[dict[str, Any]] = {
    "source": {"use": "digits"},
    "stream": {"base": 300, "batch": 100, "validation": 100, "relearning": 20, "test": 100},
    "trusted": {"images": 50},
}
_PHOTOS: Final[dict[str, Any]] = {
    "source": {"use": "fashion-mnist"},
    "stream": {"base": 2000, "batch": 500, "validation": 200, "relearning": 40, "test": 500},
    "drift": [{"use": "rotation", "degrees": 5, "pattern": "gradual"}],
    "trusted": {"images": 200},
}

#: name -> scenario. `digits` is the quickest; the others train longer, so that one bit that differs spreads.
TIMELINES: Final[dict[str, dict[str, Any]]] = {
    "digits": {
        **_COMMON,
        **_DIGITS,
        "periods": 1,
        "campaign": {"use": "one-shot", "period": 0, "rate": 0.1},
        "recipe": {"base": {"epochs": 2}, "update": {"epochs": 1}},
        "probes": [{"use": "attack-success"}, {"use": "dose", "images": 50}],
    },
    "standard-cnn": {
        **_COMMON,
        **_PHOTOS,
        "periods": 4,
        "campaign": {"use": "one-shot", "period": 0, "rate": 0.05},
        "recipe": {
            "base": {"epochs": 4, "schedule": {"use": "one-cycle", "peak": 0.1}},
            "update": {"epochs": 4, "schedule": {"use": "slanted-triangular", "peak": 0.3}},
        },
        "probes": [{"use": "attack-success"}, {"use": "dose", "images": 200}, {"use": "relearning", "poisoned": 4}],
    },
    "compact-cnn": {
        **_COMMON,
        **_PHOTOS,
        "periods": 2,
        "attack": {"use": "blend", "target": 0},
        "campaign": {"use": "one-shot", "period": 0, "rate": 0.05},
        "recipe": {
            "network": {"use": "compact-cnn"},
            "base": {"epochs": 4, "optimizer": {"use": "adamw"}, "schedule": {"use": "cosine", "peak": 0.003}},
            "update": {"epochs": 2, "optimizer": {"use": "adamw"}, "schedule": {"use": "constant", "rate": 0.001}},
        },
        "defenses": [{"use": "activation-clustering", "smallest": 8}, {"use": "fine-pruning", "epochs": 1}],
        "probes": [{"use": "attack-success"}],
    },
    "resnet20": {
        **_COMMON,
        **_DIGITS,
        "periods": 1,
        "campaign": {"use": "one-shot", "period": 0, "rate": 0.1},
        "recipe": {"network": {"use": "resnet20"}, "base": {"epochs": 2}, "update": {"epochs": 1}},
        "probes": [{"use": "attack-success"}],
    },
}

"""What defenses cost a study beside the seconds of their own calls: the same timelines with defenses and without.

A real study of two arms, one worker, in rounds of ten seeds, so that both arms meet the same load. The defenses run
confined and in processes of their own, as they do by default. Seconds are wall-clock: measure on quiet cores.

    python -m benchmarks.defended_study --seeds 50
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from simulator.bench.rounds import spread
from simulator.study.executors.processes import Processes
from simulator.study.load import study_of
from simulator.study.rows import timeline_rows
from simulator.study.run import play_study

#: one of each surface but training, which takes the platform's own place
DEFENSES: Final = ("activation-clustering", "fine-pruning", "strip")
_STUDY: Final = {
    "name": "defended-study",
    "scenario": {
        "periods": 5,
        "device": "cpu",
        "source": {"use": "fashion-mnist"},
        "stream": {"base": 4000, "batch": 1000, "validation": 200, "test": 500},
        "trusted": {"images": 300, "from": "latest"},
        "attack": {"use": "patch", "target": 0, "size": 3},
        "campaign": {"use": "drip", "start": 1, "periods": 5, "rate": 0.02},
        "recipe": {"network": {"use": "compact-cnn"}},
        "probes": [{"use": "attack-success"}],
        "twins": [],
        "arms": {"bare": {}, "defended": {"defenses": [{"use": name} for name in DEFENSES]}},
    },
}
#: seeds of a round
_ROUND: Final = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Play the rounds, and print what they come to."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.defended_study", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=50, help="how many; two timelines for each")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    chosen = parser.parse_args(arguments)
    rounds = [range(first, min(first + _ROUND, chosen.seeds)) for first in range(0, chosen.seeds, _ROUND)]
    rows = [row for seeds in rounds for row in _played(seeds)]
    found = costs(rows)
    sys.stdout.write((json.dumps(found) if chosen.format == "json" else text_of(found)) + "\n")


def _played(seeds: Sequence[int]) -> Iterator[Mapping[str, Any]]:
    sys.stderr.write(f"seeds {seeds[0]} to {seeds[-1]}\n")
    with tempfile.TemporaryDirectory() as folder:
        study = study_of({**_STUDY, "seeds": list(seeds)}, None)
        # without a cache: the second arm would find the first one's base
        yield from timeline_rows(play_study(study, Path(folder), Processes(1), cache=None))


def costs(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the seconds of all timelines by arm, those of the defenses' calls, and what defenses cost beside them.

    `beside` is what the defended timelines took longer than the bare ones and the calls together, as a share of the
    calls; `beside_by_seed` its median, least and greatest over the seeds. Rows are of a timelines table.
    """
    arms = {name: {row["seed"]: row for row in rows if row["arm"] == name} for name in ("bare", "defended")}
    pairs = [(arms["bare"][seed], arms["defended"][seed]) for seed in sorted(arms["bare"])]
    bare, defended = (sum(pair[place]["seconds"] for pair in pairs) for place in (0, 1))
    own = sum(mine["defense_seconds"] for _, mine in pairs)
    by_seed = [
        (mine["seconds"] - base["seconds"] - mine["defense_seconds"]) / mine["defense_seconds"] for base, mine in pairs
    ]
    return {
        "timelines": len(rows),
        "bare_seconds": round(bare, 1),
        "defended_seconds": round(defended, 1),
        "defense_seconds": round(own, 1),
        "beside": round((defended - bare - own) / own, 4),
        "beside_by_seed": spread([round(one, 4) for one in by_seed]),
    }


def text_of(found: Mapping[str, Any]) -> str:
    """Return the figures as lines."""
    seeds = found["beside_by_seed"]
    return (
        f"{found['timelines']} timelines: {found['bare_seconds']} s without defenses, {found['defended_seconds']} s "
        f"with, of which {found['defense_seconds']} s are the defenses' calls\n"
        f"beside their calls defenses cost {found['beside']:+.1%} of them "
        f"(by seed: {seeds['median']:+.1%}, {seeds['min']:+.1%} to {seeds['max']:+.1%})"
    )


if __name__ == "__main__":
    main()

"""Every name that ebbdoor gives to something in MLflow: tags, metrics and artifacts. The one place for them.

Bookkeeping is read again by ebbdoor: changing it by hand breaks a run. What is for people is written and not
read (one exception, `GATE_VERSION`, is marked). Three kinds of names are made elsewhere: MLflow's params are the keys
that an arm overrides in its scenario, readings bear their probe's names (`clean/accuracy`), and a lock's tags are the
fields of `simulator.system.holder.Holder`. Names of registered models are in `registry/naming.py`, aliases in
`production/lineage.py`.
"""

from __future__ import annotations

import re

from simulator.records import LineageKey

# --- tags of MLflow runs, logged models, model versions and registered models: bookkeeping
#: the name of the ebbdoor run, on everything that belongs to it
RUN = "run"
#: the name of the lineage, such as `main.twin`; the run's parent has none
LINE = "line"
#: on the parent: `head.json` is stored whole, so the run is no longer being opened
HEAD = "head"
#: SHA-256 of the scenario and of the source: another one is refused
SCENARIO_DIGEST = "scenario_digest"
SOURCE_DIGEST = "source_digest"
#: `running`, `open`, `finished`, `failed` or `interrupted`, as the run was last left; `diverged` for what ended early
STATUS = "status"
#: + `0007`: the period is committed; the value is the SHA-256 of its record
PERIODS = "period."
#: on a lineage's run: how many periods its arm had committed when the run was last closed; a tag may be lost since
COMMITTED = "committed"
#: + `0007.00`: an operator action after that period, with its number; the value is its SHA-256
ACTIONS = "action."
#: on a lineage's run: training diverged; the value is the JSON of `LineageEnd`
ENDED = "ended"
#: the ordinal of a version among its lineage's, from 0; people are shown MLflow's own number, which begins at 1
VERSION = "ordinal"
#: what earlier releases called it
FORMER_VERSION = "version"
#: the period that a version was trained in
PERIOD = "period"
#: SHA-256 of a version's weights
WEIGHTS = "weights"
#: on a model version: the logged model that holds its files
MODEL_ID = "model_id"
#: on a logged model whose files are being removed: it is no version any more, whatever its status says
REMOVED = "files_removed"
#: on everything of a run that `ebbdoor delete` was asked to remove: if it is killed, `reconcile` may go on with it
DELETE = "delete_asked"
#: on the experiment that holds our runs: it is known again when it was renamed
OURS = "holds_ebbdoor_runs"

# --- tags: for people
#: the scenario's name and seed, the arm, which twin it is (`none`, `paced`, `free`), and whether it is one
SCENARIO, SEED, ARM, CONTROL, TWIN = "scenario", "seed", "arm", "control", "twin"
#: the ordinal of the version that a version was trained from, or `none`
PARENT = "parent_ordinal"
#: on a version: what the gate did with it, and why
GATE = "gate"
#: on a version that an operator's roll-back has left: after which period, to which version, why
ROLLED_BACK = "rolled_back"
#: + reading, on the lineage's run: why the reading has no value
UNDEFINED = "undefined."
#: why nothing can be said of a backdoor, on a version and on the run that it serves in
NO_VERDICT = "no_verdict"
#: + surface.name, on a version: what a defense decided about it
OUTCOME = "outcome."
#: after OUTCOME's name: the outcome is about the version that served before
ON_CHAMPION = ".champion"
#: + kind.name, on a version: what a defense asked for when it looked at it, and what became of that
REQUEST = "request."
#: + surface.name, on a version: which scores and images of a defense lie among its files, and where
SHOWN = "shown."
#: + surface.name, on a version or a logged model: what an audit found by a defense, and what that has cost
AUDIT, AUDIT_COST = "audit.", "audit_cost."
#: MLflow's own: the parent of a run, and the link from a logged model to its row in the registry
MLFLOW_PARENT = "mlflow.parentRunId"
MLFLOW_LINK = "mlflow.modelVersions"

# --- metrics of a lineage's run, a point a period: for people
#: + reading: of a champion that was promoted earlier; of a candidate that was refused
SERVING, CANDIDATE = "serving/", "candidate/"
#: what the monitor reports
DRIFT_SCORE, DRIFT_THRESHOLD, DRIFT_P_VALUE = "drift/score", "drift/threshold", "drift/p_value"
#: 1 when it alarmed, else 0
DRIFT_ALARM = "drift/alarm"
#: + kind: 1 in a period in which the monitor named that kind of drift; no point in the others
DRIFT_KIND = "drift/kind_"
#: + drift: its true magnitude; poisoned rows / all rows. Both only the simulated world knows
TRUE_DRIFT, POISON_RATE = "drift/true_", "world/poison_rate"
#: + name: a number that the gate looked at
GATE_NUMBERS = "gate/"
#: 1 when a version was promoted, or trained, else 0
GATE_PROMOTED, GATE_RETRAINED = "gate/promoted", "gate/retrained"
#: the ordinal of the version that serves. Bookkeeping too: the time of its point is the period's
GATE_VERSION = "gate/ordinal"
#: what earlier releases called it
FORMER_GATE_VERSION = "gate/version"
#: + stage + SECONDS: how long a stage took; and the peak of memory on the device in bytes
COST, SECONDS, DEVICE_MEMORY = "cost/", "_seconds", "cost/device_memory_bytes"

# --- artifacts of MLflow runs: bookkeeping
#: of the parent: what opened the run
HEAD_FILE = "head.json"
#: of a lineage's run: folders of committed periods and of operator actions, a JSON file each
PERIODS_FOLDER, ACTIONS_FOLDER = "periods", "actions"

# --- files of a logged model
#: bookkeeping: weights, and what rebuilds the network
WEIGHTS_FILE, ARCHITECTURE_FILE = "artifacts/weights.safetensors", "artifacts/architecture.json"
#: for people: + period + `.json`, what the defenses found about the version, with their evidence; the folder of that
#: name holds the scores and images that they showed
OUTCOMES_FILE = "outcomes/period-"
#: for people: the folder of what audits found, with their evidence, a JSON file for each defense
AUDITS_FOLDER = "audits"

#: MLflow cuts run tags over 8,000 characters silently; a table cell should not be that long either.
LONGEST = 1000
_CUT = " … (cut)"


def lineage_tags(lineage: LineageKey) -> dict[str, str]:
    """Return the tags by which a run or a version belongs to a lineage."""
    return {LINE: lineage.name, ARM: lineage.arm, TWIN: str(lineage.control != "none").lower()}


def period_key(period: int) -> str:
    """Return `period.0007`: the tag that commits a period."""
    return f"{PERIODS}{period:04d}"


def safe_key(text: str) -> str:
    """Return `text` as a metric or tag key: characters that MLflow refuses become `_`, at most 250 of them."""
    return re.sub(r"[^A-Za-z0-9_./ -]", "_", text)[:250]


def cut(text: str) -> str:
    """Return `text` short enough for a tag; what is cut away says so."""
    return text if len(text) <= LONGEST else text[: LONGEST - len(_CUT)] + _CUT

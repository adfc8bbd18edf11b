"""The flow `audit`: defenses asked about models that are registered already, now or by a schedule."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from prefect import State, flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.states import Completed

from flows.allowed import check_names_in_flow
from flows.parameters import AuditDefenses, AuditSeconds, ImagesFile, ModelAddresses, Seed, TrustedFile
from flows.reporting.away import unless_away
from flows.reporting.stamps import AUDIT, stamp
from flows.settings import default_workspace

if TYPE_CHECKING:
    from flows.audits.perform import Audited
    from simulator.production.registry.mlflow.model_reader import Readable


@flow(name="audit", persist_result=False, validate_parameters=True)  # type: ignore[untyped-decorator]
def audit(
    models: ModelAddresses,
    defenses: AuditDefenses,
    trusted: TrustedFile | None = None,
    images: ImagesFile | None = None,
    seed: Seed = 0,
    seconds: AuditSeconds = 120.0,
) -> State[dict[str, Any]]:
    """Ask inspectors, repairs and screens about registered models, and write what they find to the models.

    A model that an inspector flags raises the event `ebbdoor.audit.flag`. Nothing is unpickled.
    """
    from flows.audits.order import AuditOrder
    from flows.audits.perform import Store, perform
    from flows.audits.rows import as_text, as_values, summary
    from flows.reporting.flags import tell_flag

    order = AuditOrder(models, defenses, trusted, images, seed=seed, seconds=seconds)
    check_names_in_flow({use.use for use in order.uses().values()})
    unless_away(stamp, f"{AUDIT}{models[0]}")
    logger = get_run_logger()

    def listen(audited: Audited) -> None:
        finding = audited.finding
        logger.info("%s, %s: %s, %s", audited.stored.uri, finding.outcome.name, finding.verdict, finding.said)
        tell_flag(audited)

    def expect(readable: Readable) -> None:
        check_names_in_flow({readable.architecture.network.use})

    store = Store(os.environ.get("MLFLOW_TRACKING_URI") or None, default_workspace())
    done = perform(order, store, listen, expect)
    told = summary(done)
    unless_away(create_table_artifact, [as_text(one) for one in done], key="audit", description=told)
    flagged = any(one.finding.flagged for one in done)
    data = {"flagged": flagged, "findings": [as_values(one) for one in done]}
    return Completed(name="Flagged" if flagged else "Completed", message=told, data=data)

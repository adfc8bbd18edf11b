"""What a person can do to a run in MLflow's pages, each as one call of MLflow's own client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Act = Callable[[Any, "Place"], None]
NAME = "ebbdoor.live.main"


class Place:
    """Where a run lies in MLflow; what belongs to somebody else is named `FOREIGN`."""

    FOREIGN = ("colleagues", "mine", "9999")

    def __init__(self, client: Any) -> None:
        self.client = client
        self.experiment = str(client.get_experiment_by_name("ebbdoor").experiment_id)
        found = client.search_runs([self.experiment], "tags.run = 'live'")
        self.runs = {item.info.run_name: item.info.run_id for item in found}


def _alias_to(number: str) -> Act:
    return lambda client, place: client.set_registered_model_alias(NAME, "champion", number)


def _foreign_version(client: Any, place: Place) -> None:
    client.create_model_version(NAME, "s3://somewhere/else", tags={"owner": "colleagues"})
    client.set_registered_model_alias(NAME, "mine", "4")


def _experiment_renamed(client: Any, place: Place) -> None:
    client.rename_experiment(place.experiment, "my experiment")


def _run_deleted(name: str) -> Act:
    return lambda client, place: client.delete_run(place.runs[name])


def _run_tag_deleted(name: str, key: str) -> Act:
    return lambda client, place: client.delete_tag(place.runs[name], key)


def _model_deleted(client: Any, place: Place) -> None:
    query = "tags.run = 'live' AND tags.line = 'main' AND tags.ordinal = '2'"
    (model,) = client.search_logged_models([place.experiment], query)
    client.delete_logged_model(model.model_id)


def _row_tag(number: str, key: str, value: str) -> Act:
    return lambda client, place: client.set_model_version_tag(NAME, number, key, value)


def _model_tag(ordinal: str, key: str, value: str) -> Act:
    def act(client: Any, place: Place) -> None:
        query = f"tags.run = 'live' AND tags.line = 'main' AND tags.ordinal = '{ordinal}'"
        (model,) = client.search_logged_models([place.experiment], query)
        client.set_logged_model_tags(model.model_id, {key: value})

    return act


def _both_tags(client: Any, place: Place) -> None:
    _row_tag("1", "ordinal", "1")(client, place)
    _model_tag("0", "ordinal", "1")(client, place)


#: click -> what it does
CLICKS: Mapping[str, Act] = {
    "experiment renamed": _experiment_renamed,
    "experiment deleted": lambda client, place: client.delete_experiment(place.experiment),
    "run deleted": _run_deleted("live"),
    "run of the arm deleted": _run_deleted("main"),
    "run of the twin deleted": _run_deleted("main.twin"),
    "run renamed": lambda client, place: client.update_run(place.runs["main"], name="best so far"),
    "run's tag `run` deleted": _run_tag_deleted("main.twin", "run"),
    "run's tag `line` deleted": _run_tag_deleted("main", "line"),
    "run's tag `head` deleted": _run_tag_deleted("live", "head"),
    "run's tag `period.0001` deleted": _run_tag_deleted("main", "period.0001"),
    "run's last tag `period.0002` deleted": _run_tag_deleted("main", "period.0002"),
    "run's own tag added": lambda client, place: client.set_tag(place.runs["main"], "owner", "colleagues"),
    "model renamed": lambda client, place: client.rename_registered_model(NAME, "production"),
    "model deleted": lambda client, place: client.delete_registered_model(NAME),
    "model's tag `run` deleted": lambda client, place: client.delete_registered_model_tag(NAME, "run"),
    "alias `champion` moved to 1": _alias_to("1"),
    "alias `champion` deleted": lambda client, place: client.delete_registered_model_alias(NAME, "champion"),
    "alias `previous` deleted": lambda client, place: client.delete_registered_model_alias(NAME, "previous"),
    "alias added": lambda client, place: client.set_registered_model_alias(NAME, "mine", "1"),
    "version deleted": lambda client, place: client.delete_model_version(NAME, "1"),
    "serving version deleted": lambda client, place: client.delete_model_version(NAME, "3"),
    "version's tag added": lambda client, place: client.set_model_version_tag(NAME, "2", "owner", "colleagues"),
    "version's tag deleted": lambda client, place: client.delete_model_version_tag(NAME, "2", "line"),
    "version added": _foreign_version,
    "logged model deleted": _model_deleted,
    "version's tag `period` edited": _row_tag("1", "period", "3"),
    "version's tag `ordinal` edited": _row_tag("1", "ordinal", "1"),
    "version's tag `model_id` edited": _row_tag("1", "model_id", "m-0"),
    "version's tag `weights` edited": _row_tag("1", "weights", "0" * 64),
    "logged model's tag `ordinal` edited": _model_tag("0", "ordinal", "1"),
    "logged model's tag `ordinal` edited to the next": _model_tag("0", "ordinal", "3"),
    "logged model's tag `period` edited": _model_tag("0", "period", "3"),
    "logged model's tag `line` edited": _model_tag("0", "line", "main.twin"),
    "tag `ordinal` edited everywhere": _both_tags,
}

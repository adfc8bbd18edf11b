"""A flow gives the records of one process, bit for bit; those are compared with earlier versions in tests/golden."""

from __future__ import annotations

import pytest
from prefect import flow

from flows.tasks import as_task

from ..golden.scenarios import Digests, differences, digests, played


@pytest.mark.parametrize("name", ["digits", pytest.param("decisions", marks=pytest.mark.slow)])
def test_a_flow_gives_the_same_records_as_one_process(name: str, prefect_server: None) -> None:
    @flow(name="golden", persist_result=False)
    def golden() -> Digests:
        return digests(played(name, wrap=as_task))

    assert differences(name, digests(played(name)), golden()) == []

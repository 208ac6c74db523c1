from __future__ import annotations

import os

import pytest
from ray.train.v2._internal.constants import WORKER_GROUP_START_TIMEOUT_S_ENV_VAR as TIMEOUT

from dfkd.cluster import data_parallel
from dfkd.cluster.data_parallel import allow_for_booting


@pytest.mark.parametrize(
    ("autoscales", "given", "timeout"), [(True, None, "600"), (True, "900", "900"), (False, None, None)]
)
def test_workers_wait_for_nodes_that_must_boot(
    monkeypatch: pytest.MonkeyPatch, autoscales: bool, given: str | None, timeout: str | None
) -> None:
    monkeypatch.setattr(data_parallel, "autoscales", lambda: autoscales)
    monkeypatch.setenv(TIMEOUT, given or "")
    if given is None:
        monkeypatch.delenv(TIMEOUT)
    allow_for_booting()
    assert os.environ.get(TIMEOUT) == timeout

"""The installed Prefect server really works: a later release of a dependency can break any of this without a word."""

from __future__ import annotations

import time

import pytest


def test_cron_deployment_gets_scheduled_runs(prefect_api: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.schedules import CronSchedule

    from flows.retrain import retrain

    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(retrain)
        # the client's own call for a deployment is asynchronous only
        body = {
            "name": "nightly",
            "flow_id": str(flow_id),
            "enforce_parameter_schema": False,
            "schedules": [{"schedule": CronSchedule(cron="* * * * *").model_dump(mode="json"), "active": True}],
        }
        deployment = client.request("POST", "/deployments/", json=body).json()
        wanted = {"deployments": {"id": {"any_": [deployment["id"]]}}}
        end = time.monotonic() + 60
        while not (runs := client.request("POST", "/flow_runs/filter", json=wanted).json()):
            assert time.monotonic() < end, "the scheduler made no run of a cron deployment"
            time.sleep(0.5)
        assert {run["state_type"] for run in runs} == {"SCHEDULED"}
        client.request("DELETE", f"/deployments/{deployment['id']}")


@pytest.mark.parametrize("name", ["DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY", "DVC_NO_ANALYTICS"])
def test_nobody_is_told_what_runs_here(name: str, prefect_api: str) -> None:
    import os

    assert os.environ[name] in {"1", "true"}

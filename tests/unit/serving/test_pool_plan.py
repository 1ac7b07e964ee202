"""What an application of the configuration changes on a cluster, and what it leaves alone."""

import copy
from typing import Any

import pytest

from serving.engine_spec import EngineSpec
from serving.pool_plan import Change, Plan, plan
from serving.ray_app import MANAGED_BY, Pool, Scaling, app_config

APP = "tollgate-demo-h100"


def planned(state: dict[str, Any], *wanted: dict[str, Any], prune: bool = False) -> Plan:
    return plan(state, wanted, prune=prune, host="10.0.0.1", proxy_port=8000)


def running(*apps: dict[str, Any]) -> dict[str, Any]:
    return {
        "http_options": {"host": "127.0.0.1", "port": 4321},
        "applications": {
            app["name"]: {"status": "RUNNING", "deployed_app_config": copy.deepcopy(app)}
            for app in apps
        },
    }


@pytest.fixture
def app(tiny_spec: EngineSpec) -> dict[str, Any]:
    scaling = Scaling(replicas_min=0, replicas_max=2)
    return app_config(tiny_spec, Pool(name="h100", scaling=scaling, managed_by=MANAGED_BY))


def test_on_an_empty_cluster_all_is_created(app: dict[str, Any]) -> None:
    found = planned({"applications": {}}, app)
    assert found.changes == {APP: Change.CREATED}
    assert found.is_needed
    (created,) = found.config["applications"]
    assert created["deployments"][0]["autoscaling_config"].pop("initial_replicas") == 0
    assert created == app
    assert found.config["http_options"] == {"host": "10.0.0.1", "port": 8000}


def test_only_a_pool_that_may_have_none_is_created_with_none(tiny_spec: EngineSpec) -> None:
    for least, most in ((1, 2), (1, 1)):
        pool = Pool(scaling=Scaling(replicas_min=least, replicas_max=most))
        app = app_config(tiny_spec, pool)
        assert planned({"applications": {}}, app).config["applications"] == [app]


def test_what_was_created_with_none_keeps_the_replicas_that_it_has_by_now(
    app: dict[str, Any],
) -> None:
    (created,) = planned({"applications": {}}, app).config["applications"]
    assert planned(running(created), app).changes == {APP: Change.UNCHANGED}
    more = copy.deepcopy(app)
    more["deployments"][0]["autoscaling_config"]["max_replicas"] = 5
    adjusted = planned(running(created), more)
    assert adjusted.changes == {APP: Change.ADJUSTED}
    assert adjusted.config["applications"] == [more], "Serve would go back to none"


def test_what_runs_as_wanted_is_not_touched_and_serve_keeps_its_address(
    app: dict[str, Any],
) -> None:
    found = planned(running(app), app)
    assert found.changes == {APP: Change.UNCHANGED}
    assert not found.is_needed
    assert found.config["http_options"]["port"] == 4321


def test_an_engines_change_rolls_and_a_bounds_change_does_not(app: dict[str, Any]) -> None:
    before = running(app)
    more = copy.deepcopy(app)
    more["deployments"][0]["autoscaling_config"]["max_replicas"] = 5
    assert planned(before, more).changes == {APP: Change.ADJUSTED}
    fixed = copy.deepcopy(app)
    del fixed["deployments"][0]["autoscaling_config"]
    fixed["deployments"][0]["num_replicas"] = 1
    assert planned(before, fixed).changes == {APP: Change.ADJUSTED}
    told = copy.deepcopy(app)
    told["deployments"][0]["user_config"]["node"]["tier"] = 3
    assert planned(before, told).changes == {APP: Change.ADJUSTED}
    args = copy.deepcopy(app)
    args["args"]["argv"] += ["--seed", "1"]
    assert planned(before, args).changes == {APP: Change.ROLLED}
    moved = copy.deepcopy(app)
    moved["deployments"][0]["ray_actor_options"]["label_selector"] = {"gpu-type": "b200"}
    assert planned(before, moved).changes == {APP: Change.ROLLED}


def test_applications_of_others_stay_and_ours_go_only_when_pruned(app: dict[str, Any]) -> None:
    foreign = {"name": "theirs", "import_path": "a:b", "route_prefix": "/x"}
    gone = {**copy.deepcopy(app), "name": "old-h100"}
    before = running(app, foreign, gone)
    before["applications"]["by-code"] = {"status": "RUNNING", "deployed_app_config": None}
    left = planned(before, app)
    assert left.changes == {APP: Change.UNCHANGED, "old-h100": Change.LEFT}
    assert not left.is_needed
    pruned = planned(before, app, prune=True)
    assert pruned.changes["old-h100"] is Change.REMOVED
    assert [each["name"] for each in pruned.config["applications"]] == ["theirs", APP]

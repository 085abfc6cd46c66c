"""Two pipelines in one Dagster instance and one MLflow: neither sees the other."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import pytest
from alert_servers import web_sink
from databases import copy_database
from projects import mixed

from mlops_assets.automation.run_lookup import TRIGGER_TAG, PipelineRuns
from mlops_assets.steps.catalog import ASSETS
from mlops_assets.wiring.pipeline import Pipeline

TODAY = dt.datetime.now(dt.timezone.utc).date()
DAYS = [(TODAY - dt.timedelta(days=back)).isoformat() for back in (3, 2, 1)]
RANGE = {"dagster/asset_partition_range_start": DAYS[0], "dagster/asset_partition_range_end": DAYS[-1]}


class Team:
    """A pipeline with its data, code location and web hook."""

    def __init__(self, make_settings, folder, name, sink, bad):
        settings = make_settings(
            pipeline=name,
            home=folder / name / ".mlops",
            data_dir=folder / name / "data",
            tracking_uri=f"sqlite:///{folder}/mlflow/mlflow.db",
            source="files",
            start_date=DAYS[0],
            alert_urls=sink.url,
            automate=True,
            settle_seconds=0,
        )
        self.name, self.bad, self.sink, self.pipeline = name, bad, sink, Pipeline(settings=settings)
        self.tracking, self.names = self.pipeline.tracking, self.pipeline.names
        self.repository, self.cursors = self.pipeline.definitions.get_repository_def(), {}
        for seed, ds in enumerate(DAYS):
            raw = self.pipeline.store.folder("raw_data", ds)
            raw.mkdir(parents=True)
            data, target = mixed(seed=seed, first_id=1_000 * seed)
            (raw / "data.csv").write_text(data + "1,2\n" * (ds == bad))
            (raw / "target.csv").write_text(target)

    def run(self, instance):
        """All assets over all days, as the command line does it."""
        return dg.materialize(
            self.pipeline.assets,
            instance=instance,
            resources=self.pipeline.resources,
            tags={**RANGE, **self.names.tags},
            raise_on_error=False,
        )

    def tick(self, instance, sensor):
        """What a sensor says."""
        definition = self.repository.get_sensor_def(self.names.of(sensor))
        cursor = self.cursors.get(sensor)
        with dg.build_sensor_context(instance, cursor=cursor, repository_def=self.repository) as context:
            result = definition.evaluate_tick(context)
        self.cursors[sensor] = result.cursor
        return result

    def materialized(self, instance):
        return {asset: instance.get_materialized_partitions(self.names.asset_key(asset)) for asset in ASSETS}


@pytest.fixture
def teams(make_settings, tmp_path, tracking_template):
    (tmp_path / "mlflow").mkdir()
    copy_database(tracking_template, tmp_path / "mlflow" / "mlflow.db")
    with web_sink() as first, web_sink() as second:
        yield (
            Team(make_settings, tmp_path, "a", first, bad=DAYS[1]),
            Team(make_settings, tmp_path, "b", second, bad=DAYS[2]),
        )


@pytest.mark.slow
def test_two_pipelines_do_not_see_each_other(teams, instance):
    a, b = teams
    # given two code locations: no job, sensor or schedule has one name in both
    assert not names_in(a.repository) & names_in(b.repository)
    for team in teams:
        assert team.tick(instance, "alerts").skip_message == "Nothing new."
    # when one has made its days, of which one is broken
    assert not a.run(instance).success
    # then the other has none, no version, no alert, and starts its own
    assert not any(b.materialized(instance).values())
    assert b.tracking.registry.versions() == []
    assert b.tracking.registry.production() is None
    assert b.tick(instance, "alerts").skip_message == "Nothing new."
    assert PipelineRuns(b.names, instance.get_runs()).days("predict") == set()
    assert PipelineRuns(a.names, instance.get_runs()).days("predict") == set(DAYS)
    requests = b.tick(instance, "download_when_ready").run_requests
    assert {one.partition_key for one in requests} == set(DAYS)
    assert all(one.tags[TRIGGER_TAG].startswith("b_download/") for one in requests)
    # when the other has made its days, too
    assert not b.run(instance).success
    # then each has its good days, a version of its own model in production, and nothing left to judge
    for team in teams:
        good = set(DAYS) - {team.bad}
        made = team.materialized(instance)
        assert made["predictions"] == made["metrics"] == good, team.name
        assert team.tracking.config.model_name == team.name
        versions = team.tracking.registry.versions()
        assert {one.ds for one in versions} == good
        serving = team.tracking.registry.production()
        assert serving.number in {one.number for one in versions}
        for ds in good:
            assert team.pipeline.store.require("predictions", ds).metadata["model_name"] == team.name
    # and each was alerted of its own failure and its own promotion
    for team, other in ((a, b), (b, a)):
        team.tick(instance, "alerts")
        text = "\n".join(f"{one['title']}\n{one['message']}" for one in team.sink.posts)
        assert f"raw/{team.bad}/data.csv" in text
        assert f"raw/{other.bad}/data.csv" not in text
        assert sum("went to production" in one["title"] for one in team.sink.posts) == 1, text
    # and a promotion by hand of one moves nothing of the other
    before = b.tracking.registry.production()
    other_version = next(one for one in a.tracking.registry.versions() if one.stage != "Production")
    a.tracking.registry.promote(other_version.number, reason="by hand", by="a user", scores=None)
    assert b.tracking.registry.production() == before
    assert len(b.tracking.registry.history()) == 1
    assert len(a.tracking.registry.history()) == 2


def names_in(repository):
    jobs = {job for job in repository.job_names if not job.startswith("__")}
    return jobs | {one.name for one in (*repository.sensor_defs, *repository.schedule_defs)}

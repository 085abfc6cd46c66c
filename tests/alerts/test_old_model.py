"""When the model that predicts is too old, and that this is sent once for each version."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass

import pytest

from mlops_assets.alerts.old_model import OldModel
from mlops_assets.alerts.sensor import LOOK_AT_MODEL_SECONDS
from mlops_assets.errors import MlopsAssetsError
from mlops_assets.names import Names
from mlops_assets.wiring import assembly

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.timezone.utc)


@dataclass
class Serving:
    number: int = 3
    trained_through: str = "2026-01-15"
    created: dt.datetime = dt.datetime(2026, 1, 20, tzinfo=dt.timezone.utc)


def old_model(version, days=30):
    return OldModel(Names(""), lambda: version, days, lambda number: f"http://mlflow/{number}")


def test_the_alert_says_how_old_and_what_to_look_at():
    # given a version that was trained through 45 days ago / when / then
    (alert,) = old_model(Serving())(NOW)
    assert (alert.kind, alert.title) == ("old_model", "Version 3, which predicts, is 45 days old")
    assert alert.body == (
        "It was trained on data up to 2026-01-15. An alert is sent after 30 days (MLOPS_MODEL_MAX_AGE_DAYS).\n"
        "Look whether job train runs, and what the gate says of newer versions: mlops-assets models list.\n"
        "This is sent once for each version.\n\nModel: http://mlflow/3"
    )
    # and what was registered by hand is as old as its registration
    (alert,) = old_model(Serving(trained_through=""))(NOW)
    assert "is 40 days old" in alert.title
    assert "registered on 2026-01-20" in alert.body


@pytest.mark.parametrize(("version", "days"), [(Serving(), 45), (Serving(), 0), (None, 30)])
def test_no_alert_of_a_young_model_nor_where_it_is_off_nor_without_a_model(version, days):
    assert old_model(version, days)(NOW) == []


def test_a_version_is_sent_once_and_looked_at_once_an_hour(watch, sink):
    # given a sensor, and a registry that is away, then has an old model, and then another one
    looks, serving = [], [None]

    def ask():
        looks.append(serving[0])
        if serving[0] == "away":
            raise MlopsAssetsError("MLflow is away")
        return serving[0]

    sensor = watch(old_model=OldModel(Names(""), ask, 30, lambda _number: None))
    # when it ticks several times an hour
    for serving[0] in ("away", Serving(), Serving(), Serving(number=4)):
        seen = json.loads(sensor.cursor)
        sensor.cursor = json.dumps({**seen, "until": seen["until"] - LOOK_AT_MODEL_SECONDS})
        sensor.tick()
        sensor.tick()
    # then each version is one message, and so is the failure
    assert [one["title"].partition(" is ")[0] for one in sink.posts] == [
        "sensor alerts, reading the model that predicts, failed",
        "Version 3, which predicts,",
        "Version 4, which predicts,",
    ]
    # and the registry was asked less often
    assert looks[:2] == [None, "away"]
    assert len(looks) < 9


@pytest.mark.parametrize("pinned", [{}, {"model_version": 1}])
def test_the_version_in_production_or_the_pinned_one_is_looked_at(serving, pinned):
    # given a model that was trained long ago
    project = serving(alert_urls="json://127.0.0.1", model_max_age_days=7, **pinned)
    launcher = assembly.build_launcher(project.settings, project.tracking)
    alerting = assembly.build_alerting(project.settings, launcher, project.tracking)
    # when / then
    (alert,) = alerting.old_model(NOW)
    assert "trained on data up to 2024-01-01" in alert.body
    assert "Model: http://127.0.0.1:5000/#/models/" in alert.body

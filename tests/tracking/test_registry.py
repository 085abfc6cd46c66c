"""Registering, promoting, rolling back, loading; on a real SQLite store."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from tracking_samples import config

from mlops_assets.tracking import Tracking, TrackingError, UntrustedModelError
from mlops_assets.tracking import history as log
from mlops_assets.tracking.digest import model_digest
from mlops_assets.tracking.entities import LoggedModel, Promotion


class Crash(BaseException):
    """What a kill looks like to the code after it: nothing runs any more."""


def stages(tracking):
    return {version.number: version.stage for version in tracking.registry.versions()}


def alias(tracking):
    number = tracking._connection.client.get_registered_model("churn").aliases.get("champion")
    return number if number is None else int(number)


def tags(tracking):
    return tracking._connection.client.get_registered_model("churn").tags


# Versions


def test_registered_version_tells_where_it_comes_from(tracking, train):
    # when
    version = train(tracking, digest="abc", ds="2024-03-01")
    # then
    assert (version.number, version.name, version.ds, version.digest) == (1, "churn", "2024-03-01", "abc")
    assert (version.stage, version.tags["team"]) == ("None", "blue")
    assert version.model_id.startswith("m-")
    assert version.created.utcoffset().total_seconds() == 0
    assert tracking.registry.find_version("abc") == tracking.registry.version(1) == version


def test_registering_the_same_content_again_makes_no_second_version(tracking, train):
    first = train(tracking, digest="abc")
    assert train(tracking, digest="abc", ds="2024-01-02") == first
    assert [version.number for version in tracking.registry.versions()] == [1]


def test_two_registrations_at_once_leave_the_first(three, monkeypatch):
    # given: both looked before either had registered
    registry = three.registry
    answers = iter([None])
    real = registry.find_version
    monkeypatch.setattr(registry, "find_version", lambda digest: next(answers, None) or real(digest))
    # when
    version = registry.register(LoggedModel("m-9", "/nowhere"), "", digest="d2", ds="2024-01-02", tags={})
    # then
    assert version.number == 2
    assert sorted(stages(three)) == [1, 2, 3]


def test_a_deleted_version_is_not_found(three):
    three._connection.client.delete_model_version("churn", "2")
    assert three.registry.find_version("d2") is None
    with pytest.raises(TrackingError, match=r"no version 2.*last versions are: 1, 3"):
        three.registry.version(2)


def test_latest_goes_by_partition_then_number(three):
    # given: an old day is trained again
    again = three.registry.register(LoggedModel("m-4", "/nowhere"), "", digest="d4", ds="2023-12-31", tags={})
    # then
    assert again.number == 4
    assert three.registry.latest().number == 3


def test_an_empty_registry_has_nothing(tracking):
    registry = tracking.registry
    assert (registry.versions(), registry.latest(), registry.production(), registry.history()) == ([], None, None, [])
    assert registry.find_version("x") is None
    with pytest.raises(TrackingError, match="no version was ever in production"):
        registry.rollback(reason="?", by="me")
    with pytest.raises(TrackingError, match="no version 1"):
        registry.promote(1, reason="?", by="me")


# Promotion


def test_promotion_keeps_exactly_one_version_in_production(three):
    # when
    for number in (1, 3, 2):
        three.registry.promote(number, reason=f"take {number}", by="me", scores={"auc": np.float64(0.5)})
    # then
    assert stages(three) == {1: "Archived", 2: "Production", 3: "Archived"}
    assert alias(three) == 2
    history = three.registry.history()
    assert [(entry.from_version, entry.to_version) for entry in history] == [(None, 1), (1, 3), (3, 2)]
    assert (history[0].by, history[0].reason, history[0].scores) == ("me", "take 1", {"auc": 0.5})
    assert [entry.at for entry in history] == sorted(entry.at for entry in history)


def test_promoting_warns_nobody_about_stages(three):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        three.registry.promote(1, reason="first", by="me")


def test_promoting_the_champion_again_changes_nothing(three):
    first = three.registry.promote(1, reason="first", by="me")
    again = three.registry.promote(three.registry.version(1), reason="again", by="you")
    assert (again.changed, again.reason, again.at) == (False, "first", first.at)
    assert len(three.registry.history()) == 1


def test_rollback_goes_back_step_by_step_and_never_to_what_it_undid(three):
    # given
    for number in (1, 2, 3):
        three.registry.promote(number, reason="better", by="gate")
    # when
    assert three.registry.rollback(reason="bad", by="me").to_version == 2
    assert three.registry.rollback(reason="bad too", by="me").to_version == 1
    # then
    with pytest.raises(TrackingError, match="no version was in production before version 1"):
        three.registry.rollback(reason="?", by="me")
    assert stages(three) == {1: "Production", 2: "Archived", 3: "Archived"}
    assert [entry.rollback for entry in three.registry.history()] == [False, False, False, True, True]


def test_rollback_skips_a_deleted_version(three):
    for number in (1, 2, 3):
        three.registry.promote(number, reason="better", by="gate")
    three._connection.client.delete_model_version("churn", "2")
    assert three.registry.rollback(reason="bad", by="me").to_version == 1


WRITES = [
    ("set_registered_model_tag", 1),
    ("transition_model_version_stage", 1),
    ("set_registered_model_alias", 1),
    ("set_registered_model_tag", 2),
    ("delete_registered_model_tag", 1),
]


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("method", "nth"), WRITES)
def test_a_crash_around_any_write_is_healed(method, nth, done, three, reopen, monkeypatch):
    # given: version 1 serves, and promoting version 2 dies before or after one of its writes
    three.registry.promote(1, reason="first", by="me")
    client = three._connection.client
    real, calls = getattr(client, method), []

    def dying(*args, **options):
        calls.append(args)
        if len(calls) == nth and not done:
            raise Crash
        real(*args, **options)
        if len(calls) == nth:
            raise Crash

    monkeypatch.setattr(client, method, dying)
    with pytest.raises(Crash):
        three.registry.promote(2, reason="better", by="gate")
    monkeypatch.undo()
    # when
    other = reopen(three)
    serving = other.registry.production()
    # then: one version serves, alias and history agree with it, and both directions still work
    changed = stages(three)[2] == "Production"
    assert serving.number == (2 if changed else 1)
    assert sum(stage == "Production" for stage in stages(other).values()) == 1
    assert alias(other) == serving.number
    assert log.PENDING not in tags(other)
    assert [entry.to_version for entry in other.registry.history()] == ([1, 2] if changed else [1])
    assert other.registry.promote(2, reason="better", by="gate").to_version == 2
    assert other.registry.rollback(reason="bad", by="me").to_version == 1


def test_alias_follows_the_stage_somebody_else_set(three):
    # given
    client = three._connection.client
    three.registry.promote(1, reason="first", by="me")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client.transition_model_version_stage("churn", "3", "Production", archive_existing_versions=True)
    # when, then
    assert three.registry.production().number == 3
    assert alias(three) == 3
    # and the version that served before is still known
    assert three.registry.rollback(reason="by hand", by="me").to_version == 1


def test_alias_goes_when_nothing_is_in_production(three):
    three._connection.client.set_registered_model_alias("churn", "champion", "2")
    assert three.registry.production() is None
    assert alias(three) is None


# History


def test_a_long_entry_still_fits_into_a_tag():
    promotion = Promotion("2024-01-01T00:00:00+00:00", "me" * 500, "\u00e4" * 9000, 1, 2, {"x": "y" * 9000})
    text = log.encode(7, promotion)
    assert len(text) <= 5000
    number, back = log.decode(text)
    assert (number, back.from_version, back.to_version) == (7, 1, 2)
    assert back.reason.startswith("\u00e4\u00e4")


def test_history_is_ordered_by_number_beyond_9999():
    entry = Promotion("2024-01-01T00:00:00+00:00", "me", "why", None, 1)
    written = {log.key(number): log.encode(number, entry) for number in (10000, 9999, 1)}
    assert log.next_number(written) == 10001
    assert len(log.read({**written, "mlops.promotion.pending": "?", "other": "x"})) == 3


# Loading


def test_load_returns_what_was_trained(tracking, train, fitted, data, monkeypatch):
    # given
    version = train(tracking, digest=model_digest(fitted["boosting"]), kind="boosting")
    monkeypatch.setattr("mlflow.artifacts.download_artifacts", None)
    # when: nothing is copied, the file is local
    loaded = tracking.registry.load(version)
    # then
    np.testing.assert_array_equal(loaded.predict(data[0]), fitted["boosting"].predict(data[0]))


def test_load_refuses_a_model_that_was_exchanged(tracking, train, fitted, tmp_path):
    # given
    version = train(tracking, digest=model_digest(fitted["boosting"]), kind="logistic")
    # when, then
    with pytest.raises(TrackingError, match="is not what was registered"):
        tracking.registry.load(version)


def test_load_names_the_version_whose_file_is_damaged_or_missing(tracking, train, tmp_path):
    version = train(tracking)
    (file,) = tmp_path.rglob("model.skops")
    file.write_bytes(b"no zip")
    with pytest.raises(UntrustedModelError, match="Version 1 of model 'churn'"):
        tracking.registry.load(version)
    file.unlink()
    with pytest.raises(TrackingError, match=r"has no file model\.skops"):
        tracking.registry.load(version)


def test_two_registered_models_do_not_see_each_other(three, tmp_path):
    other = Tracking(config(tmp_path, model_name="other"))
    assert other.registry.versions() == []
    assert other.registry.production() is None

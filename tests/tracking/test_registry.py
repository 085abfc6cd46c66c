"""Finding, promoting, rolling back, verdicts, fetching files; on a real SQLite store."""

from __future__ import annotations

import hashlib
import warnings
from contextlib import suppress

import numpy as np
import pytest
from crashes import Crash, dying_at
from tracking_samples import config, trained

from mlops_assets.tracking import Promotion, Tracking, TrackingError, Verdict
from mlops_assets.tracking import history as log


def stages(tracking):
    return {version.number: version.stage for version in tracking.registry.versions()}


def alias(client):
    number = client.get_registered_model("churn").aliases.get("champion")
    return number if number is None else int(number)


def numbers(versions):
    return [version.number for version in versions]


# Versions


def test_a_deleted_version_is_not_found(three, client):
    client.delete_model_version("churn", "2")
    assert three.registry.find("r2") is None
    assert set(three.registry.recipes()) == {"r1", "r3"}
    with pytest.raises(TrackingError, match=r"no version 2.*last versions are: 1, 3"):
        three.registry.version(2)


def test_recipes_names_the_first_version_of_each(three, by_hand):
    # given: two versions of one recipe, as a crash between two registrations at once leaves them
    by_hand(**{"mlops.recipe": "r2"})
    by_hand()
    # then
    assert {recipe: version.number for recipe, version in three.registry.recipes().items()} == {
        "r1": 1,
        "r2": 2,
        "r3": 3,
    }
    assert three.registry.find("r2").number == 2


def test_an_empty_registry_has_nothing(tracking):
    registry = tracking.registry
    assert (registry.versions(), registry.recipes(), registry.production(), registry.history()) == ([], {}, None, [])
    assert (registry.find("x"), registry.unjudged("rows"), registry.in_service()) == (None, [], ([], None))
    with pytest.raises(TrackingError, match="no version was ever in production"):
        registry.rollback(reason="?", by="me")
    with pytest.raises(TrackingError, match="no version 1"):
        registry.promote(1, reason="?", by="me")


def test_tags_that_a_user_edited_are_no_error(three, client):
    for name in ("mlops.verdict", "mlops.libraries"):
        for value in ("not json", "[1]", '{"unknown": 1}'):
            client.set_model_version_tag("churn", "1", name, value)
            version = three.registry.version(1)
            assert version.verdict is None
            assert isinstance(version.libraries, dict)


# Promotion


def test_promotion_keeps_exactly_one_version_in_production(three, client):
    # when
    for number in (1, 3, 2):
        three.registry.promote(number, reason=f"take {number}", by="me", scores={"auc": np.float64(0.5)})
    # then
    assert stages(three) == {1: "Archived", 2: "Production", 3: "Archived"}
    assert alias(client) == 2
    history = three.registry.history()
    assert [(entry.from_version, entry.to_version) for entry in history] == [(None, 1), (1, 3), (3, 2)]
    assert [entry.trained_through for entry in history] == ["2024-01-01", "2024-01-03", "2024-01-02"]
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


def test_rollback_skips_a_deleted_version(three, client):
    for number in (1, 2, 3):
        three.registry.promote(number, reason="better", by="gate")
    client.delete_model_version("churn", "2")
    assert three.registry.rollback(reason="bad", by="me").to_version == 1


@pytest.mark.parametrize("nth", range(1, 8))
def test_a_crash_at_any_call_of_a_promotion_is_repaired(nth, three, client, reopen):
    # given: version 1 serves, and promoting version 2 dies
    three.registry.promote(1, reason="first", by="me")
    with suppress(Crash), dying_at(nth) as calls:
        three.registry.promote(2, reason="better", by="gate")
    assert len(calls) == nth
    # when
    other = reopen(three)
    serving = other.registry.production()
    # then: one version serves, alias and history agree with it, and both directions still work
    changed = stages(other)[2] == "Production"
    assert serving.number == (2 if changed else 1)
    assert sum(stage == "Production" for stage in stages(other).values()) == 1
    assert alias(client) == serving.number
    assert log.PENDING not in client.get_registered_model("churn").tags
    assert [entry.to_version for entry in other.registry.history()] == ([1, 2] if changed else [1])
    assert other.registry.promote(2, reason="better", by="gate").to_version == 2
    assert other.registry.rollback(reason="bad", by="me").to_version == 1


def test_alias_follows_the_stage_that_was_set_by_hand(three, client):
    # given
    three.registry.promote(1, reason="first", by="me")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client.transition_model_version_stage("churn", "3", "Production", archive_existing_versions=True)
    # when, then
    assert three.registry.production().number == 3
    assert alias(client) == 3
    # and the version that served before is still known
    assert three.registry.rollback(reason="by hand", by="me").to_version == 1


def test_alias_goes_when_nothing_is_in_production(three, client):
    client.set_registered_model_alias("churn", "champion", "2")
    assert three.registry.production() is None
    assert alias(client) is None


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


# Verdicts


def verdict(outcome="rejected", basis="rows", **changes):
    return Verdict(outcome, **{"reason": "worse", "basis": basis, "at": "2024-02-01T00:00:00+00:00", **changes})


def test_a_verdict_is_kept_for_programs_and_for_people(three, client):
    # given
    kept = verdict(reason="the champion is better", scores={"challenger_score": np.float64(0.8712345), "rows": 1000})
    # when
    three.registry.record_verdict(2, kept)
    # then
    assert three.registry.version(2).verdict == kept
    description = client.get_model_version("churn", "2").description
    assert description == "Rejected on 2024-02-01: the champion is better (challenger score 0.8712, rows 1000)."


def test_a_long_verdict_still_fits_into_a_tag(three, client):
    # when
    three.registry.record_verdict(1, verdict(reason="\u00e4" * 9000, scores={"x": "y" * 9000}))
    # then
    assert len(client.get_model_version("churn", "1").tags["mlops.verdict"]) <= 5000
    assert three.registry.version(1).verdict.reason.startswith("\u00e4\u00e4")
    assert three.registry.version(1).verdict.basis == "rows"


def test_final_verdicts_are_not_asked_for_again(three):
    assert numbers(three.registry.unjudged("rows")) == [1, 2, 3]
    three.registry.record_verdict(1, verdict("rejected"))
    three.registry.record_verdict(2, verdict("promoted"))
    assert numbers(three.registry.unjudged("rows")) == [3]
    assert numbers(three.registry.unjudged("other rows")) == [3]


def test_an_undecided_version_is_judged_again_on_other_rows(three):
    three.registry.record_verdict(2, verdict("undecided", basis="rows"))
    assert numbers(three.registry.unjudged("rows")) == [1, 3]
    assert numbers(three.registry.unjudged("more rows")) == [1, 2, 3]


def test_what_a_person_decided_is_not_judged(three, client):
    # given: promoted and demoted by hand, and archived in MLflow's UI
    three.registry.promote(1, reason="by hand", by="me")
    three.registry.promote(2, reason="by hand", by="me")
    three.registry.rollback(reason="by hand", by="me")
    assert numbers(three.registry.unjudged("rows")) == [3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client.transition_model_version_stage("churn", "3", "Archived")
    # then
    assert three.registry.unjudged("rows") == []


def test_a_version_registered_by_hand_hides_nothing(three, by_hand):
    # given: a later one, with a day of its own
    by_hand(**{"mlops.ds": "2099-01-01"})
    # then
    assert numbers(three.registry.unjudged("rows")) == [1, 2, 3]


# Files


def test_fetched_files_are_those_that_were_recorded(tracking, file, tmp_path):
    # given
    version = tracking.record_model(trained(file))
    # when
    tracking.registry.fetch(version, tmp_path / "new" / "folder")
    # then
    fetched = {path.name: path.read_bytes() for path in (tmp_path / "new" / "folder").iterdir()}
    assert set(fetched) == {"model.skops", "model.json"}
    assert hashlib.sha256(fetched["model.skops"]).hexdigest() == version.sha256


def test_files_that_are_there_are_kept_and_wrong_ones_replaced(tracking, file, tmp_path):
    # given
    version = tracking.record_model(trained(file))
    into = tmp_path / "into"
    tracking.registry.fetch(version, into)
    (into / "model.json").write_text("{}")
    before = (into / "model.skops").stat()
    # when
    tracking.registry.fetch(version, into)
    # then
    assert (into / "model.json").read_text() != "{}"
    assert (into / "model.skops").stat() == before


def test_complete_files_are_fetched_without_mlflow(tracking, file, tmp_path):
    version = tracking.record_model(trained(file))
    tracking.registry.fetch(version, tmp_path / "into")
    away = Tracking(config(tmp_path, uri="http://127.0.0.1:1"))
    away.registry.fetch(version, tmp_path / "into")
    with pytest.raises(TrackingError, match="cannot be reached"):
        away.registry.fetch(version, tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["model.skops", "model.json"])
def test_changed_and_missing_artifacts_are_refused(name, tracking, file, tmp_path):
    # given
    version = tracking.record_model(trained(file))
    (artifact,) = (tmp_path / "artifacts").rglob(name)
    into = tmp_path / "into"
    # when, then
    artifact.write_bytes(b"forged")
    with pytest.raises(TrackingError, match=rf"Version 1 of model 'churn' is not what was registered: {name}"):
        tracking.registry.fetch(version, into)
    artifact.unlink()
    with pytest.raises(TrackingError, match=f"has no file {name}"):
        tracking.registry.fetch(version, into)
    assert list(into.iterdir()) == []


def test_a_version_registered_by_hand_cannot_be_fetched(three, by_hand, tmp_path):
    with pytest.raises(TrackingError, match="registered by hand"):
        three.registry.fetch(three.registry.version(by_hand()), tmp_path / "into")


def test_two_registered_models_do_not_see_each_other(three, tmp_path):
    other = Tracking(config(tmp_path, model_name="other"))
    assert other.registry.versions() == []
    assert other.registry.production() is None


def test_a_verdict_over_a_version_that_does_not_serve_any_more_promotes_nothing(three):
    # given version 1 in production, and a gate that judged version 3 against it
    registry = three.registry
    registry.promote(1, reason="first", by="a test")
    # when version 2 goes into production in between, then the verdict over version 3 is void
    registry.promote(2, reason="by hand", by="a person", judged_against=1)
    with pytest.raises(TrackingError, match="judged against version 1, and version 2 is in production now"):
        registry.promote(3, reason="better", by="the gate", judged_against=1)
    assert registry.production().number == 2

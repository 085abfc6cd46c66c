"""What counts as a complete delivery, over real files."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from projects import make

from mlops_assets.automation.config import DOWNLOAD, PREDICT, AutomationConfig
from mlops_assets.automation.due_days import Days, DueDays
from mlops_assets.store.listing import Survey
from mlops_assets.wiring.assembly import build_backend

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")
DATA = "id,a\n" + "".join(f"{k},{k % 7}\n" for k in range(30))
TARGET = "target\n" + "".join(f"{k % 2}\n" for k in range(30))


@pytest.fixture
def settings(make_settings):
    return make_settings(source="files")


@pytest.fixture
def deliver(tmp_path):
    def deliver(ds, data=DATA, target=TARGET, marker=False):
        folder = tmp_path / "data" / "raw" / ds
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "data.csv").write_text(data)
        if target:
            (folder / "target.csv").write_text(target)
        if marker:
            (folder / "_SUCCESS").touch()

    return deliver


@pytest.fixture
def register(settings):
    def register(*days):
        make(settings, "raw_data", *days)

    return register


class Watch:
    """Looks again and again, with a clock of its own."""

    def __init__(self, settings, **rules):
        config = AutomationConfig(settle_seconds=10, **rules)
        survey = Survey(build_backend(settings).store)
        self.due_days = DueDays(survey, config, delivered=True, delimiter=",")
        self.observations, self.now = {}, 1_000.0

    def look(self, job=DOWNLOAD, after=15, first="2026-01-01", due=DAYS):
        self.now += after
        days = Days(due, first, ())
        return {one.ds: one for one in self.due_days.candidates(job, days, self.observations, self.now)}

    def ready(self, **how):
        return [ds for ds, one in self.look(**how).items() if one.waits_for is None]


@pytest.fixture
def watch(settings):
    return Watch(settings)


def test_a_delivery_is_complete_when_it_is_unchanged_over_two_looks(watch, deliver, tmp_path):
    # given one day that is there, one that is still copied, one that is missing
    deliver(DAYS[0])
    deliver(DAYS[1], DATA[:60], target="")
    # when it is looked for the first time, then nothing is ready, and it is said why
    first = watch.look()
    assert {ds: one.waits_for for ds, one in first.items()} == {
        DAYS[0]: f"raw/{DAYS[0]} must stay unchanged for 10 s (MLOPS_SETTLE_SECONDS)",
        DAYS[1]: f"raw/{DAYS[1]} must stay unchanged for 10 s (MLOPS_SETTLE_SECONDS)",
        DAYS[2]: f"raw/{DAYS[2]}/data.csv is missing",
    }
    # when the copy goes on before the second look, then only the first is ready
    deliver(DAYS[1], DATA[:90], target="")
    second = watch.look()
    assert second[DAYS[0]].waits_for is None
    assert second[DAYS[1]].waits_for == f"raw/{DAYS[1]} is still being written"
    # and when it rests, it is, too
    assert watch.ready() == [DAYS[0], DAYS[1]]


def test_two_looks_at_the_same_instant_are_one(watch, deliver):
    deliver(DAYS[0])
    watch.look()
    assert watch.ready(after=0) == []


def test_a_marker_makes_a_delivery_complete_at_once(watch, deliver, tmp_path):
    # given a delivery with its marker
    deliver(DAYS[0], marker=True)
    # then one look is enough
    assert watch.ready() == [DAYS[0]]
    # and when data are written after the marker, it does not count for them
    deliver(DAYS[0], DATA + "30,1\n", target=TARGET + "1\n")
    assert watch.ready() == []


def test_only_a_marker_counts_where_it_is_required(settings, deliver):
    watch = Watch(settings, ready_when="marker")
    deliver(DAYS[0])
    watch.look()
    assert watch.look(after=1_000)[DAYS[0]].waits_for == f"raw/{DAYS[0]}/_SUCCESS is missing (MLOPS_READY_WHEN=marker)"
    deliver(DAYS[0], marker=True)
    assert watch.ready() == [DAYS[0]]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "is empty"),
        ("\xef\xbb\xbf", "is empty"),
        ("\n\xef\xbb\xbf", "begins with an empty line"),
        ("a;b\n1;2\n", "MLOPS_CSV_DELIMITER"),
        ("a,a\n1,2\n", "two columns"),
        ("\xff,b\n1,2\n", "UTF-8"),
    ],
)
def test_a_header_that_cannot_be_read_is_not_ready(watch, deliver, tmp_path, data, words):
    deliver(DAYS[0], marker=True)
    (tmp_path / "data" / "raw" / DAYS[0] / "data.csv").write_bytes(data.encode("latin-1"))
    (tmp_path / "data" / "raw" / DAYS[0] / "_SUCCESS").touch()
    assert words in watch.look()[DAYS[0]].waits_for


def test_a_file_without_rights_keeps_no_other_day_waiting(make_settings, without_root):
    with tempfile.TemporaryDirectory() as place:
        # given two days that cannot be read, of which one was registered
        settings = make_settings(source="files", data_dir=Path(place) / "data")
        files = [Path(place) / "data" / "raw" / ds / "data.csv" for ds in DAYS[:2]]
        for file in files:
            file.parent.mkdir(parents=True)
            file.write_text(DATA)
        make(settings, "raw_data", DAYS[0])
        watch = Watch(settings)
        with without_root(Path(place)):
            for file in files:
                file.chmod(0)
            # when they are looked for again and again / then each says why it waits
            watch.look()
            found = watch.look()
    assert {ds: one.waits_for for ds, one in found.items()} == {
        **{ds: f"raw/{ds}/data.csv cannot be read: Permission denied" for ds in DAYS[:2]},
        DAYS[2]: f"raw/{DAYS[2]}/data.csv is missing",
    }


@pytest.mark.parametrize("target", ["data.csv", "/dev/null/data.csv", "/missing"])
def test_a_link_that_leads_nowhere_is_no_delivery_and_keeps_no_other_day_waiting(watch, deliver, tmp_path, target):
    # given a day whose file is a link to itself, through a file, or to what is not there
    (tmp_path / "data" / "raw" / DAYS[0]).mkdir(parents=True)
    (tmp_path / "data" / "raw" / DAYS[0] / "data.csv").symlink_to(target)
    deliver(DAYS[1], marker=True)
    # when it is looked for / then the other day is ready
    assert watch.ready() == [DAYS[1]]
    assert watch.look()[DAYS[0]].waits_for == f"raw/{DAYS[0]}/data.csv is missing"


def test_what_is_registered_is_done_until_other_content_comes(watch, deliver, register, tmp_path):
    # given a day that was delivered and registered
    deliver(DAYS[0], marker=True)
    register(DAYS[0])
    assert DAYS[0] not in watch.look()
    # when the same content is delivered again, then there is nothing to do
    deliver(DAYS[0], marker=True)
    assert DAYS[0] not in watch.look()
    # and when other content of the same size comes, even with an old time, there is
    folder = tmp_path / "data" / "raw" / DAYS[0]
    (tmp_path / "other.csv").write_text(DATA.replace("29,1", "29,6"))
    os.utime(tmp_path / "other.csv", (1_000_000_000, 1_000_000_000))
    shutil.copy2(tmp_path / "other.csv", folder / "data.csv")
    (folder / "_SUCCESS").touch()
    assert watch.ready() == [DAYS[0]]


def test_a_target_that_comes_later_is_registered_too(watch, deliver, register):
    deliver(DAYS[0], target="", marker=True)
    register(DAYS[0])
    assert DAYS[0] not in watch.look()
    deliver(DAYS[0], marker=True)
    assert watch.ready() == [DAYS[0]]


def test_days_before_the_window_are_ready_only_if_they_were_done_and_redelivered(watch, deliver, register):
    # given an old day that was never registered, and an old one that was registered and redelivered
    deliver(DAYS[0], marker=True)
    deliver(DAYS[1], marker=True)
    register(DAYS[1])
    deliver(DAYS[1], DATA + "30,1\n", TARGET + "1\n", marker=True)
    # when only later days are within reach
    # then only the second is ready
    assert watch.ready(first="2026-01-03") == [DAYS[1]]


def test_scoring_waits_for_registered_data(settings, deliver, register):
    # given a registered day, one that is being redelivered, and one without data
    watch = Watch(settings)
    deliver(DAYS[0], marker=True)
    deliver(DAYS[1], marker=True)
    register(DAYS[0], DAYS[1])
    deliver(DAYS[1], DATA + "30,1\n", TARGET + "1\n")
    # when / then
    assert {ds: (one.waits_for, one.waits_for_other_job) for ds, one in watch.look(PREDICT).items()} == {
        DAYS[0]: (None, False),
        DAYS[1]: (f"raw/{DAYS[1]} is being delivered again", True),
        DAYS[2]: (f"raw_data of {DAYS[2]} is not available yet", True),
    }


def test_the_first_look_goes_by_the_age_of_the_files(watch, deliver):
    # given files that were delivered an hour ago
    deliver(DAYS[0])
    watch.now = time.time() + 3_600
    # when they are seen for the first time / then they are complete
    assert watch.ready() == [DAYS[0]]


def test_a_data_root_that_is_not_there_yet_is_empty(watch):
    assert [one.waits_for for one in watch.look().values()] == [f"raw/{ds}/data.csv is missing" for ds in DAYS]

"""What happens to a team over the weeks: rollbacks, codes that look like numbers, files dropped over generated ones."""

from __future__ import annotations

import dagster as dg
import pytest

from mlops_assets.assets.assets import build_assets
from mlops_assets.assets.partitions import daily_partitions
from mlops_assets.errors import SettingsError
from mlops_assets.settings import Settings
from mlops_assets.wiring.assembly import build_tracking
from mlops_assets.wiring.pipeline import Pipeline

ASSETS = build_assets(daily_partitions("2026-01-01"))


def materialize(settings, assets, ds=None):
    return dg.materialize(
        assets, partition_key=ds, resources=Pipeline(settings=settings).resources, raise_on_error=False
    )


def deliver(tmp_path, ds, data, target=None):
    folder = tmp_path / "data" / "raw" / ds
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.csv").write_text(data)
    if target:
        (folder / "target.csv").write_text(target)


@pytest.mark.slow
def test_the_gate_does_not_undo_a_rollback(make_settings):
    # given two models, of which a person took the newer one back
    settings = make_settings(rows_per_day=1000)
    registry = build_tracking(settings).registry
    for ds in ("2026-01-01", "2026-01-02"):
        assert materialize(settings, [*ASSETS], ds).success
    registry.promote(2, reason="by hand", by="a person")
    registry.rollback(reason="it was wrong", by="a person")
    # when the gate is asked again
    result = materialize(settings, [ASSETS.production_model], "2026-01-02")
    # then it leaves things as they are: each version was judged once
    assert result.success
    metadata = result.asset_materializations_for_node("production_model")[0].metadata
    assert "judged" not in metadata
    assert metadata["model_version"].value == 1
    assert registry.production().number == 1


def test_codes_keep_their_spelling_on_a_day_on_which_all_look_like_numbers(make_settings, tmp_path):
    # given a model whose best feature is a code, some of them with letters
    settings = make_settings(source="files")
    codes = ["01", "02", "A1", "A2"]
    rows = [(codes[n % 4], n % 7) for n in range(400)]
    deliver(
        tmp_path,
        "2026-01-01",
        "id,code,x\n" + "".join(f"{n},{code},{x}\n" for n, (code, x) in enumerate(rows)),
        "target\n" + "".join(f"{int(code in ('01', 'A1'))}\n" for code, _ in rows),
    )
    assert materialize(settings, [*ASSETS], "2026-01-01").success
    # when on the next day only codes of digits arrive
    deliver(tmp_path, "2026-01-02", "id,code,x\n" + "".join(f"{n},{codes[n % 2]},{n % 7}\n" for n in range(400)))
    assert materialize(settings, [ASSETS.raw_data, ASSETS.production_model, ASSETS.predictions], "2026-01-02").success
    # then they are the categories that the model knows
    lines = (tmp_path / "data/predictions/2026-01-02/predictions.csv").read_text().splitlines()[1:]
    assert [line.split(",")[1] for line in lines] == ["1", "0"] * 200


def test_a_file_dropped_over_a_generated_one_is_not_overwritten(make_settings, tmp_path):
    # given a generated day over which a file was dropped, and the setting was forgotten
    settings = make_settings()
    assert materialize(settings, [ASSETS.raw_data], "2026-01-01").success
    deliver(tmp_path, "2026-01-01", "a,b\n1,2\n")
    # when the day is made again
    result = materialize(settings, [ASSETS.raw_data], "2026-01-01")
    # then the file stays, and the message names the setting
    assert "MLOPS_SOURCE=files" in result.failure_data_for_node("raw_data").user_failure_data.description
    assert (tmp_path / "data/raw/2026-01-01/data.csv").read_text() == "a,b\n1,2\n"


def test_a_misspelt_argument_of_the_settings_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="unknown setting 'data_dirr': did you mean data_dir"):
        Settings(_env_file=None, data_dirr=tmp_path)

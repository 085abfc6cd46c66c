"""``python -m mlops_assets.runtime`` as people and containers run it, and what importing the runner costs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

DS = "2026-01-01"

# One process for the steps that import scikit-learn and MLflow, which takes seconds.
TRAINING = (
    "-c",
    f"""
from mlops_assets.steps.__main__ import main
for step in ("train", "evaluate", "promote", "predict"):
    code = main([step] if step == "promote" else [step, "--partition", "{DS}"])
    assert code == 0, code
""",
)


@pytest.fixture
def steps(tmp_path, tracking_template):
    """Run the entry point in a process of its own."""
    (tmp_path / ".mlops" / "mlflow").mkdir(parents=True)
    shutil.copy(tracking_template, tmp_path / ".mlops" / "mlflow" / "mlflow.db")
    settings = {"MLOPS_ROWS_PER_DAY": "800", "MLOPS_ESTIMATOR": "logistic_regression"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLOPS_", "MLFLOW_"))}

    def run(*arguments: str, module: bool = True, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *(["-m", "mlops_assets.runtime"] if module else []), *arguments],
            cwd=tmp_path,
            env={**environment, **settings, **changes},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.slow
def test_all_steps_one_after_the_other(steps, tmp_path):
    # given nothing but an empty folder, when the steps are run
    outputs = [steps(step, "--partition", DS) for step in ("generate", "process", "split")]
    outputs.append(steps(*TRAINING, module=False))
    # then each succeeds and prints one line of JSON a day
    assert [(done.returncode, done.stderr) for done in outputs] == [(0, "")] * 4
    results = [json.loads(line) for done in outputs for line in done.stdout.splitlines()]
    promotion = results.pop(-2)
    assert [(one["partition"], one["error"]) for one in results] == [(DS, None)] * 6
    assert promotion["promoted"]
    # and the predictions are there
    assert (tmp_path / "data" / "predictions" / DS / "predictions.csv").read_text().count("\n") == 801
    # a day without data fails, in words, and the other day is done
    done = steps("process", "--partition", "2026-01-02", "--partition", DS)
    first, second = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1
    assert first["error"] is None
    assert "materialize raw_data --partition 2026-01-02" in second["error"]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_fails_for_all_days_is_one_line(steps):
    done = steps("promote")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Materialize model and metrics first" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "expected"),
    [
        ([], {}, "required: step"),
        (["bake", "--partition", DS], {}, "invalid choice: 'bake'"),
        (["process"], {}, "--partition is missing"),
        (["process", "--partition", "2026-02-30"], {}, "'2026-02-30' is not a day written as YYYY-MM-DD"),
        (["process", "--partition", "today"], {}, "'today' is not a day"),
        (["process", "--partition", DS], {"MLOPS_ESTIMATOR": "oracle"}, "MLOPS_ESTIMATOR is 'oracle'"),
        (["generate", "--partition", "2020-01-01"], {}, "before start_date"),
    ],
)
def test_misuse_has_a_code_of_its_own(steps, arguments, settings, expected):
    done = steps(*arguments, **settings)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_runner_imports_nothing_heavy():
    # given a fresh interpreter, when everything that the definitions need of the steps is imported
    code = """
import sys
import mlops_assets.backends.inprocess, mlops_assets.steps.catalog, mlops_assets.runtime.runner, mlops_assets.store.local
print(sorted({name.partition(".")[0] for name in sys.modules} &
             {"dagster", "mlflow", "sklearn", "pandas", "pyarrow", "numpy", "skops"}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # then no heavy library is among it
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_steps_before_training_import_no_pandas(steps):
    # given a delivered day, as files and as what is made of them
    assert steps("generate", "--partition", DS).returncode == 0
    code = f"""
import sys
from mlops_assets.steps.__main__ import main
for step in ("register", "process", "split"):
    assert main([step, "--partition", "{DS}"]) == 0
print("pandas" in sys.modules)
"""
    # when these steps run
    done = steps("-c", code, module=False, MLOPS_SOURCE="files")
    # then a third of their processor time was not spent on a library that they do not use
    assert done.stdout.splitlines()[-1] == "False", done.stderr

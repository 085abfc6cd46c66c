"""``python -m mlops_assets.runtime`` as people and containers run it, and what importing the runner costs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mlops_assets
from mlops_assets.runtime.pipes import Order
from mlops_assets.runtime.request import ModelFile, Request
from mlops_assets.steps.parameters import Parameters

DS = "2026-01-01"
PARAMS = Parameters(rows_per_day=800, estimator="logistic_regression")


@pytest.fixture
def run(tmp_path):
    """Run the entry point in a process of its own, with an order or any text as its input."""

    def run(order, *arguments):
        text = json.dumps(order.to_json()) if isinstance(order, Order) else order
        return subprocess.run(
            [sys.executable, "-m", "mlops_assets.runtime", *arguments],
            cwd=tmp_path,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def order(tmp_path):
    """An order for a step."""

    def order(step, *partitions, **others):
        return Order(Request(step, partitions or (DS,), PARAMS, **others), str(tmp_path / "data"))

    return order


@pytest.mark.slow
def test_all_steps_one_after_the_other(run, order, tmp_path):
    # given nothing but an empty folder, when the steps are run
    def made(step, *partitions, **others):
        done = run(order(step, *partitions, **others))
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    for step in ("generate", "process", "split"):
        assert [one["partition"] for one in made(step)] == [DS]
    (trained,) = made("train")
    model = ModelFile(f"models/{DS}/model.skops", trained["files"]["model.skops"], trained["recipe"])
    made("evaluate", models={DS: model})
    made("predict", models={DS: model})
    # then the predictions are there
    assert (tmp_path / "data" / "predictions" / DS / "predictions.csv").read_text().count("\n") == 801
    # and a day without data fails, with what to do, and the other day is done
    done = run(order("process", "2026-01-02", DS))
    results = {one["partition"]: one["error"] for one in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert results[DS] is None
    assert "materialize raw_data --partition 2026-01-02" in results["2026-01-02"]
    assert "Traceback" not in done.stderr


def test_an_error_of_all_partitions_is_one_line(run, order, tmp_path):
    done = run(Order(Request("generate", ("2020-01-01",), PARAMS), str(tmp_path / "data")))
    assert (done.returncode, done.stdout) == (1, "")
    assert "before start_date" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected one line of JSON"),
        ("bake\n", "expected one line of JSON"),
        ("[]\n", "expected one line of JSON"),
        ('{"contract": 99}\n', "with contract 1"),
        ('{"contract": 1, "request": {"step": "process"}}\n', "docs/step-contract.md"),
        ('{"contract": 1, "oven": "hot"}\n', "docs/step-contract.md"),
    ],
)
def test_misuse_has_a_code_of_its_own(run, text, expected):
    done = run(text)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_process_that_was_prepared_and_gets_no_order_ends_well(run, tmp_path):
    done = run("", "--prepare", "process", "--data-root", str(tmp_path), "--workers", "2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_order_is_the_same_after_its_way_as_json():
    # given an order with everything
    model = ModelFile("production/models/v7/model.skops", "0" * 64, "1" * 64, "version 7", {"scikit-learn": "1"})
    params = Parameters(text_columns=("a", "b"), positive_label="yes", csv_delimiter=";", train_window_days=3)
    request = Request(
        "score", ("v7",), params, models={"v7": model}, days={"split": [DS]}, inputs={"x": 1}, image="i", run_id="r"
    )
    order = Order(request, "/data", 2, 0o022, {"DAGSTER_PIPES_CONTEXT": "…"})
    # when / then
    assert Order.from_line(json.dumps(order.to_json()).encode()) == order


def test_importing_the_runner_imports_nothing_heavy():
    # given a fresh interpreter, when everything that the definitions need of the steps is imported
    code = """
import sys
import mlops_assets.backends.local, mlops_assets.steps.catalog, mlops_assets.runtime.__main__
print(sorted({name.partition(".")[0] for name in sys.modules} & {
    "dagster", "mlflow", "sklearn", "pandas", "pyarrow", "numpy", "skops", "pydantic", "dotenv", "dagster_pipes"}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # then no heavy library is among it
    assert done.stdout == "[]\n"


def test_what_runs_in_containers_imports_no_settings_wiring_or_backends():
    code = "import sys, mlops_assets.runtime.__main__, mlops_assets.runtime.worker, mlops_assets.fingerprint;" + (
        "print({name.split('.')[1] for name in sys.modules if name.startswith('mlops_assets.')})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    parts = set(eval(done.stdout))
    assert parts <= {"declared", "errors", "fingerprint", "imports", "runtime", "sources", "steps", "store"}


@pytest.mark.parametrize(
    ("module", "before", "after", "is_another"),
    [
        ("store/manifest.py", "FORMAT = ", "FORMAT = 1", True),
        ("store/layout.py", '"predictions.csv"', '"scored.csv"', True),
        ("store/layout.py", '"production/models"', '"registry"', True),
        ("runtime/recipes.py", "self.partition,", "", True),
        ("runtime/pipes.py", "CONTRACT = ", "CONTRACT = 1", True),
        ("steps/predict.py", "import annotations", "import annotations  # as ever", False),
    ],
)
def test_an_image_with_other_forms_or_names_has_another_contract(tmp_path, module, before, after, is_another):
    # given a version of this package
    def digests():
        command = [sys.executable, "-m", "mlops_assets.fingerprint"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()

    shutil.copytree(Path(mlops_assets.__file__).parent, tmp_path / "mlops_assets")
    code, contract = digests()
    # when it is another one
    path = tmp_path / "mlops_assets" / module
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    # then its images are other ones, and serve each other's models only where they agree on files and messages
    other_code, other_contract = digests()
    assert other_code != code
    assert (other_contract != contract) == is_another


@pytest.mark.slow
def test_steps_before_training_import_no_pandas(run, order, tmp_path):
    # given a delivered day, as files and as what is made of them
    assert run(order("generate")).returncode == 0
    code = f"""
import sys
from mlops_assets.runtime.request import Request
from mlops_assets.runtime.runner import Runner
from mlops_assets.steps.parameters import Parameters
from mlops_assets.store.local import LocalStore
for step in ("register", "process", "split"):
    (result,) = Runner(LocalStore("data")).run(Request(step, ("{DS}",), Parameters(source="files")))
    assert result.error is None, result.error
print("pandas" in sys.modules)
"""
    # when these steps run
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    # then a third of their processor time was not spent on a library that they do not use
    assert done.stdout.splitlines()[-1:] == ["False"], done.stderr

"""Training and prediction, from split rows to scores, through the runner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from projects import DS, LATER, NEXT, as_csv, mixed, with_labels, without_column
from sklearn.metrics import log_loss, roc_auc_score
from threadpoolctl import threadpool_limits

from mlops_assets.runtime.request import Request
from mlops_assets.runtime.runner import Runner
from mlops_assets.steps import threads
from mlops_assets.steps.features import class_probabilities, kinds_of, model_frame
from mlops_assets.steps.parameters import Parameters
from mlops_assets.steps.skops_io import load_model
from mlops_assets.steps.train import train
from mlops_assets.store import tables
from mlops_assets.store.layout import MODEL, TRAIN

ESTIMATORS = ("hist_gradient_boosting", "random_forest", "logistic_regression")
DATA_OF_NEXT = f"raw/{NEXT}/data.csv"


@pytest.fixture
def split_day(project):
    """A project in which days were delivered and split."""

    def make(*days, **settings):
        made = project(**settings)
        for ds, (data, target) in zip((DS, NEXT, LATER), days, strict=False):
            made.deliver(ds, data, target)
            made.make("register", "process", "split", ds=ds)
        return made

    return make


@pytest.fixture
def scored(serving):
    """The predictions of a day that is delivered to a project with a model."""

    made = serving()

    def score(data, ds=NEXT):
        made.deliver(ds, data)
        made.make("register", ds=ds)
        metadata = made.make("predict", ds=ds)
        return made.table("predictions", "predictions.csv", ds), metadata

    return score


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_model_is_the_same_for_the_same_rows_and_another_for_others(split_day, estimator, monkeypatch):
    # given mixed columns
    made = split_day(mixed(200), mixed(200, seed=1), estimator=estimator)

    def scores(ds):
        pipeline = load_model(made.store.read_bytes("model", ds, "model.skops")[0], "the model")
        rows = made.table("split", "val.csv")
        return pipeline, class_probabilities(pipeline, model_frame(rows, kinds_of(pipeline), "the test"))

    # when a model is trained
    metadata = made.make("train")
    first = made.store.require("model", DS)
    # then it knows them, and its file can be loaded
    assert metadata["features"] == 8
    assert metadata["rows_train"] == made.store.info("split", DS, "train.csv").rows
    assert set(metadata["class_balance"]) == {"0", "1"}
    pipeline, proba = scores(DS)
    assert list(pipeline.feature_names_in_) == made.table("split", "train.csv").column_names[1:-1]
    description = made.store.read_json("model", DS, "model.json")
    assert list(description["columns"]) == list(pipeline.feature_names_in_)
    assert description["columns"]["nothing"] == "double"
    # and training again, also with another number of threads, gives the same model by another file
    monkeypatch.setattr(threads, "_CELLS_WORTH_A_TEAM", 0)
    with threadpool_limits(2):
        made.make("train")
    assert made.store.require("model", DS).recipe == first.recipe
    assert (scores(DS)[1] == proba).all()
    # and another day another one
    made.make("train", ds=NEXT)
    assert made.store.require("model", NEXT).recipe != first.recipe
    assert (scores(NEXT)[1] != proba).any()


def test_a_forest_gives_the_same_bytes_each_time(project):
    # given a forest, which adds up the answers of its trees
    made = project(estimator="random_forest")
    made.deliver(DS, *mixed(2_000))
    made.make("register", "process", "split", "train", "predict")
    before = made.files()
    # when it predicts again and again, then the files are the same
    for _ in range(5):
        made.make("predict")
        assert made.files() == before


def test_a_rare_class_does_not_break_the_default_model():
    # given 8,000 rows of which 40 are of the other class, which one of six columns tells of
    rng = np.random.default_rng(0)

    def rows() -> pa.Table:
        target = np.arange(8_000) < 40
        columns = {f"noise {n}": rng.normal(size=8_000) for n in range(5)}
        return pa.table({**columns, "x": rng.normal(size=8_000) + 2 * target, "target": target.astype(int)})

    training, held_out = rows(), rows()
    # when the default model is trained
    pipeline, _ = train({TRAIN: [training]}, Parameters(), DS).outputs[MODEL]
    # then on other rows it ranks well, and is not worse than always saying "one in 200"
    proba = pipeline.predict_proba(model_frame(held_out, kinds_of(pipeline), "the test"))[:, 1]
    truth = held_out["target"].to_numpy()
    assert roc_auc_score(truth, proba) > 0.75
    assert log_loss(truth, proba) < 1.2 * log_loss(truth, np.full(8_000, 0.005))


@pytest.mark.parametrize("imputation", ["mean", "median", "most_frequent"])
def test_missing_values_are_filled_from_the_training_rows(split_day, imputation):
    made = split_day(mixed(150), estimator="logistic_regression", imputation=imputation)
    made.make("train", "evaluate")


def test_a_model_learns_from_the_days_of_its_window(split_day):
    # given three days; a column is integer, float and empty in turn, another empty, text and a date in turn
    days = [
        mixed(100, seed, 100 * seed, amount=amount, day=day)
        for seed, (amount, day) in enumerate(
            [
                (lambda row: row % 7, lambda row: ""),
                (lambda row: row % 7 + 0.5, lambda row: f"2023-01-{row % 28 + 1:02}"),
                (lambda row: "", lambda row: f"2023-01-{row % 28 + 1:02} 10:00:00.5"),
            ]
        )
    ]
    made = split_day(*days, train_window_days=3, estimator="logistic_regression")
    # when models of the first and of the last day are trained
    first, last = made.make("train"), made.make("train", ds=LATER)
    # then the window reaches back as far as there are days
    rows = [made.store.info("split", ds, "train.csv").rows for ds in (DS, NEXT, LATER)]
    assert (first["days"], first["rows_train"]) == (1, rows[0])
    assert (last["days"], last["rows_train"]) == (3, sum(rows))
    assert list(made.store.require("model", LATER).inputs) == [f"split/{ds}/train.csv" for ds in (DS, NEXT, LATER)]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ({"amount": lambda row: f"a{row}"}, ["column 'amount'", "double", "string", "MLOPS_TRAIN_WINDOW_DAYS"]),
        ({"extra": lambda row: row}, ["differ in the columns extra", "MLOPS_DROP_COLUMNS"]),
    ],
)
def test_days_that_do_not_fit_together_are_refused(split_day, second, expected):
    made = split_day(mixed(60), mixed(60, 1, 60, **second), train_window_days=2)
    message = made.refused("train", NEXT)
    for words in [f"split/{NEXT}/train.csv", *expected]:
        assert words in message


def test_a_day_of_one_class_trains_no_model_but_is_scored(serving):
    # given a project with a model, and a day of a single class
    made = serving()
    made.deliver(NEXT, mixed(80, seed=1)[0], as_csv(("id", "target"), [(row, 0) for row in range(80)]))
    made.make("register", "process", "split", ds=NEXT)
    # when a model is to be trained on it
    message = made.refused("train", NEXT)
    # then the message says why not and what to do
    for words in (f"split/{NEXT}/train.csv", "at least two classes", "class '0'", "MLOPS_TRAIN_WINDOW_DAYS, now 1"):
        assert words in message
    # and the earlier model scores the day
    assert made.make("predict", ds=NEXT)["rows"] == 80


@pytest.mark.parametrize(
    "labels", [("no", "yes, ünd"), (5, 3), ("false", "true")], ids=["strings", "integers", "booleans"]
)
def test_labels_of_every_kind_go_all_the_way(split_day, labels):
    # given such a target
    data, target = mixed(200)
    made = split_day((data, with_labels(target, labels)), estimator="logistic_regression")
    # when a model is trained on it, evaluated and asked
    made.make("train", "evaluate")
    metadata = made.make("predict")
    # then the predictions are such labels, with a score for each
    table = made.table("predictions", "predictions.csv")
    known = sorted(set(made.table("processed", "train_data.csv")["target"].to_pylist()))
    assert set(table["prediction"].to_pylist()) <= set(known)
    assert table.column_names == ["id", "prediction", *(f"score_{label}" for label in known)]
    assert sum(metadata["class_balance"].values()) == 200


def test_several_classes_go_all_the_way(project):
    made = project(source="sklearn:wine", estimator="logistic_regression", start_date=DS)
    made.make("generate", "process", "split", "train", "evaluate")
    assert made.make("predict")["class_balance"].keys() == {"class_0", "class_1", "class_2"}


@pytest.mark.slow
def test_a_thousand_columns_train_and_score(split_day):
    wide = {f"column {n}": (lambda row, n=n: row * n % 17) for n in range(1_000)}
    made = split_day(mixed(100, **wide), estimator="logistic_regression")
    assert made.make("train")["features"] == 1_008
    made.make("evaluate")


def test_infinite_and_huge_values_train_and_score(split_day):
    values = {0: "inf", 1: "-inf", 2: "1e308", 3: "1e308", 4: "-1e308"}
    made = split_day(
        mixed(200, amount=lambda row: values.get(row, row % 5), big=lambda row: 2**60 + row),
    )
    made.make("train", "evaluate")


def test_predictions_keep_the_order_and_the_ids(scored):
    # given rows with identifiers that look like numbers
    data, _ = mixed(50, seed=3, id=lambda row: f"{row:05}")
    # when they are scored
    table, metadata = scored(data)
    # then there is a row for each, in order, and it says which model it comes from
    assert table["id"].to_pylist() == [f"{row:05}" for row in range(50)]
    assert table.column_names == ["id", "prediction", "score_0", "score_1"]
    for prediction, zero, one in zip(*(table[name].to_pylist() for name in table.column_names[1:]), strict=True):
        assert zero + one == pytest.approx(1)
        assert prediction == int(one > zero)
    assert metadata["columns_ignored"] == []
    assert sum(metadata["class_balance"].values()) == 50


def test_predictions_without_id_have_row_numbers(scored, monkeypatch):
    monkeypatch.setattr(tables, "BYTES_PER_BLOCK", 500)
    table, _ = scored(without_column(mixed(50)[0], "id"))
    assert table["row"].to_pylist() == list(range(1, 51))


def test_blocks_give_what_the_whole_gives(scored, monkeypatch):
    data, _ = mixed(200, seed=5)
    whole, _ = scored(data)
    monkeypatch.setattr(tables, "BYTES_PER_BLOCK", 1_000)
    in_blocks, metadata = scored(data, LATER)
    assert in_blocks.equals(whole)
    assert sum(metadata["class_balance"].values()) == 200


def test_predictions_are_traced_to_model_and_data(serving):
    # given a request that says what is known of the model
    made = serving()
    model = replace(made.model_file(DS), facts={"model_version": 1, "model_name": "churn"})
    # when the day is predicted
    request = Request("predict", (DS,), made.params, models={DS: model})
    (result,) = Runner(made.store).run(request)
    # then manifest and metadata say it, and the model is no part of the recipe
    manifest = made.store.require("predictions", DS)
    assert manifest.inputs == {f"raw/{DS}/data.csv": made.store.info("raw_data", DS, "data.csv").sha256}
    assert manifest.metadata["model_version"] == result.metadata["model_version"] == 1


def test_a_model_that_is_not_the_registered_one_is_not_loaded(serving):
    made = serving()
    path = made.store.folder("model", DS) / "model.skops"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert f"models/{DS}/model.skops is not the file of the model that was registered" in made.refused("predict")


def test_predicting_again_gives_the_same_bytes(serving):
    made = serving()
    made.make("predict")
    before = made.files()
    made.make("predict")
    assert made.files() == before


def test_categories_that_training_never_saw_are_scored(scored):
    table, _ = scored(mixed(50, colour=lambda row: "never seen", note=lambda row: f"new {row}")[0])
    assert table.num_rows == 50


def test_a_column_that_was_empty_in_training_may_hold_anything_later(scored):
    # given days on which a column without any value in training has numbers, words, dates and nothing
    plain, _ = scored(mixed(50)[0])
    for value in ("1.5", "word", "2024-01-01", "true"):
        table, metadata = scored(mixed(50, nothing=lambda row, value=value: value)[0], LATER)
        # then it is not looked at
        assert table.equals(plain)
        assert metadata["columns_ignored"] == []


def test_columns_without_any_value_train_no_model(split_day):
    made = split_day((as_csv(("id", "x"), [(n, "") for n in range(60)]), mixed(60)[1]))
    assert "no column has a value" in made.refused("train")


def test_words_that_nearly_all_differ_train_or_say_why_not(split_day):
    # given as many classes as rows, and a column that is encoded by target means
    made = split_day((
        as_csv(("id", "x"), [(n, f"w{n}") for n in range(30)]), as_csv(("id", "target"), [(n, n) for n in range(30)]),
    ))  # fmt: skip
    assert "MLOPS_TRAIN_WINDOW_DAYS" in made.refused("train")


def test_a_column_that_is_empty_on_the_day_is_scored(scored):
    for name in ("amount", "colour", "day", "flag"):
        table, _ = scored(mixed(50, **{name: lambda row: ""})[0])
        assert table.num_rows == 50


def test_a_new_column_is_ignored_and_reported(scored):
    plain, _ = scored(mixed(50)[0])
    table, metadata = scored(mixed(50, extra=lambda row: row)[0], LATER)
    assert metadata["columns_ignored"] == ["extra"]
    assert table.equals(plain)


def test_columns_in_another_order_are_the_same(scored):
    data, _ = mixed(50)
    plain, _ = scored(data)
    rows = [row[::-1] for row in _cells(data)]
    table, _ = scored(as_csv(rows[0], rows[1:]), LATER)
    assert table.equals(plain)


def _cells(text):
    import csv
    import io

    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"amount": lambda row: "n/a?" if row >= 29 else row},
            ["row 30 below the header, column 'amount'", "a number", "'n/a?'"],
        ),
        (
            {"day": lambda row: "soon" if row == 29 else "2024-01-01"},
            ["row 30 below the header, column 'day'", "a date", "'soon'"],
        ),
        ({"day": lambda row: row}, ["row 1 below the header, column 'day'", "a date", "0"]),
        ({"amount": lambda row: "2024-01-01"}, ["row 1 below the header, column 'amount'", "a number", "2024"]),
        (
            {"amount": lambda row: "0000-01-01"},
            ["row 1 below the header, column 'amount'", "a number", "0000-01-01"],
        ),
    ],
)
def test_a_column_of_another_kind_is_refused_with_its_row(serving, monkeypatch, changes, expected):
    # given a day on which a column is not what it was, read in small blocks, and predictions that are there
    monkeypatch.setattr(tables, "BYTES_PER_BLOCK", 500)
    made = serving()
    made.deliver(NEXT, mixed(50)[0])
    made.make("register", "predict", ds=NEXT)
    made.deliver(NEXT, mixed(50, **changes)[0])
    made.make("register", ds=NEXT)
    # then prediction names row and column, and the old predictions stay
    message = made.refused("predict", NEXT)
    for words in (DATA_OF_NEXT, *expected, "Correct the value"):
        assert words in message


def test_a_missing_column_is_refused_by_name(serving):
    made = serving()
    made.deliver(NEXT, without_column(without_column(mixed(50)[0], "amount"), "colour"))
    made.make("register", ds=NEXT)
    message = made.refused("predict", NEXT)
    for words in (DATA_OF_NEXT, "lacks the columns 'amount', 'colour'", "MLOPS_DROP_COLUMNS"):
        assert words in message


def test_days_after_a_bad_one_are_scored(serving):
    made = serving()
    for ds, data in ((NEXT, without_column(mixed(50)[0], "amount")), (LATER, mixed(50)[0])):
        made.deliver(ds, data)
    assert [one.error for one in made.run("register", NEXT, LATER)] == [None, None]
    bad, good = made.run("predict", NEXT, LATER)
    assert bad.error
    assert good.metadata["rows"] == 50
    assert made.store.partitions("predictions") == [DS, LATER]


@pytest.mark.parametrize(
    ("step", "missing", "asset"),
    [("process", "raw_data", "raw_data"), ("split", "processed", "processed"), ("train", "split", "split")],
)
def test_a_step_before_its_input_says_what_to_run(project, step, missing, asset):
    message = project().refused(step)
    assert f"{missing} of {DS} is missing" in message
    assert f"mlops-assets materialize {asset} --partition {DS}" in message

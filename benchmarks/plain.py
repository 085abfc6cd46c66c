"""The script that the product replaces: the same days, by hand, with pandas and scikit-learn in one process.

It has no orchestrator, no MLflow and no Arrow reader or writer, and nothing in it is slower than a competent data
scientist writes it. The emulated data come from the product's generator, so that both sides pay the same for them;
what is compared begins with ``to_csv``. Preprocessing and estimator have the product's settings
(``mlops_assets/steps/features.py``). Every day trains a model and is scored with it.

    python -m benchmarks.plain --days 30 --rows 10000 --dir /tmp/plain
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, TargetEncoder

from mlops_assets.sources.generate import generate_day

ID, TARGET = "id", "target"
DATES = ["ordered_at"]
MAX_ONE_HOT = 12


def main() -> None:
    """Run all days one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--dir", type=Path, default=Path("plain"))
    parser.add_argument("--delivered", action="store_true", help="raw files are there already")
    parser.add_argument("--start", type=dt.date.fromisoformat, default=dt.date(2026, 1, 1))
    options = parser.parse_args()
    for number in range(options.days):
        ds = (options.start + dt.timedelta(days=number)).isoformat()
        run_day(options.dir, ds, None if options.delivered else options.rows, options.start.isoformat())


def run_day(root: Path, ds: str, rows: int | None, start: str) -> None:
    """All six steps of a day."""
    folders = {name: root / name / ds for name in ("raw", "processed", "split", "models", "predictions")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    if rows is not None:
        collect(folders["raw"], ds, rows, start)
    process(folders["raw"], folders["processed"])
    split(folders["processed"], folders["split"])
    model = train(folders["split"], folders["models"])
    evaluate(model, folders["split"], folders["models"])
    predict(model, folders["raw"], folders["predictions"])


def collect(raw: Path, ds: str, rows: int, start: str) -> None:
    """The data of a day arrive."""
    day = generate_day("classification", ds, seed=0, rows=rows, start_date=start)
    day.data.to_pandas().to_csv(raw / "data.csv", index=False)
    day.target.to_pandas().to_csv(raw / "target.csv", index=False)


def read(path: Path) -> pd.DataFrame:
    """A table with its dates."""
    return pd.read_csv(path, parse_dates=[name for name in DATES if name in pd.read_csv(path, nrows=0).columns])


def process(raw: Path, processed: Path) -> None:
    """Join data and target, check them, drop duplicates."""
    data = read(raw / "data.csv")
    target = pd.read_csv(raw / "target.csv")
    table = data.drop_duplicates().merge(target.drop_duplicates(), on=ID, how="left", validate="one_to_one")
    table = table.dropna(subset=[TARGET])
    if table.empty:
        raise ValueError(f"{raw}: no row has a target")
    table[TARGET] = table[TARGET].astype("int64")
    table.to_csv(processed / "train_data.csv", index=False)


def split(processed: Path, folder: Path) -> None:
    """Hold out a fifth of the rows."""
    table = read(processed / "train_data.csv")
    train_rows, val_rows = train_test_split(table, test_size=0.2, stratify=table[TARGET], random_state=0)
    train_rows.to_csv(folder / "train.csv", index=False)
    val_rows.to_csv(folder / "val.csv", index=False)


def train(folder: Path, models: Path) -> Pipeline:
    """Fit and save the model."""
    rows = read(folder / "train.csv")
    features = rows.drop(columns=[ID, TARGET])
    model = make_pipeline(
        preprocessing(features),
        HistGradientBoostingClassifier(
            max_iter=60,
            max_leaf_nodes=8,
            learning_rate=0.2,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=0,
        ),
    )
    model.fit(features, rows[TARGET])
    joblib.dump(model, models / "model.joblib")
    return model


def preprocessing(features: pd.DataFrame) -> ColumnTransformer:
    """Impute numbers, take dates apart, encode words."""
    numbers = features.select_dtypes(["number", "bool"]).columns.tolist()
    words = features.select_dtypes("object").columns
    low = [name for name in words if features[name].nunique() <= MAX_ONE_HOT]
    high = [name for name in words if name not in low]
    dates = features.select_dtypes("datetime").columns.tolist()
    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)
    return ColumnTransformer(
        [
            ("numbers", SimpleImputer(strategy="mean"), numbers),
            ("dates", make_pipeline(FunctionTransformer(date_parts), SimpleImputer(strategy="mean")), dates),
            ("low", OneHotEncoder(handle_unknown="ignore", sparse_output=False), low),
            ("high", TargetEncoder(cv=folds), high),
        ]
    )


def date_parts(frame: pd.DataFrame) -> pd.DataFrame:
    """Dates as numbers."""
    parts: dict[str, Any] = {}
    for name in frame:
        date = frame[name].dt
        parts[f"{name}_days"] = (frame[name].dt.normalize() - pd.Timestamp(0)).dt.days
        parts[f"{name}_month"] = date.month
        parts[f"{name}_day"] = date.day
        parts[f"{name}_weekday"] = date.weekday
        parts[f"{name}_hour"] = date.hour + date.minute / 60 + date.second / 3600
    return pd.DataFrame(parts)


def evaluate(model: Pipeline, folder: Path, models: Path) -> None:
    """Score the held-out rows."""
    rows = read(folder / "val.csv")
    proba = model.predict_proba(rows.drop(columns=[ID, TARGET]))
    guess = model.classes_[proba.argmax(axis=1)]
    truth, score = rows[TARGET], proba[:, 1]
    values = {
        "roc_auc": metrics.roc_auc_score(truth, score),
        "average_precision": metrics.average_precision_score(truth, score),
        "log_loss": metrics.log_loss(truth, proba),
        "f1": metrics.f1_score(truth, guess),
        "precision": metrics.precision_score(truth, guess),
        "recall": metrics.recall_score(truth, guess),
        "accuracy": metrics.accuracy_score(truth, guess),
        "brier": metrics.brier_score_loss(truth, score),
    }
    matrix = metrics.confusion_matrix(truth, guess).tolist()
    content = {"rows": len(rows), "metrics": values, "confusion_matrix": matrix}
    (models / "metrics.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def predict(model: Pipeline, raw: Path, predictions: Path) -> None:
    """Score every row of the day."""
    data = read(raw / "data.csv")
    proba = model.predict_proba(data.drop(columns=ID))
    table = pd.DataFrame({ID: data[ID], "prediction": model.classes_[np.argmax(proba, axis=1)]})
    for place, label in enumerate(model.classes_):
        table[f"score_{label}"] = proba[:, place]
    table.to_csv(predictions / "predictions.csv", index=False)


if __name__ == "__main__":
    main()

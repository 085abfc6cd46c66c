"""The code location loads in a fresh interpreter, shows the graph, and imports nothing that steps need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlops_assets
from mlops_assets.wiring.assembly import build_tracking, ui_address_file

LOOK = """
import json, sys
from mlops_assets.definitions import defs
graph = defs.resolve_asset_graph()
nodes = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}
print(json.dumps({
    "deps": {name: sorted(key.to_user_string() for key in node.parent_keys) for name, node in nodes.items()},
    "daily": [name for name, node in nodes.items() if node.is_partitioned],
    "described": [name for name, node in nodes.items() if node.description and node.owners and node.kinds],
    "heavy": [
        name for name in ("mlflow", "sklearn", "pandas", "pyarrow", "numpy", "skops", "apprise") if name in sys.modules
    ],
}))
"""


def look(tmp_path, **environment):
    command = [sys.executable, "-W", "error", "-c", LOOK]
    environment["PYTHONPATH"] = str(Path(mlops_assets.__file__).parents[1])  # this checkout, whatever is installed
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


def test_the_asset_graph(tmp_path):
    # given / when the location is loaded without any setting
    done = look(tmp_path)
    # then the graph is the design's
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["deps"] == {
        "raw_data": [],
        "processed": ["raw_data"],
        "split": ["processed"],
        "model": ["split"],
        "metrics": ["model", "split"],
        "production_model": ["metrics"],
        "predictions": ["production_model", "raw_data"],
    }
    assert sorted(seen["daily"]) == sorted(seen["described"]) == sorted(seen["deps"])
    # and showing it costs no heavy import and leaves no file
    assert seen["heavy"] == []
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_setting_is_named(tmp_path):
    # given a typo / when the location is loaded
    done = look(tmp_path, MLOPS_SEEED="1")
    # then the error names it and what was meant
    assert done.returncode != 0
    assert "unknown setting 'MLOPS_SEEED': did you mean MLOPS_SEED?" in done.stderr


def test_where_alerts_go_costs_nothing_until_there_are_some(tmp_path):
    # given targets / when the location is loaded
    done = look(tmp_path, MLOPS_ALERT_URLS="mailto://user:password@host.example", MLOPS_ALERT_ON="failure,retry")
    # then Apprise is not imported, and no file is made
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["heavy"] == []
    assert list(tmp_path.iterdir()) == []


def test_links_lead_to_the_mlflow_that_dev_serves(make_settings):
    # given that `dev` serves MLflow on a port of its own
    settings = make_settings()
    assert build_tracking(settings).config.ui_url == "http://127.0.0.1:5000"
    ui_address_file(settings).write_text("http://127.0.0.1:5977")
    # when / then other commands link to it, unless a setting says otherwise
    assert build_tracking(settings).config.ui_url == "http://127.0.0.1:5977"
    given = make_settings(mlflow_ui_url="https://mlflow.example")
    assert build_tracking(given).config.ui_url == "https://mlflow.example"

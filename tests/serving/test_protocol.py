"""What clients send and get: MLflow's forms, its own client, bad input, limits, a token."""

from __future__ import annotations

import threading
import time

import numpy as np
import pandas as pd
import pytest
import requests
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from model_servers import running, split
from projects import DS, as_csv

from mlops_assets.serving import app

FORMS = {
    "dataframe_split": split,
    "dataframe_split with index and params": lambda rows: {
        "dataframe_split": {"index": [*range(len(rows))], **split(rows)["dataframe_split"]},
        "params": {},
    },
    "dataframe_records": lambda rows: {"dataframe_records": rows},
    "inputs by column": lambda rows: {"inputs": {name: [row[name] for row in rows] for name in rows[0]}},
    "inputs by row": lambda rows: {"inputs": rows},
    "instances": lambda rows: {"instances": rows},
    "records without missing values": lambda rows: {
        "dataframe_records": [{name: value for name, value in row.items() if value is not None} for row in rows]
    },
    "dates in UTC": lambda rows: {
        "dataframe_records": [{**row, "day": f"{row['day'][:10]}T00:00:00Z"} for row in rows]
    },
    "columns in another order and one more": lambda rows: split(
        [{"more": 1, **dict(reversed(row.items()))} for row in rows]
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_json_gets_the_predictions_of_the_day(form, project, rows, predicted):
    # given a server / when rows of the day are sent in a form of MLflow's protocol
    with running(project().settings) as server:
        answer = server.post(FORMS[form](rows))
    # then the answer is what predictions.csv holds, and says who predicted
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == predicted
    assert (answer.json()["model_name"], answer.json()["model_version"]) == ("mlops-assets", 1)
    assert (answer.headers["X-Model-Name"], answer.headers["X-Model-Version"]) == ("mlops-assets", "1")
    assert answer.json().get("ignored_columns", []) == (["more"] if "more" in form else [])


def test_csv_as_it_was_delivered_gets_the_predictions_of_the_day(project, predicted):
    # given the delivered file of the day
    made = project()
    file = (made.store.folder("raw_data", DS) / "data.csv").read_bytes()
    # when it is sent as it is
    with running(made.settings) as server:
        answer = server.post(file, "text/csv; charset=utf-8")
        # and its header alone
        none = server.post(file.partition(b"\n")[0], "text/csv")
    # then all rows are scored; the id is no feature
    assert answer.json()["predictions"][:8] == predicted
    assert len(answer.json()["predictions"]) == 400
    assert answer.json()["ignored_columns"] == ["id"]
    assert none.json()["predictions"] == []


def test_csv_follows_the_settings_of_delivered_files(project, rows, predicted):
    # given a project whose files are separated by semicolons and say n/a
    settings = project(csv_delimiter=";", missing_values="n/a").settings
    text = as_csv(list(rows[0]), [["n/a" if cell is None else cell for cell in row.values()] for row in rows])
    text = text.replace(",", ";").replace('dark; ""green""', 'dark, ""green""')
    # when such a file is sent / then it is understood
    with running(settings) as server:
        assert server.post(text.encode(), "text/csv").json()["predictions"] == predicted


def test_the_client_of_mlflow(project, rows, predicted):
    # given rows as people have them: a frame with NaN, NaT and dates
    frame = pd.DataFrame(rows)
    frame["amount"] = frame["amount"].astype(float)
    frame["day"] = pd.to_datetime(frame["day"])
    frame.loc[0, "day"] = pd.NaT
    with running(project().settings) as server:
        client = ScoringServerClient("127.0.0.1", int(server.url.rpartition(":")[2]))
        # when MLflow's own client asks
        client.wait_server_ready(10)
        answer = client.invoke(frame)
        # then it understands the answer
        assert client.get_version().startswith("3.")
    pd.testing.assert_frame_equal(answer.get_predictions()[1:], pd.DataFrame(predicted)[1:])
    assert np.isfinite(answer.get_predictions()["score_1"][0])


def test_many_rows_in_one_request_and_none(project, rows, predicted):
    with running(project().settings) as server:
        answer = server.post(split(rows * 500))
        assert answer.json()["predictions"] == predicted * 500
        for empty in ({"dataframe_records": []}, {"inputs": {}}, split(rows[:1]) | {"params": None}):
            assert server.post(empty).status_code == 200


def test_clients_at_the_same_time_get_their_own_answers(project, rows, predicted):
    # given eight clients, each with a row of its own, one of which is bad
    bad = {**rows[3], "amount": "much"}
    answers = {}

    def ask(place):
        row = bad if place == 3 else rows[place]
        answers[place] = [server.post({"dataframe_records": [row]}) for _ in range(20)]

    with running(project().settings) as server:
        threads = [threading.Thread(target=ask, args=(place,)) for place in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # then each got its own prediction (a forest of trees adds up in any order: to the last digit), and one an error
    for place, got in answers.items():
        assert {one.status_code for one in got} == {400 if place == 3 else 200}
        if place != 3:
            assert all(one.json()["predictions"] == [predicted[place]] for one in got)


def changed(name, value, row=1):
    """The rows with another value in a place."""
    return lambda rows: {"dataframe_records": [{**one, name: value} if n == row else one for n, one in enumerate(rows)]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed("amount", "much"), "row 2, column 'amount': expected a number or null, found 'much'"),
        (changed("amount", "1.5"), "row 2, column 'amount': expected a number or null, found '1.5'"),
        (changed("amount", [1]), "row 2, column 'amount': expected a number or null, found [1]"),
        (lambda rows: {"instances": [{**rows[0], "amount": [1]}]}, "row 1, column 'amount': expected a number"),
        (lambda rows: {"instances": [{**rows[0], "day": True}]}, "row 1, column 'day': expected a date as text"),
        (lambda rows: {"instances": [{**rows[0], "colour": "\ud800"}]}, "column 'colour': expected text"),
        (changed("colour", 7), "row 2, column 'colour': expected text or null, found 7"),
        (changed("day", "soon"), "row 2, column 'day': expected a date as text"),
        (changed("day", 20_000), "row 2, column 'day': expected a date as text"),
        (changed("day", "2024-01-01T00:00:00Z"), "column 'day': some dates have a zone and some have none"),
        (changed("amount", 10**400), "column 'amount': expected a number"),
        (lambda rows: {"dataframe_records": [{"amuont": 1.0, "count": 2}]}, "lacks columns 'amount', 'colour'"),
        (lambda rows: {"dataframe_records": [{"amuont": 1.0, "count": 2}]}, "not among the model's: column 'amuont'"),
        (lambda rows: {"dataframe_records": [rows[0], 5]}, "row 2: expected an object of column and value, found 5"),
        (
            lambda rows: {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [1]]}},
            "row 2: expected a list of 2",
        ),
        (lambda rows: {"dataframe_split": {"columns": ["a", "a"], "data": []}}, "a column twice: column 'a'"),
        (lambda rows: {"dataframe_split": [[1]]}, 'expected {"dataframe_split"'),
        (lambda rows: {"inputs": {"amount": [1], "count": [1, 2]}}, "all of one length"),
        (lambda rows: {"instances": [[1, 2]]}, "row 1: expected an object"),
        (lambda rows: {"dataframe_records": rows, "inputs": rows}, "exactly one of: dataframe_split"),
        (lambda rows: {"dataframe_records": rows, "params": {"x": 1}}, "has params"),
        (lambda rows: [1], "exactly one of"),
        (lambda rows: b"{", "is not JSON: Expecting property name"),
        (lambda rows: b"[" * 100_000, "is not JSON"),
        (lambda rows: b'"\xff"', "is not JSON"),
    ],
)
def test_bad_json_is_refused_with_row_and_column(content, message, project, rows):
    with running(project().settings) as server:
        answer = server.post(content(rows))
        assert server.post({"dataframe_records": rows}).status_code == 200
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert message in answer.json()["message"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"amount,count\n1,2\n", "lacks columns 'colour'"),
        (b"amount,count\n1\n", "expected 2 cells as in the header, found 1"),
        (b'amount,count\n1,"2\n', "a quote is opened and never closed"),
        (b"amount;count\n1;2\n", "its cells are not separated by ','"),
        (b"amount,count\n\xff,2\n", "is not UTF-8"),
    ],
)
def test_bad_csv_is_refused(content, message, project):
    with running(project().settings) as server:
        answer = server.post(content, "text/csv")
    assert answer.status_code == 400
    assert message in answer.json()["message"]


def test_a_bad_cell_of_csv_is_refused_with_row_and_column(project, rows):
    rows[2]["amount"], rows[4]["day"] = "much", None
    text = as_csv(list(rows[0]), [list(row.values()) for row in rows])
    with running(project().settings) as server:
        answer = server.post(text.encode(), "text/csv")
    assert answer.status_code == 400
    assert "row 3" in answer.json()["message"]
    assert "column 'amount': expected a number" in answer.json()["message"]


@pytest.mark.parametrize("media_type", ["application/x-www-form-urlencoded", "text/csv; charset=latin-1", ""])
def test_another_content_type_is_refused(media_type, project, rows):
    with running(project().settings) as server:
        answer = server.post(split(rows), media_type)
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json()["message"]


def test_a_large_body_is_refused_before_it_is_read(project, rows):
    with running(project(serve_max_megabytes=1).settings) as server:
        # when a body is announced that is too large, or grows too large
        announced = server.post(b" " * 1_000_001)
        grown = requests.post(
            f"{server.url}/invocations",
            data=(b" " * 100_000 for _ in range(11)),
            headers={"Content-Type": "application/json"},
            timeout=30,
        )
        # then it is refused, and others are not
        assert (announced.status_code, grown.status_code) == (413, 413)
        assert "MLOPS_SERVE_MAX_MEGABYTES" in announced.json()["message"]
        assert server.post(split(rows)).status_code == 200


def test_requests_beyond_the_limits_of_number_and_time_are_refused(project, rows, monkeypatch):
    # given a server of one request at a time, that scores large ones slowly
    monkeypatch.setattr(app, "_scored_alone", lambda *_: time.sleep(1.5))
    with running(project(serve_max_requests=1, serve_timeout_seconds=1).settings) as server:
        slow = []
        thread = threading.Thread(target=lambda: slow.append(server.post(split(rows * 500))))
        thread.start()
        while "mlops_serve_requests_running 1.0" not in server.get("/metrics").text:
            time.sleep(0.01)
        # when a second one comes meanwhile
        busy = server.post(split(rows))
        thread.join()
        # then it is refused at once, and the slow one when its time is up
        assert (busy.status_code, slow[0].status_code) == (503, 504)
        assert busy.headers["Retry-After"] == "1"
        assert "MLOPS_SERVE_MAX_REQUESTS" in busy.json()["message"]
        assert "MLOPS_SERVE_TIMEOUT_SECONDS" in slow[0].json()["message"]
        # and afterwards all is as before
        assert server.post(split(rows)).status_code == 200


def test_a_failure_of_ours_is_no_fault_of_the_request(project, rows, monkeypatch):
    monkeypatch.setattr(app, "_scored_alone", lambda *_: 1 / 0)
    with running(project().settings) as server:
        answer = server.post(split(rows * 500))
        unknown = server.get("/invocations")
        assert 'mlops_serve_requests_total{status="500"} 1.0' in server.get("/metrics").text
    assert answer.status_code == 500
    assert "its log says how" in answer.json()["message"]
    assert (unknown.status_code, unknown.json()["message"]) == (405, "Method Not Allowed")


def test_a_token_is_asked_for(project, rows):
    with running(project(serve_token="s3cret-é").settings) as server:
        # without it, or with another one, nothing is said of the model
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}):
            assert server.post(split(rows), **headers).status_code == 401
            assert server.get("/metrics", **headers).status_code == 401
            assert server.get("/health", **headers).json() == {"status": "ok"}
        assert server.get("/ping").status_code == 200
        # with it, all is
        good = {"Authorization": "Bearer s3cret-é".encode()}
        assert server.post(split(rows), **good).status_code == 200
        assert server.get("/health", **good).json()["model_version"] == 1


def test_what_prometheus_is_shown(project, rows):
    with running(project().settings) as server:
        server.post(split(rows))
        server.post(b"{")
        text = server.get("/metrics").text
    for line in (
        'mlops_serve_requests_total{status="200"} 1.0',
        'mlops_serve_requests_total{status="400"} 1.0',
        'mlops_serve_rows_total{version="1"} 8.0',
        "mlops_serve_request_seconds_count 2.0",
        "mlops_serve_model_version 1.0",
        "mlops_serve_problem 0.0",
    ):
        assert line in text.splitlines()

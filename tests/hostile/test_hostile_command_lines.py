"""Whatever is typed: exit code 0, 1 or 2, a message, no traceback, and nothing changed by what was refused."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cases import cases
from hostile_files import SPECIALS, Special, damaged, put, seen
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlops_assets.cli.app import app
from mlops_assets.errors import MlopsAssetsError

YESTERDAY = dt.datetime.now(dt.timezone.utc).date() - dt.timedelta(days=1)

TOKENS = st.sampled_from(
    [
        *(
            "",
            " ",
            "-",
            "--",
            "---",
            "-1",
            "0",
            "1",
            "99999999999999999999",
            "1e3",
            "٣",
            "nan",
            "\n",
            "\x1b[31m",
            "[red]",
            "é",
        ),
        *(
            "--json",
            "--help",
            "-h",
            "--force",
            "--version",
            "--dir",
            "--days",
            "--partition=",
            "--from",
            "--to",
            "-x",
            "=",
            "--=",
        ),
        *(
            "/",
            "..",
            "/dev/null",
            "/missing",
            "x" * 5_000,
            "\u202e",
            "%s",
            "{}",
            "$(id)",
            "';--",
            "*",
            "@file",
            "\udcff",
        ),
    ]
) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
DAYS = st.sampled_from(
    [
        *("", " ", "today", "2026-1-1", "2026-02-30", "0000-01-01", "0001-01-01", "9999-12-31", "20260101", "1.1.2026"),
        *(
            "2026-W01-1",
            "2026-01-01T00:00",
            "-2026-01-01",
            "١٩٧٠-٠١-٠١",
            "1969-12-31",
            "2200-01-01",
            "nan",
            "x" * 3_000,
        ),
        *(str(YESTERDAY), str(YESTERDAY + dt.timedelta(days=1)), str(YESTERDAY - dt.timedelta(days=400)), "../../x"),
    ]
) | st.dates().map(str)
NAMES = st.sampled_from(
    ["raw_data", "raw_data", "RAW_DATA", "raw-data", "", "*", "raw_data,split", "/raw_data", "[bold]", "../x"]
)
OUTSIDE = st.sampled_from(["-1", "65536", "99999", "1e3", "x", "", "٣٣٣٣٣٣"])


def optional(*strategies: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.one_of(*strategies), max_size=4).map(lambda parts: [word for part in parts for word in part])


def option(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return values.map(lambda value: [name, value])


JSON = st.just(["--json"])
REASON = option("--reason", TOKENS)
DIRECTORY = option("--dir", TOKENS)
PLAIN = optional(JSON)
COMMANDS = {
    "materialize": st.tuples(st.just(["raw_data", "--partition", str(YESTERDAY)]), optional(JSON, st.just(["--force"])))
    | st.tuples(
        st.lists(NAMES, max_size=2),
        st.one_of(
            option("--partition", DAYS),
            st.tuples(option("--from", DAYS), option("--to", DAYS)),
            optional(option("--partition", DAYS), option("--from", DAYS), option("--to", DAYS)),
        ),
        optional(JSON, st.just(["--force"]), st.just(["--as-of"])),
    ),
    "status": optional(option("--days", TOKENS), DIRECTORY, JSON),
    "models list": PLAIN,
    "models history": PLAIN,
    "models promote": st.tuples(
        st.sampled_from(["1", "2", "0", "-1", "9" * 20, "9" * 5_000, "v1", ""]), optional(REASON, JSON)
    ),
    "models rollback": optional(REASON, JSON),
    "alerts test": PLAIN,
    "cleanup": PLAIN,
    "doctor": PLAIN,
    # What would start servers or two weeks of work is left out.
    "dev": st.tuples(option("--port", OUTSIDE), optional(option("--mlflow-port", OUTSIDE), DIRECTORY)),
    "demo": st.one_of(option("--days", OUTSIDE), option("--source", TOKENS), option("--dir", st.just("/dev/null/x"))),
    "": optional(TOKENS.map(lambda token: [token])),
}  # fmt: skip


def flat(parts: object) -> list[str]:
    return [parts] if isinstance(parts, str) else [word for part in parts for word in flat(part)]  # type: ignore[attr-defined]


LINES = st.sampled_from(["materialize", "models promote", *COMMANDS]).flatmap(
    lambda command: st.tuples(COMMANDS[command], st.sampled_from([False] * 5 + [True]), TOKENS).map(
        lambda drawn: [*command.split(), *flat(drawn[0]), *([drawn[2]] if drawn[1] else [])]
    )
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, _trained: Path) -> Path:
    """A project's folder with two days that could be made, and a model in production."""
    folder = tmp_path_factory.mktemp("typed")
    (folder / ".mlops" / "mlflow").mkdir(parents=True)
    shutil.copy(_trained / ".mlops" / "mlflow" / "mlflow.db", folder / ".mlops" / "mlflow" / "mlflow.db")
    (folder / ".env").write_text(
        f"MLOPS_START_DATE={YESTERDAY - dt.timedelta(days=1)}\nMLOPS_ROWS_PER_DAY=20\nMLOPS_WORKERS=0\n"
    )
    with inside(folder):
        call(["doctor"])  # makes Dagster's files
    return folder


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder; environment and working directory are as they were afterwards."""
    before, here = dict(os.environ), Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        os.chdir(here)


def call(arguments: list[str]) -> tuple[int, str]:
    """Exit code and messages of a command; any other exception than ours is raised."""
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, MlopsAssetsError):
        return 1, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@cases(200)
@given(line=LINES)
def test_any_command_line(folder: Path, line: list[str]) -> None:
    before = seen(folder / "data") if (folder / "data").exists() else {}
    with inside(folder):
        code, output = call(line)
    assert code in (0, 1, 2)
    assert output.strip()
    assert "Traceback" not in output
    if code == 2:
        assert (seen(folder / "data") if (folder / "data").exists() else {}) == before
    assert {path.name for path in folder.iterdir()} <= {".env", ".mlops", "data"}


HOME = ["dagster.yaml", ".env", ".mlops/mlflow_ui_url", ".mlops/mlflow/mlflow.db", ".mlops/dagster/dagster.yaml"]
HOME += [".mlops/dagster/history/runs.db", ".mlops/dagster/history/runs/index.db", ".mlops", ".mlops/dagster", "data"]
TEXT = st.sampled_from(
    [
        "",
        "{",
        "a: b: c",
        "- x",
        "7",
        "storage: 7",
        "run_queue: {x: 1}",
        "telemetry: [",
        "\0",
        "\udcff",
        "schedules: {module: os, class: getcwd}",
    ]
)


@st.composite
def damages(draw: Any, folder: Path) -> tuple[str, bytes | Special]:
    """A file of the project or its home, and what lies in its place."""
    name = draw(st.sampled_from(HOME))
    text = TEXT.map(lambda text: text.encode("utf-8", "surrogateescape"))
    if (folder / name).is_dir() or name == "data":
        return name, draw(SPECIALS | st.just(b"a file"))
    before = (folder / name).read_bytes() if (folder / name).exists() else b"x"
    return name, draw(st.one_of(text, text, damaged(before[:20_000]), SPECIALS))


@cases(40)
@given(data=st.data())
def test_any_command_in_a_damaged_project(folder: Path, data: st.DataObject) -> None:
    name, content = data.draw(damages(folder))
    line = data.draw(
        st.sampled_from(
            [
                ["status"],
                ["doctor"],
                ["cleanup"],
                ["models", "list"],
                ["materialize", "raw_data", "--partition", str(YESTERDAY)],
            ]
        )
    )
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        shutil.copytree(folder, project, ignore=shutil.ignore_patterns("data"))
        if (project / name).is_dir():
            shutil.rmtree(project / name)
        put(project / name, content, Path(scratch))
        with inside(project):
            code, output = call(line)
        assert code in (0, 1, 2)
        assert output.strip()
        assert "Traceback" not in output

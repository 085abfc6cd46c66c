"""What all tests share: settings on a folder of their own, over a real SQLite store of MLflow."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import dagster as dg
import docker
import pytest
from databases import copy_database
from projects import DS, Project, mixed

with warnings.catch_warnings():
    # Imports of MLflow and of dagster-mlflow warn of other people's deprecations and of beta state.
    warnings.simplefilter("ignore")
    import dagster_mlflow  # noqa: F401
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

from mlops_assets.errors import MlopsAssetsError
from mlops_assets.settings import Settings
from mlops_assets.wiring.assembly import build_tracking

NOBODY = 65534


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's shell reaches a test."""
    for name in os.environ:
        if name.startswith(("MLOPS_", "MLFLOW_", "DAGSTER_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def tracking_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database; making one takes over a second of migrations, copying none."""
    home = tmp_path_factory.mktemp("template")
    build_tracking(Settings(_env_file=None, home=home)).registry.versions()
    return home / "mlflow" / "mlflow.db"


@pytest.fixture
def make_settings(tmp_path: Path, tracking_template: Path) -> Callable[..., Settings]:
    """Settings whose files all lie in ``tmp_path``; keyword arguments change some."""

    def make(**changes: object) -> Settings:
        home = tmp_path / ".mlops"
        if not home.exists():
            (home / "mlflow").mkdir(parents=True)
            copy_database(tracking_template, home / "mlflow" / "mlflow.db")
        values = {"home": home, "data_dir": tmp_path / "data", "rows_per_day": 300, "workers": 0, **changes}
        return Settings(_env_file=None, **values)

    return make


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance on SQLite, with all of its files in ``tmp_path``."""
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as instance:
        yield instance


@pytest.fixture(scope="session")
def docker_client():
    """A Docker engine with the images of the steps. Where there is none, tests are skipped; in CI never."""
    from mlops_assets.backends.docker.engine import Engine
    from mlops_assets.backends.docker.images import check_image, default_images

    engine = Engine()
    try:
        for image in set(default_images("classification").values()):
            check_image(engine, image)
    except MlopsAssetsError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    yield engine.client
    engine.close()


@pytest.fixture
def in_a_run():
    """Do something with Dagster's context, in a run of its own."""

    def run(work):
        answers = []

        @dg.asset
        def probe(context):  # Dagster reads annotations as objects
            answers.append(work(context))
            return dg.MaterializeResult()

        with dg.DagsterInstance.ephemeral() as instance:
            dg.materialize([probe], instance=instance)
        return answers[0]

    return run


@pytest.fixture
def ours(docker_client, tmp_path):
    """The containers of this test, by the directories that they see: there must be none after it."""

    def containers() -> list[docker.models.containers.Container]:
        labelled = docker_client.containers.list(
            all=True, filters={"label": "io.mlops-assets.run_id"}, ignore_removed=True
        )
        return [
            one for one in labelled if any(mount["Source"].startswith(str(tmp_path)) for mount in one.attrs["Mounts"])
        ]

    yield containers
    assert [(one.attrs["State"], one.labels) for one in containers()] == []


@pytest.fixture(scope="session")
def without_root() -> Callable[[Path], AbstractContextManager[None]]:
    """Work in a folder as a user without root's rights, for whom no permission counts."""

    @contextmanager
    def lowered(place: Path) -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)

    return lowered


@pytest.fixture
def project(make_settings: Callable[..., Settings]) -> Callable[..., Project]:
    """A project with these settings, source ``files`` by default."""
    return lambda **changes: Project(make_settings(**{"source": "files", "start_date": DS, **changes}))


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory, tracking_template: Path) -> Path:
    """A project folder in which the mixed data of one day went all the way to a model in production."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / ".mlops" / "mlflow").mkdir(parents=True)
    copy_database(tracking_template, folder / ".mlops" / "mlflow" / "mlflow.db")
    settings = Settings(
        _env_file=None, home=folder / ".mlops", data_dir=folder / "data", source="files", start_date=DS, workers=0
    )  # type: ignore[call-arg]
    made = Project(settings)
    made.deliver(DS, *mixed())
    result = made.materialize()
    assert result.success, result.failures
    return folder


@pytest.fixture
def serving(_trained: Path, tmp_path: Path, project: Callable[..., Project]) -> Callable[..., Project]:
    """A copy of a project in which the model of ``mixed()`` is in production."""

    def copy(**changes: object) -> Project:
        made = project(**changes)
        shutil.copytree(_trained / "data", made.store.root, dirs_exist_ok=True)
        copy_database(_trained / ".mlops" / "mlflow" / "mlflow.db", made.settings.home / "mlflow" / "mlflow.db")
        shutil.copytree(_trained / ".mlops" / "champions", made.settings.home / "champions")
        return made

    return copy

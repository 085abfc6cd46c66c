"""The Dagster instance that the commands share with the UI, and the traces of runs whose process died."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlops_assets.errors import MlopsAssetsError
from mlops_assets.tracking.errors import TrackingError
from mlops_assets.wiring.assembly import build_tracking

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.settings import Settings

_logger = logging.getLogger(__name__)
_CONFIG = "dagster.yaml"
_MODULE = "mlops_assets.definitions"
_PLACES = ("storage", "local_artifact_storage", "compute_logs")
_OLD_STORAGE = {"run_storage", "event_log_storage", "schedule_storage"}
"""What Dagster takes in place of ``storage``, never beside it."""
_QUIET = {"telemetry": {"enabled": False}, "nux": {"enabled": False}}
_PACKAGE = Path(__file__).parent.parent
_DEFAULTS = (_PACKAGE / _CONFIG, _PACKAGE.parent / _CONFIG)
"""Where a wheel and a checkout have the ``dagster.yaml`` of this package."""
_HEADER = "# Made by mlops-assets from the dagster.yaml of the folder where it was started; written anew each time.\n"


def dagster_home(settings: Settings) -> Path:
    """The instance's folder: ``DAGSTER_HOME``, else ``dagster`` under the home, made if missing.

    The project's ``dagster.yaml``, or where it has none the one of this package, is copied into it without the places
    of local files, which Dagster then keeps in this very folder; a database server or a bucket stays. So ``dagster
    dev`` in the project's folder and everything that is started with this folder as ``DAGSTER_HOME`` share
    configuration and files.
    """
    if configured := os.environ.get("DAGSTER_HOME"):
        return Path(configured).absolute()
    home = settings.home.absolute() / "dagster"
    kept = {name: value for name, value in _project_config().items() if not (name in _PLACES and _is_local(value))}
    ours = {} if kept.keys() & _OLD_STORAGE else _storage(home)
    draft = home / f".{_CONFIG}.{os.getpid()}"
    with _writable(home):
        home.mkdir(parents=True, exist_ok=True)
        draft.write_text(_HEADER + yaml.safe_dump({**_QUIET, **ours, **kept}), encoding="utf-8")
        draft.replace(home / _CONFIG)
    return home


def _is_local(place: object) -> bool:
    """Whether a part of the configuration names a folder for its files."""
    inner = place.values() if isinstance(place, dict) else ()
    return isinstance(place, dict) and ("base_dir" in place or any(map(_is_local, inner)))


def _storage(home: Path) -> dict[str, Any]:
    custom = {
        "module": "mlops_assets.housekeeping.sqlite_storage",
        "class": "SqliteStorage",
        "config": {"base_dir": str(home)},
    }
    return {"storage": {"custom": custom}}


def code_location() -> str:
    """What the UI calls the code location of the folder's pipeline; empty if that cannot be known."""
    path = Path("workspace.yaml")
    if not path.is_file():
        return _MODULE  # as `dev` calls it then
    try:
        modules = [one["python_module"] for one in yaml.safe_load(path.read_text(encoding="utf-8"))["load_from"]]
        named = [one if isinstance(one, dict) else {"module_name": one} for one in modules]
        (name,) = [one.get("location_name", _MODULE) for one in named if one["module_name"] == _MODULE]
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):  # several, or none in a form that we know
        return ""
    return str(name)


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance. Runs that a killed command left behind are ended first, in Dagster and in MLflow."""
    from mlops_assets.housekeeping.dead_runs import fail_dead_runs, is_over

    home = dagster_home(settings)
    with _writable(home), _locked(home):
        instance = instance_in(home)
    if fail_dead_runs(instance):
        try:
            build_tracking(settings).close_runs(lambda run_id: is_over(instance, run_id))
        except TrackingError as error:
            _logger.warning("Runs that were killed stay RUNNING in MLflow until the next clean-up. %s", error)
    return instance


def instance_in(home: Path) -> dg.DagsterInstance:
    """The instance of a folder, which others started by this process use, too.

    Raises:
        MlopsAssetsError: Its configuration or its databases cannot be used.
    """
    from dagster import DagsterInstance

    os.environ["DAGSTER_HOME"] = str(home)
    try:
        instance = DagsterInstance.get()
        with suppress(NotImplementedError):  # of a storage that is no database
            instance.event_log_storage.get_maximum_record_id()  # else it is opened in the middle of a run
    except OSError:
        raise
    except Exception as error:  # a damaged database or a wrong configuration may raise anything
        raise MlopsAssetsError(
            f"Dagster cannot use {home}: {str(error).strip() or type(error).__name__}\nCorrect {_CONFIG}; if a database"
            " in it is damaged, restore it, or move the folder away: then the history of runs begins anew, and data and"
            " models stay."
        ) from error
    return instance


def _project_config() -> dict[str, Any]:
    """The project's ``dagster.yaml``, or ours."""
    path = next((one for one in (Path(_CONFIG), *_DEFAULTS) if one.is_file()), None)
    if path is None:
        return {}
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise MlopsAssetsError(f"{path.absolute()} cannot be read: {error}. Expected YAML.") from error
    if not isinstance(config, dict):
        raise MlopsAssetsError(f"{path.absolute()} holds no mapping. Expected the configuration of a Dagster instance.")
    return config


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One process at a time: two that make Dagster's databases at once leave them with two alembic versions."""
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def served_by_one(home: Path) -> Iterator[None]:
    """Keep others from serving the same folder meanwhile: two daemons would start each run twice.

    Raises:
        MlopsAssetsError: Another process does; it is named.
    """
    with _writable(home):
        lock = (home / ".dev.lock").open("a+")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read()
            raise MlopsAssetsError(
                f"Process {pid} serves this project already: mlops-assets dev, with its history in {home}. Use its UI,"
                f" or stop it first: Ctrl-C in its terminal, or kill {pid}. Another project needs an MLOPS_HOME of its"
                " own."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def _writable(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MlopsAssetsError(
            f"Dagster's folder {home} cannot be used: {error.strerror or error}. Make it writable, or set MLOPS_HOME"
            " (or DAGSTER_HOME) to a folder that is."
        ) from error

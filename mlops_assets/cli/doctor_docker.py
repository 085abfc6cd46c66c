"""What ``mlops-assets doctor`` checks when steps run in containers."""

from __future__ import annotations

from mlops_assets.backends.docker.access import user
from mlops_assets.backends.docker.engine import Engine, EngineError
from mlops_assets.backends.docker.images import ImageError, check_image, default_images
from mlops_assets.backends.docker.probe import check_data_root, check_writable
from mlops_assets.runtime.foreign import ForeignProgramError, ForeignWork
from mlops_assets.runtime.request import Request
from mlops_assets.settings import Settings
from mlops_assets.wiring.assembly import build_store

_OK, _MISSING, _BROKEN = "ok", "missing", "broken"


def _docker_engine(_settings: Settings) -> tuple[str, str]:
    engine = Engine()
    with engine.errors("answer"):
        version = engine.client.version()
    return _OK, f"Docker {version['Version']} at {engine.address}"


def _images(settings: Settings) -> tuple[str, str]:
    if not _answers():
        return _NOT_CHECKED
    named, found = settings.docker.images, set()
    ours = default_images(settings.steps.source, settings.docker.image_prefix)
    problems: dict[str, None] = {}
    for step, image in {**ours, **named}.items():
        try:
            checked = check_image(Engine(), image, may_be_foreign=step in named)
            if checked.is_foreign:  # it may be, but not in the place of each step
                ForeignWork(build_store(settings), Request(step, (), settings.steps))
            found.add(str(checked))
        except (ImageError, ForeignProgramError) as error:
            problems[str(error)] = None
    return (_BROKEN, " ".join(problems)) if problems else (_OK, ", ".join(sorted(found)))


def _data_root_in_containers(settings: Settings) -> tuple[str, str]:
    if not _answers():
        return _NOT_CHECKED
    engine, config = Engine(), settings.docker
    check_data_root(engine, config)
    check_writable(engine, config, settings.steps.source)
    where = f"{config.data_dir} (on the engine's host: {config.on_host(config.data_dir)})"
    return _OK, f"containers see {where} and write to it as user {user(config)}"


def _answers() -> bool:
    try:
        return Engine().client is not None
    except EngineError:
        return False


_NOT_CHECKED = _MISSING, "not checked, because the Docker engine cannot be used"
CHECKS = [_docker_engine, _images, _data_root_in_containers]

"""What ``mlops-assets doctor`` looks at when steps run in containers."""

from __future__ import annotations

from mlops_assets.backends.docker.engine import Engine
from mlops_assets.backends.docker.images import ImageError, check_image, described
from mlops_assets.backends.docker.probe import check_data_root, check_tracking
from mlops_assets.settings import Settings
from mlops_assets.steps.catalog import step_of_asset
from mlops_assets.wiring.assembly import docker_config, tracking_config

_OK, _BROKEN = "ok", "broken"


def _docker_engine(_settings: Settings) -> tuple[str, str]:
    engine = Engine()
    with engine.errors("tell its version"):
        version = engine.client.version()
    return _OK, f"Docker {version['Version']} at {engine.address}"


def _images(settings: Settings) -> tuple[str, str]:
    engine, found, problems = Engine(), [], []
    for image in sorted(set(docker_config(settings).images.values())):
        try:
            found.append(f"{image} ({described(check_image(engine, image))})")
        except ImageError as error:
            problems.append(str(error))
    return (_BROKEN, " ".join(problems)) if problems else (_OK, ", ".join(found))


def _data_root_in_containers(settings: Settings) -> tuple[str, str]:
    engine, config = Engine(), docker_config(settings)
    check_data_root(engine, config, config.images[step_of_asset("raw_data", settings.steps.source).name])
    return _OK, f"containers see {config.data_dir} (on the engine's host: {config.on_host(config.data_dir)})"


def _tracking_in_containers(settings: Settings) -> tuple[str, str]:
    tracking = tracking_config(settings)
    check_tracking(Engine(), docker_config(settings), tracking)
    return _OK, f"containers reach {tracking.safe_uri}"


CHECKS = [_docker_engine, _images, _data_root_in_containers, _tracking_in_containers]

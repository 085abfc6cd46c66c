"""``mlops-assets serve``: the model server, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import logging
from contextlib import suppress
from ipaddress import ip_address

from mlops_assets.cli.console import console, errors
from mlops_assets.settings import Settings
from mlops_assets.wiring.assembly import build_model_server


def serve_model(port: int | None) -> None:
    """Serve, in this process."""
    from mlops_assets.serving.app import listen

    settings = Settings() if port is None else Settings(serve_port=port)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("mlops_assets").setLevel(logging.INFO)
    # uvicorn raises the signal again when all requests are answered; `main` makes a KeyboardInterrupt of both.
    with listen(settings.serving.host, settings.serving.port) as listening, suppress(KeyboardInterrupt):
        host, port = listening.getsockname()[:2]
        if not settings.serving.token and not ip_address(host).is_loopback:
            errors.print(f"Anyone who reaches {host} can use the model: set MLOPS_SERVE_TOKEN.", style="yellow")
        console.print(f"Model server: http://{f'[{host}]' if ':' in host else host}:{port}")
        build_model_server(settings).run(listening)

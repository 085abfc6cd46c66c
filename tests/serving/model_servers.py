"""A model server that runs on a loopback port of the test's process, and what its clients see."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from projects import DS

from mlops_assets.serving.app import listen
from mlops_assets.settings import Settings
from mlops_assets.wiring.assembly import build_model_server


@dataclass(frozen=True)
class Server:
    """A server that runs, as its clients see it."""

    url: str

    def post(self, content: Any, media_type: str = "application/json", **headers: str) -> requests.Response:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"Content-Type": media_type, **headers}
        return requests.post(f"{self.url}/invocations", data=data, headers=headers, timeout=30)

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(self.url + path, headers=headers, timeout=30)

    def health(self) -> dict[str, Any]:
        return self.get("/health").json()


@contextmanager
def running(settings: Settings) -> Iterator[Server]:
    server = build_model_server(settings)
    with listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, args=(listening,))
        thread.start()
        try:
            served = Server(f"http://127.0.0.1:{listening.getsockname()[1]}")
            served.get("/ping")  # it has looked which version is in production
            yield served
        finally:
            server.stop()
            thread.join()


def settings_of(folder: Path, **changes: Any) -> Settings:
    places = {"home": folder / ".mlops", "data_dir": folder / "data"}
    values = {"source": "files", "start_date": DS, "workers": 0, "serve_poll_seconds": 0.05, **changes}
    return Settings(_env_file=None, **places, **values)


def split(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}}

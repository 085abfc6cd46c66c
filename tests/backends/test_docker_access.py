"""What each step's container may reach, and what is read of it; no engine is needed for that."""

from __future__ import annotations

import io
import os
import socket

import docker
import pytest

from mlops_assets.backends.docker import access
from mlops_assets.backends.docker.attachment import socket_of
from mlops_assets.backends.docker.config import DockerConfig
from mlops_assets.backends.docker.engine import Engine, EngineAwayError, EngineError
from mlops_assets.backends.docker.images import default_images
from mlops_assets.backends.docker.lines import SHOWN_BYTES, Lines, PassedOn
from mlops_assets.steps.catalog import STEPS


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("generate", {"raw": True}),
        ("register", {"raw": True}),
        ("process", {"raw": False, "processed": True}),
        ("split", {"processed": False, "split": True}),
        ("train", {"split": False, "models": True}),
        ("evaluate", {"split": False, "production/models": False, "models": True}),
        ("score", {"split": False, "models": False, "production/models": False, "production/scores": True}),
        ("gate", {"production/scores": False, "production/2026-01-05": True}),
        ("predict", {"raw": False, "models": False, "production/models": False, "predictions": True}),
    ],
)
def test_a_container_gets_the_directories_of_its_step(tmp_path, step, expected):
    found = access.directories(step, tmp_path, ["2026-01-05"])
    assert {str(one.path.relative_to(tmp_path)): one.writable for one in found} == expected


def test_the_data_root_may_have_another_path_on_the_host(tmp_path):
    # given a data root that the engine's host knows by another path
    config = DockerConfig(tmp_path / "data", host_data_dir=tmp_path / "host")
    # when / then mounts come from there
    (mount,) = access.mounts(access.directories("generate", config.data_dir, []), config)
    assert mount["Source"] == str(tmp_path / "host" / "raw")
    assert mount["Target"] == str(tmp_path / "data" / "raw")


def test_images_by_step():
    # given the defaults / then every step has an image, and scikit-learn's samples are made where scikit-learn is
    images = default_images("classification")
    assert set(images) == set(STEPS)
    assert {step for step, image in images.items() if "/model:" in image} == {"train", "evaluate", "score", "predict"}
    assert "/model:" in default_images("sklearn:iris")["generate"]
    assert default_images("", "localhost:5000/team")["split"].startswith("localhost:5000/team/data:")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can hand over")
def test_root_hands_over_folders_but_neither_deliveries_nor_what_links_lead_to(tmp_path):
    # given a day that root made, one that was delivered, and a link to elsewhere
    for name in ("raw/2026-01-01", "raw/2026-01-02", "raw/2026-01-03", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "data.csv").touch()
    os.chown(tmp_path / "raw/2026-01-02", 4321, 4321)
    (tmp_path / "raw/2026-01-04").symlink_to(tmp_path / "elsewhere")
    # when some of the days are handed over
    days = ["2026-01-01", "2026-01-02", "2026-01-04", "2026-01-05"]
    access.make_accessible([access.Directory(tmp_path / "raw", writable=True)], days, "10001:10001")
    # then the folders that were root's are the containers', and nothing else
    owners = {str(path.relative_to(tmp_path)): path.stat().st_uid for path in tmp_path.rglob("*")}
    assert {name for name, uid in owners.items() if uid == 10001} == {"raw", "raw/2026-01-01"}
    assert owners["raw/2026-01-02"] == 4321


def test_lines_are_whole_however_they_come_and_bounded():
    # given lines of at most ten bytes / when pieces come that end anywhere
    lines = Lines(10)
    found = [
        line
        for piece in (b"one\ntw", b"o\n", b"\n", b"0123456789ab", b"c" * 1_000_000, b"\nend")
        for line in lines.ended(piece)
    ]
    # then lines are whole, and what is longer is cut, in bounded memory
    assert found == ["one", "two", "", "0123456789 … (1,000,002 bytes more)"]
    assert lines.rest() == ["end"]
    assert lines.rest() == []


def test_what_is_passed_on_to_the_compute_log_has_an_end():
    # given a step that prints without end / when its lines are passed on
    passed_on, stream = PassedOn(), io.StringIO()
    for _ in range(200):
        passed_on.write(["x" * 1_000_000], stream)
    # then the log has a limit and says so, once
    text = stream.getvalue()
    assert len(text) < SHOWN_BYTES + 2_000_000
    assert text.endswith("(the step has printed more than 64 MiB: the rest is not shown)\n")


def test_docker_py_still_gives_the_socket_below_an_attached_stream():
    # given what docker-py makes of a connection
    one, other = socket.socketpair()
    with one, other, socket.SocketIO(one, "rb") as attached:
        # when / then its socket can be written to
        socket_of(attached).sendall(b"order\n")
        assert other.recv(6) == b"order\n"
    assert io.RawIOBase in socket.SocketIO.__mro__
    assert hasattr(docker.APIClient, "attach_socket")


def test_an_engine_that_cannot_be_used_is_an_error_with_the_remedy(monkeypatch, tmp_path):
    # given no engine / when it is used / then the error may be retried and says what to do
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(EngineAwayError, match=r"could not be reached: .* Start it"):
        _ = Engine().client
    # given a password in its address / then no message shows it
    for address in (
        "tcp://user:hunter2@127.0.0.1:9",
        "tcp://user:a@hunter2@127.0.0.1:9",
        "tcp://user:a/hunter2@127.0.0.1:9",
        "user:hunter2@127.0.0.1:9",
        "nonsense://user:hunter2@127.0.0.1:9",
        "http://127.0.0.1:9?token=hunter2",
    ):
        monkeypatch.setenv("DOCKER_HOST", address)
        with pytest.raises(EngineError) as refused:
            _ = Engine().client
        assert "127.0.0.1:9" in str(refused.value)
        assert "hunter2" not in f"{refused.value} {Engine().address}", address
    # given a socket that this user may not open / then it is not "start it"
    with pytest.raises(EngineError, match="group docker") as refused, Engine().errors("answer"):
        raise docker.errors.DockerException("('Connection aborted.', PermissionError(13, 'Permission denied'))")
    assert not refused.value.can_retry

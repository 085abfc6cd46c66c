"""Programs without our code in the place of a step (docs/step-contract.md): here `process`, as a shell script."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest
from container_steps import DAY, is_at_work, wait_until

from mlops_assets.backends.docker.answers import StepFailedError
from mlops_assets.runtime.foreign import ForeignProgramError
from mlops_assets.wiring.assembly import build_backend, build_store

NEXT = "2026-01-06"

BEGIN = r"""#!/bin/sh
read -r order
printf '%s\n' "$order" | sed 's/{"partition": /\n&/g' | grep '^{"partition"' | while read -r one; do
  field() { printf '%s\n' "$one" | sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p"; }
  day=$(field partition) data=$(field data.csv) target=$(field target.csv) out=$(field train_data.csv)
  scratch=$(field scratch)
"""
JOIN = r"""
  awk -F, 'NR == FNR { target[$1] = $2; next }
    FNR == 1 { print $0 ",\"target\""; next }
    target[$1] != "" { print $0 "," target[$1] }' "$target" "$data" > "$out"
"""
ANSWER = r"""
  printf '{"partition": "%s", "metadata": {"made_by": "awk"}}\n' "$day"
"""
END = r"""
done
"""
WHOLE = BEGIN + JOIN + ANSWER + END
PAGE = re.search(
    r"```sh\n(#!/bin/sh.*?)```",
    (Path(__file__).parents[2] / "docs" / "step-contract.md").read_text(encoding="utf-8"),
    flags=re.DOTALL,
)[1]


@pytest.fixture
def program(built, tmp_path, docker_client):
    """An image with a shell script as its only program."""

    def build(script: str) -> str:
        text = script.replace("\\", "\\\\").replace("'", "'\\''").replace("\n", "\\n\\\n").replace("%", "%%")
        return built(
            "FROM python:3.11-slim-bookworm",
            f"RUN printf '{text}' > /process.sh && chmod 755 /process.sh",
            'CMD ["/process.sh"]',
        )

    return build


def test_a_shell_script_makes_what_our_process_makes(docker_settings, program, in_container, made, ours):
    # given two days that our process has made
    settings = docker_settings()
    made(settings, "generate", "process", days=(DAY, NEXT))
    store = build_store(settings)
    files = [store.folder("processed", day) / "train_data.csv" for day in (DAY, NEXT)]
    before = [path.read_bytes() for path in files], [store.require("processed", day).files for day in (DAY, NEXT)]
    # when a shell script makes them anew
    settings = docker_settings(images={"process": program(PAGE)})
    with closing(build_backend(settings)) as backend:
        image = backend.recipe_image("process")
    results = in_container(settings, "process", DAY, NEXT, image=image)
    # then they are the same, with their types
    assert [one.error for one in results] == [None, None]
    assert [path.read_bytes() for path in files] == before[0]
    for manifest, expected in zip((store.require("processed", day) for day in (DAY, NEXT)), before[1], strict=True):
        assert manifest.files[0].columns == expected[0].columns
        assert manifest.files[0].rows == expected[0].rows
        # and the recipe says who made them
        assert manifest.image == image
    assert results[0].recipe == store.require("processed", DAY).recipe
    assert results[0].metadata["rows"] == before[1][0][0].rows
    assert len(results[0].metadata["preview"]) == 5
    # and our next step reads them
    assert in_container(settings, "split", DAY)[0].error is None
    # and no scratch directory is left
    assert not list(settings.data_dir.glob("scratch/*/*"))


def test_an_error_is_of_its_day_and_a_missing_input_too(docker_settings, program, in_container, made, ours):
    # given a program that refuses one of two days, and a third day that never arrived
    script = BEGIN + f'[ "$day" = {DAY} ] && printf \'{{"partition": "%s", "error": "no"}}\\n\' "$day" && continue\n'
    settings = docker_settings(images={"process": program(script + JOIN + ANSWER + END + "exit 1\n")})
    made(settings, "generate", days=(DAY, NEXT))
    # when it runs / then the good day is made
    first, second, third = in_container(settings, "process", DAY, NEXT, "2026-01-07")
    assert first.error == "no"
    assert second.error is None
    assert second.metadata["made_by"] == "awk"
    assert "raw_data of 2026-01-07 is missing" in third.error


def test_what_is_in_the_scratch_directory_survives_a_kill(docker_settings, program, in_container, made, ours):
    # given a program that is killed in the middle of its work
    pause = 'test -e "$scratch/half" || { touch "$scratch/half"; echo at work >&2; sleep 60; }'
    settings = docker_settings(images={"process": program(BEGIN + pause + JOIN + ANSWER + END)})
    made(settings, "generate")

    def kill():
        wait_until(lambda: [one for one in ours() if is_at_work(one)])[0].kill()

    killer = Thread(target=kill)
    killer.start()
    with pytest.raises(StepFailedError, match="killed from outside"):
        in_container(settings, "process")
    killer.join()
    # when it runs again / then it goes on from there
    (result,) = in_container(settings, "process")
    assert result.error is None


def test_a_program_writes_to_its_own_scratch_directory_and_nowhere_else(
    docker_settings, program, in_container, made, ours
):
    # given a program that tries to put links and files where other programs and assets have theirs
    tries = """
  for place in "${scratch%/*}" "${scratch%/*/*}" "${scratch%/*/*/*}" "${data%/*}"; do
    ln -s ../predictions "$place/link" && echo "$place" >> "$scratch/reached"
    mkdir "$place/folder" && echo "$place" >> "$scratch/reached"
  done 2> /dev/null
  ! test -e "$scratch/reached" || cat "$scratch/reached" > "$out"
"""
    settings = docker_settings(images={"process": program(BEGIN + JOIN + tries + ANSWER + END)})
    made(settings, "generate", days=(DAY, NEXT))
    # when it runs
    results = in_container(settings, "process", DAY, NEXT)
    # then it could do so nowhere, and its directories are gone
    assert [one.error for one in results] == [None, None]
    assert results[0].metadata["columns"] > 1
    assert {one.name for one in (settings.data_dir / "scratch").iterdir()} == {".process"}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('ln -s /etc/passwd "$out"', "has not written train_data.csv"),
        ('rmdir "${out%/*}"; ln -s /etc "${out%/*}"', "has not written train_data.csv"),
        ('mkfifo "$out"', "not a regular file"),
        ("true", "has not written train_data.csv"),
        ('echo a,b > "$out"; echo 1 >> "$out"', "expected 2 cells as in the header, found 1"),
        (': > "$out"', "is empty"),
    ],
)
def test_bad_files_are_errors_of_their_day(docker_settings, program, in_container, made, ours, script, expected):
    # given a program that says it is done and is not
    settings = docker_settings(images={"process": program(BEGIN + script + ANSWER + END)})
    made(settings, "generate")
    # when it runs / then nothing is published
    (result,) = in_container(settings, "process")
    assert expected in result.error
    assert not list(settings.data_dir.glob("processed/*/*"))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (BEGIN + "echo done" + END, r"printed 'done', which is no answer"),
        (BEGIN + """echo '{"partition": "2030-01-01"}'""" + END, "no answer for a partition"),
        (BEGIN + """echo '{"partition": "2026-01-05", "metadata": []}'""" + END, "no answer for a partition"),
        (BEGIN + JOIN + ANSWER + ANSWER + END, "still open"),
        (BEGIN + """echo '{"partition": "2026-01-05", "metadata": {"x": NaN}}'""" + END, "no answer"),
        (BEGIN + END, "without an answer for 1 partition"),
        ("#!/bin/sh\necho which contract? >&2\nexit 2\n", r"exit code 2\. Its last lines:\nwhich contract"),
        (WHOLE + "exit 1\n", "exit code 1"),
    ],
)
def test_a_program_that_breaks_the_contract(docker_settings, program, in_container, made, ours, script, expected):
    settings = docker_settings(images={"process": program(script)})
    made(settings, "generate")
    with pytest.raises((StepFailedError, ForeignProgramError), match=expected):
        in_container(settings, "process")


def test_steps_with_models_and_deliveries_cannot_be_replaced(docker_settings, program, in_container, made, ours):
    image = program(WHOLE)
    for step in ("train", "predict", "register"):
        settings = docker_settings(images={step: image})
        with pytest.raises(ForeignProgramError, match="FROM ours"):
            in_container(settings, step)


def test_raw_data_of_a_program_are_its_own_and_deliveries_stay(docker_settings, program, in_container, ours):
    # given a program in the place of generate
    script = BEGIN.replace("$(field train_data.csv)", "") + (
        'printf "id,x\\n1,2\\n" > "$data"; printf "id,target\\n1,0\\n" > "$target"' + ANSWER + END
    )
    settings = docker_settings(images={"generate": program(script)})
    store = build_store(settings)
    # when it runs twice / then its second result replaces the first
    for _ in range(2):
        (result,) = in_container(settings, "generate")
        assert result.error is None
    assert store.read_table("raw_data", DAY, "data.csv").to_pydict() == {"id": ["1"], "x": [2]}
    # and what others have delivered stays
    (store.folder("raw_data", DAY) / "data.csv").write_text("id,x\n7,7\n")
    (result,) = in_container(settings, "generate")
    assert "was delivered" in result.error
    assert (store.folder("raw_data", DAY) / "data.csv").read_text() == "id,x\n7,7\n"

"""Whatever is delivered: a step ends with complete outputs or with a message, and no input is changed."""

from __future__ import annotations

from cases import cases
from hostile_files import Special, days, faulty_days, written
from hypothesis import given
from hypothesis import strategies as st
from places import TRAINING, deliver, delivered, look, place, run
from projects import DS, NEXT


@cases(300)
@given(day=faulty_days())
def test_a_day_in_which_something_is_wrong(day: dict[str, bytes | Special]) -> None:
    with place() as here:
        before = deliver(here, DS, day)
        look(here.project)
        for step in TRAINING:
            if not run(here.project, step, DS):
                break
        look(here.project)
        assert delivered(here, DS, before)


@cases(150)
@given(data=st.data())
def test_any_values_go_all_the_way_or_are_refused(data: st.DataObject) -> None:
    first = data.draw(days())
    names = [*first[0]] if data.draw(st.booleans()) else None
    second = data.draw(days(names))
    with place() as here:
        before = {
            ds: deliver(here, ds, {"data.csv": written(one).encode(), "target.csv": written(two).encode()})
            for ds, (one, two) in ((DS, first), (NEXT, second))
        }
        if not all(run(here.project, step, DS) for step in TRAINING):
            return
        model = here.project.model_file(DS)
        run(here.project, "evaluate", DS, models={DS: model})
        if run(here.project, "register", NEXT):
            run(here.project, "predict", NEXT, models={NEXT: model})
            if run(here.project, "process", NEXT) and run(here.project, "split", NEXT):
                if run(here.project, "score", "v1", models={"v1": model}, days={"split": (DS, NEXT)}):
                    run(here.project, "gate", NEXT, days={"scores": ("v1",)}, inputs={"champion": None})
                run(here.project, "train", NEXT)
        look(here.project)
        assert all(delivered(here, ds, files) for ds, files in before.items())

"""Whatever the environment or ``.env`` holds: settings that can be used, or one clear error without any secret."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.errors import SettingsError
from mlops_assets.settings import Settings, sections, variable
from mlops_assets.wiring.assembly import build_backend, build_channels, build_days, build_names

DECLARED = [one for settings in sections().values() for one in settings]
SHOWN_AS_THEY_ARE = {"MLOPS_HOME", "MLOPS_DATA_DIR", "MLOPS_MODEL_NAME", "MLOPS_EXPERIMENT"}
"""Paths and names: nobody writes a password there."""
VARIABLES = [variable(one.name) for one in DECLARED] + [one.also for one in DECLARED if one.also]
SECRET = "hunter2secret"

TEXTS = st.sampled_from(
    [
        *(
            " ",
            "0",
            "-1",
            "1",
            "7",
            "64",
            "1e3",
            "1_000",
            "٣",
            "nan",
            "-inf",
            "1e999",
            "9" * 5_000,
            "0x10",
            "1.5",
            "+3",
        ),
        *("true", "YES", "off", "None", "null", "{}", "[]", "[1]", "a=b", "a=b,c=d", "train=x,train=y", "=", ",", ",,"),
        *("2026-01-01", "2026-02-30", "0000-01-01", "2199-12-31", "20260101", "2026-W01-1", "2026-01-01T00:00:00"),
        *("* * * * *", "@daily", "@reboot", "0 0 31 2 *", "*/0 * * * *", "0 0 * * 7#6", "H H * * *", "0-99 * * * *"),
        *(
            "UTC",
            "utc",
            "Europe/Berlin",
            "Etc/GMT+12",
            "/etc/localtime",
            "posixrules",
            "right/UTC",
            "US",
            ".",
            "Factory",
        ),
        *("files", "marker", "docker", "transactions", "sklearn:iris", "random_forest", "log_loss", "failure,late"),
        *("512m", "0b", "1k", "9" * 40 + "g", "1.5g", "50%", "0:0", "65536:99999999999", "root", "1000:"),
        *("/", "/proc/1/mem", "/dev/null", "~", "~nobody/x", "$HOME", "a/../..", "data\\x", "x" * 300, "\u202e", "ｆ"),
        *("http://x", "https://[::1]:3000/", "http://x:99999", "ftp://x", "//x", "http://x y", "HTTP://X", "http://é"),
        *("sqlite:////tmp/x.db", "sqlite:///x.db", "postgresql://h/db", "mysql+pymysql://h", "databricks", "file:///x"),
        *(
            "mailto://x",
            "json://x",
            "slack://a/b/c",
            "bogus://x",
            "tgram://",
            "json://x json://y",
            "unix:///x",
            "tcp://:1",
        ),
    ]
)
SECRETS = st.sampled_from(
    [
        *("{}://user:%s@host/db", "{}://:%s@host", "{}://user:%s@", "{}://user:%s@host:port", "{}://u:%s@h@i/p"),
        *(
            "{}://host/?password=%s",
            "{}://host?token=%s&x",
            "{}://user:a/%s@host",
            "{}://user:a b%s@host",
            "{}://u:%s@[",
        ),
        *("{}://user:#%s@host", "x=registry://u:%s@h,y", "{}://a?b@c:%s@d"),
    ]
)
SCHEMES = st.sampled_from(["http", "https", "sqlite", "postgresql", "mailto", "json", "tcp", "unix", "bogus"])


@st.composite
def values(draw: Any, *, secrets: bool = True) -> str:
    """A value of any setting, as an environment can hold it."""
    kind = draw(st.sampled_from(["text", "text", "number", "any", "list", *(["secret"] if secrets else [])]))
    if kind == "text":
        return draw(TEXTS)
    if kind == "secret":
        return draw(SECRETS).replace("{}", draw(SCHEMES)).replace("%s", SECRET)
    if kind == "number":
        return str(draw(st.integers() | st.floats()))
    if kind == "list":
        return draw(st.sampled_from([",", " ", ";", "="])).join(draw(st.lists(TEXTS, max_size=4)))
    return draw(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20))


def use(settings: Settings) -> str:
    """All that is made of the settings before anything is opened; what is shown of them."""
    shown = [repr(settings), *(text for _, text in settings.rows())]
    shown += [repr(settings.tracking), str(settings.tracking.ui_base), settings.tracking.safe_uri]
    build_days(settings)
    build_names(settings)
    build_backend(settings)
    build_channels(settings)
    return " ".join(shown)


def environments(names: list[str]) -> st.SearchStrategy[dict[str, str]]:
    """A few variables and their values."""
    plain = st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), values(secrets=name not in SHOWN_AS_THEY_ARE))
    )
    return st.lists(plain, min_size=1, max_size=3).map(dict)


UNKNOWN = st.text("ABC_é ", max_size=5).map("MLOPS_{}".format)


@cases(400)
@given(environment=environments(VARIABLES) | st.dictionaries(UNKNOWN, values(), max_size=1))
def test_any_value_of_any_setting(environment: dict[str, str]) -> None:
    try:
        shown = use(Settings(_env_file=None, _environment=environment))
    except SettingsError as error:
        shown = str(error)
        first, *lines = shown.splitlines()
        assert first == "Invalid settings:"
        assert lines
        assert any(name.removeprefix("MLOPS_").lower() in shown.lower() for name in environment)
    assert SECRET not in shown
    shown.encode()


@cases(100)
@given(
    content=st.binary(max_size=60)
    | environments([*VARIABLES, "X", "", "export A", "#"]).map(
        lambda environment: "\n".join(map("=".join, environment.items())).encode()
    )
)
def test_any_env_file(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ".env"
        file.write_bytes(content)
        try:
            shown = use(Settings(_env_file=file, _environment={}))
        except SettingsError as error:
            shown = str(error)
        assert file.read_bytes() == content
    assert SECRET not in shown

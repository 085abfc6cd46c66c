"""From variables to values: the environment, ``.env`` and arguments, validated by pydantic against the declarations."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from mlops_assets.addresses import without_credentials
from mlops_assets.declared import Setting
from mlops_assets.errors import SettingsError

PREFIX = "MLOPS_"
_MAX_SHOWN = 200
_CREDENTIALS = re.compile(r"\S*:\S*@(?=\S)")
_CREDENTIALS_WITH_BLANKS = re.compile(r"(?<=://).*@", re.DOTALL)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def read(
    declared: Sequence[Setting], arguments: Mapping[str, Any], env_file: Path | None, environment: Mapping[str, str]
) -> tuple[dict[str, Any], frozenset[str], list[str]]:
    """Read and validate all settings.

    Returns:
        The values by name, defaults in place of those that cannot be used; the names of those that were given; the
        problems.
    """
    by_name = {one.name: one for one in declared}
    texts = {**(read_env_file(env_file) if env_file else {}), **environment}
    variables = {name.upper(): text for name, text in texts.items() if text}
    given = {**dict(_from_environment(declared, variables)), **arguments}
    problems = [
        *_unknown((name for name in texts if name.upper().startswith(PREFIX)), by_name, variable),
        *_unknown(arguments, by_name),
    ]
    given = {name: value for name, value in given.items() if name in by_name}
    model = _model(tuple(declared))
    try:
        values = model(**given)
    except ValidationError as error:
        wrong = {one["loc"][0]: one for one in error.errors()}
        problems = [_problem(by_name[str(name)], one) for name, one in wrong.items()] + problems
        values = model(**{name: value for name, value in given.items() if name not in wrong})
    return {name: getattr(values, name) for name in by_name}, frozenset(given), problems


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file, if there is one.

    Raises:
        SettingsError: It cannot be read, or a line of it.
    """
    if not path.is_file():
        return {}
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.absolute()} cannot be read: {error}. Expected text, encoded as UTF-8.") from None
    for one in parse_stream(StringIO(text)):
        if one.error or (one.key is not None and one.value is None):
            blank = one.original.string[: -len(one.original.string.lstrip())].count("\n")
            raise SettingsError(  # without the line, which may hold a secret
                f"{path.absolute()}, line {one.original.line + blank}: expected NAME=VALUE; if the value has quotes,"
                " they must be closed. Correct the line, or begin it with # to leave it out."
            )
    values = dotenv_values(stream=StringIO(text))
    if broken := [name for name, value in values.items() if "\0" in f"{name}{value}"]:
        raise SettingsError(f"{path.absolute()}: {broken[0]!r} holds a NUL byte. Expected text.")
    return {name: value for name, value in values.items() if value is not None}


def shown(declared: Setting, value: Any) -> str:
    """A value as users write it; secrets are hidden."""
    if value is None or value in ("", (), {}):
        return ""
    if declared.secret:
        return "***"
    if isinstance(value, Mapping):
        value = tuple(f"{key}={text}" for key, text in value.items())
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return _without_secrets(text.lower() if isinstance(value, bool) else text)


def _from_environment(declared: Iterable[Setting], variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for one in declared:
        text = variables.get(variable(one.name)) or variables.get(one.also)
        if text:
            yield one.name, text


def _unknown(names: Iterable[str], known: Collection[str], spelled: Callable[[str], str] = str) -> Iterator[str]:
    for name in sorted(names):
        plain = name.upper().removeprefix(PREFIX).lower() if spelled is variable else name
        if plain not in known:
            import difflib

            similar = difflib.get_close_matches(plain, known, n=1)
            hint = f"did you mean {spelled(similar[0])}?" if similar else "docs/settings.md lists all settings."
            yield f"unknown setting {name!r}: {hint}"


def _without_secrets(text: str) -> str:
    return _CREDENTIALS_WITH_BLANKS.sub("", without_credentials(text))


@cache
def _model(declared: tuple[Setting, ...]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for one in declared:
        hint: Any = Annotated[one.annotation, Field(**one.bounds)]
        if one.parse:
            hint = Annotated[hint, BeforeValidator(one.parse)]
        if one.check:
            hint = Annotated[hint, AfterValidator(one.check)]
        fields[one.name] = (hint, one.default)
    config = ConfigDict(allow_inf_nan=False, protected_namespaces=())
    return create_model("Values", __config__=config, **fields)


def _problem(declared: Setting, error: Any) -> str:
    message = _without_secrets(error["msg"].removeprefix("Value error, "))
    message = message[:1].lower() + message[1:]
    name = variable(declared.name)
    if declared.secret:
        return f"{name}: {message}"
    value = error["input"]
    # Credentials may also stand in an address whose scheme is missing.
    value = repr(_CREDENTIALS.sub("", _without_secrets(value)) if isinstance(value, str) else value)
    return f"{name} is {value if len(value) <= _MAX_SHOWN else value[:_MAX_SHOWN] + '…'}: {message}"

"""How a setting is declared: once, as a field of the dataclass whose subject it belongs to.

:mod:`mlops_assets.settings` reads, validates and documents what is declared. Standard library only: some of these
dataclasses go into images that have no pydantic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, get_type_hints

_KEY = "setting"


@dataclass(frozen=True, eq=False)
class Setting:
    """One setting; what is not given to :func:`setting` is known from the dataclass.

    Attributes:
        description: For users.
        name: Of the keyword argument; the variable is this in capitals after ``MLOPS_``. Default: the field's.
        section: Heading in the documentation. Default: the group's.
        also: Further variable that is read when the setting's own is not set.
        secret: Whether the value must not be shown.
        parse: Applied before validation, to text and to values alike.
        check: Applied after validation; returns the value or raises ValueError.
        bounds: Constraints, as ``pydantic.Field`` names them.
        attribute: Name of the dataclass's field.
        annotation: Type of the field.
        default: Of the field.
    """

    description: str
    name: str = ""
    section: str = ""
    also: str = ""
    secret: bool = False
    parse: Callable[[Any], Any] | None = None
    check: Callable[[Any], Any] | None = None
    bounds: Mapping[str, Any] = field(default_factory=dict)
    attribute: str = ""
    annotation: Any = None
    default: Any = None


def setting(
    default: Any,
    description: str,
    *,
    name: str = "",
    section: str = "",
    also: str = "",
    secret: bool = False,
    parse: Callable[[Any], Any] | None = None,
    check: Callable[[Any], Any] | None = None,
    **bounds: Any,
) -> Any:
    """A dataclass field that users can set; see :class:`Setting` for the arguments."""
    declaration = Setting(description, name, section, also, secret, parse, check, bounds)
    metadata = {_KEY: declaration}
    if isinstance(default, dict):
        return field(default_factory=default.copy, repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


def settings_of(owner: type) -> Iterator[Setting]:
    """The settings that a dataclass declares."""
    types = get_type_hints(owner)
    for one in fields(owner):
        if _KEY not in one.metadata:
            continue
        declaration: Setting = one.metadata[_KEY]
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        name = declaration.name or one.name
        yield replace(declaration, name=name, attribute=one.name, annotation=types[one.name], default=default)


def names(value: Any) -> Any:
    """``a, b`` as a tuple."""
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


def pairs(value: Any) -> Any:
    """``a=x, b=y`` as a dictionary."""
    if not isinstance(value, str):
        return value
    parts = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    if wrong := [key.strip() for key, _, text in parts if not key.strip() or not text.strip()]:
        raise ValueError(f"expected name=value pairs, separated by commas, not {', '.join(map(repr, wrong))}")
    return {key.strip(): text.strip() for key, _, text in parts}

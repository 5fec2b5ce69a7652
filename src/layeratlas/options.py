"""Options held against the types and ranges that their owner's annotations declare.

The owner is a class or a function: a metric, a corpus, a group of keys. Types are strict, as nothing good comes of reading `true`
as 1 or `1.5` as 1: only a whole number may stand for a number with a fraction.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints

from annotated_types import Ge, Interval
from pydantic import ConfigDict, InstanceOf, PydanticUserError, TypeAdapter, ValidationError

from layeratlas.errors import ConfigError

Natural = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]
Seed = Annotated[int, Interval(ge=0, lt=2**63)]
Repetitions = Annotated[int, Interval(ge=0, le=1_000_000)]
Fraction = Annotated[float, Interval(gt=0, lt=1)]

_CONFIG = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
_LONGEST = 80
_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "sequence": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "none": "null",
    "callable": "a function",
}
_BOUNDS = {
    "greater_than_equal": "of at least",
    "greater_than": "above",
    "less_than_equal": "of at most",
    "less_than": "below",
}


def require(hint: Any, value: Any, where: str) -> None:
    """Raises ConfigError, with `where` the value stands in the config, unless it is of the type and in the range of the hint."""
    adapter = _adapter(hint)
    if adapter is None:
        return
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        raise ConfigError(_message(error, hint, value, where)) from None


def require_options(owner: Callable[..., Any], options: Mapping[str, Any], where: str) -> None:
    """Raises ConfigError for an option that the owner does not know, or whose value it does not take."""
    known = parameters(owner)
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    for key, value in options.items():
        if key not in known and not takes_any:
            there_is = ", ".join(known) or "none"
            raise ConfigError(f"{where}.{key}: {_name(owner)} has no such option{meant(key, known)}; it has {there_is}")
        if key in (known_hints := hints(owner)):
            require(known_hints[key], value, f"{where}.{key}")


def require_complete(owner: Callable[..., Any], options: Mapping[str, Any], where: str) -> None:
    """Raises ConfigError if an option without a default is not given."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    for key, parameter in parameters(owner).items():
        if key not in options and parameter.default is parameter.empty and parameter.kind in named:
            raise ConfigError(f"{where}.{key}: has no value, and {_name(owner)} needs one")


@cache
def parameters(owner: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """What can be given to a function, or to the constructor of a class."""
    if not inspect.isclass(owner):
        return dict(inspect.signature(owner).parameters)
    if owner.__init__ is object.__init__:
        return {}
    return dict(list(inspect.signature(owner.__init__).parameters.items())[1:])


def meant(typed: str, known: Iterable[str]) -> str:
    """The known name that a misspelt one most resembles, as `; did you mean 'x'?`; nothing if none does."""
    close = difflib.get_close_matches(typed, [name for name in known if name != typed], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


@cache
def _adapter(hint: Any) -> TypeAdapter | None:
    """None for what a user's class declares and pydantic cannot read: anything goes there."""
    if is_dataclass(hint):  # pydantic takes a mapping for one
        return TypeAdapter(InstanceOf[hint])  # type: ignore[valid-type]
    try:
        return TypeAdapter(hint, config=_CONFIG)
    except PydanticUserError:
        return None


@cache
def hints(owner: Callable[..., Any]) -> dict[str, Any]:
    """None for an owner whose annotations cannot be evaluated."""
    try:
        return get_type_hints(owner.__init__ if inspect.isclass(owner) else owner, include_extras=True)
    except NameError:
        return {}


def _message(error: ValidationError, hint: Any, value: Any, where: str) -> str:
    """The mistakes that lie deepest: an alternative of the wrong kind says nothing about the entries of the right one."""
    mistakes = error.errors(include_url=False)
    deepest = max(len(mistake["loc"]) for mistake in mistakes)
    chosen = [mistake for mistake in mistakes if len(mistake["loc"]) == deepest]
    places = "".join(f"[{part}]" for part in chosen[0]["loc"] if isinstance(part, int))
    expected = list(dict.fromkeys(_expected(mistake) for mistake in chosen))
    if type(None) in get_args(hint) and not places:
        expected.append("null")
    got = chosen[0]["input"] if places else value
    line = f"{where}{places}: expected {' or '.join(expected)}; got {shown(got)}"
    if expected[0] != "text" or not isinstance(got, int | float) or "a list" in expected:
        return line
    yaml = "YAML takes no, off, on and yes for false or true; " if isinstance(got, bool) else ""
    return f"{line} ({yaml}put it in quotes)"


def _expected(mistake: Mapping[str, Any]) -> str:
    kind, context = mistake["type"], mistake.get("ctx", {})
    if kind == "literal_error":
        return f"{context['expected']}"
    if kind == "is_instance_of":
        name = str(context["class"])
        return _EXPECTED.get(name.lower(), f"an instance of {name}")
    if kind in _BOUNDS:
        return f"a number {_BOUNDS[kind]} {next(iter(context.values()))}"
    return _EXPECTED.get(kind.split("_")[0], str(mistake["msg"]).removeprefix("Input should be "))


def shown(value: Any) -> str:
    """A value in a message; a class in place of what it makes is the commonest mistake of all."""
    if inspect.isclass(value):
        return f"the class {value.__name__}: {value.__name__}(...) makes an instance of it"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}.. ({type(value).__name__})"


def _name(owner: Callable[..., Any]) -> str:
    return getattr(owner, "__name__", str(owner))

"""Frozen records to plain JSON values and back, strictly and without a line of code per record.

Takes dataclasses whose fields are str, int, float, bool, Any, Literal, StrEnum, Optional, tuples, mappings with string
keys and other such dataclasses. Gives dictionaries or records. An unknown, missing or mistyped field raises `BadField`.
A field with a default may be absent, so that old files stay readable when a record gains a field; a field with the
metadata `sparse` is not even written where it has its default. Records may hold records of their own kind.
Does not read files: see `components.records.jsonl`.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Decode = Callable[[Any], Any]
Encode = Callable[[Any], Any]

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}


class BadField(ValueError):  # noqa: N818 - the name other houses catch
    """A value does not fit its field."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        """Dotted path of the field, e.g. `transitions[0].cost.calls`; empty for the record itself."""
        self.reason = reason

    def inside(self, parent: str) -> BadField:
        """The same complaint seen from one level further out."""
        joint = "" if not self.field or self.field.startswith("[") else "."
        return BadField(f"{parent}{joint}{self.field}", self.reason)


def to_json(record: Any) -> dict[str, Any]:
    """The record as a dictionary that `json.dumps` accepts, every field written but sparse ones."""
    kind: Any = type(record)
    encoded: dict[str, Any] = _encoder(kind)(record)
    return encoded


def from_json(cls: type[T], mapping: Mapping[str, Any]) -> T:
    """The record of class `cls` that `mapping` describes; raises `BadField`."""
    kind: Any = cls
    record: T = _decoder(kind)(mapping)
    return record


def describe(value: Any) -> str:
    """What kind of JSON value this is, in words for an error message."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return _NAMES.get(type(value), type(value).__name__)


# --- encoding ---------------------------------------------------------------------------------------------------------


def _same(value: Any) -> Any:
    return value


@cache
def _encoder(kind: Any) -> Encode:
    """A function that turns a value of the annotated type into plain JSON values."""
    if dataclasses.is_dataclass(kind):
        return _record_encoder(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inner = _encoder(_optional_part(kind))
        return inner if inner is _same else lambda value: None if value is None else inner(value)
    if origin is tuple:
        return _tuple_encoder(arguments)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        inner = _encoder(arguments[1])
        if inner is _same:
            return plain
        return lambda value: {key: inner(item) for key, item in value.items()}
    if kind is Any:
        return plain
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return str
    return _same


def _record_encoder(cls: Any) -> Encode:
    @cache  # made at the first use: a record may hold records of its own kind
    def parts() -> tuple[tuple[str, Encode, Any], ...]:
        hints = get_type_hints(cls)
        return tuple((field.name, _encoder(hints[field.name]), _unwritten(field)) for field in dataclasses.fields(cls))

    def encode(record: Any) -> dict[str, Any]:
        values = ((name, inner, getattr(record, name), unwritten) for name, inner, unwritten in parts())
        return {
            name: inner(value)
            for name, inner, value, unwritten in values
            if unwritten is dataclasses.MISSING or value != unwritten
        }

    return encode


def _unwritten(field: dataclasses.Field[Any]) -> Any:
    """The value that is not written; MISSING for most fields, which are always written."""
    return field.default if field.metadata.get("sparse") else dataclasses.MISSING


def _tuple_encoder(arguments: tuple[Any, ...]) -> Encode:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        inner = _encoder(arguments[0])
        return list if inner is _same else lambda value: [inner(item) for item in value]
    inners = tuple(_encoder(argument) for argument in arguments)
    return lambda value: [inner(item) for inner, item in zip(inners, value, strict=True)]


def plain(value: Any) -> Any:
    """Free-form content as plain JSON values: tuples become lists, mappings dictionaries."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


# --- decoding ---------------------------------------------------------------------------------------------------------


@cache
def _decoder(kind: Any) -> Decode:
    """A function that checks a plain JSON value against the annotated type and builds the record's value."""
    if dataclasses.is_dataclass(kind):
        return _record_decoder(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inner = _decoder(_optional_part(kind))
        return lambda value: None if value is None else inner(value)
    if origin is Literal:
        return _choice_decoder(arguments)
    if origin is tuple:
        return _tuple_decoder(arguments)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_decoder(_decoder(arguments[1]))
    if kind is Any:
        return _same
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        choose = _choice_decoder(tuple(kind))
        return lambda value: kind(choose(value))
    if kind is float:
        return _decode_float
    if kind in (str, int, bool):
        return _scalar_decoder(kind)
    raise TypeError(f"the codec does not know the type {kind!r}")


def _record_decoder(cls: Any) -> Decode:
    fields = dataclasses.fields(cls)

    @cache  # made at the first use, as in `_record_encoder`
    def inners() -> dict[str, Decode]:
        hints = get_type_hints(cls)
        return {field.name: _decoder(hints[field.name]) for field in fields}

    required = tuple(
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )

    def decode(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise BadField("", f"must be an object, is {describe(value)}")
        for name in required:
            if name not in value:
                raise BadField(name, "is missing")
        arguments: dict[str, Any] = {}
        decoders = inners()
        for name, item in value.items():
            inner = decoders.get(name)
            if inner is None:
                raise BadField(str(name), f"is not a field of {cls.__name__}; its fields are {', '.join(decoders)}")
            try:
                arguments[name] = inner(item)
            except BadField as error:
                raise error.inside(name) from None
        return cls(**arguments)

    return decode


def _tuple_decoder(arguments: tuple[Any, ...]) -> Decode:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return _sequence_decoder(arguments[0], _decoder(arguments[0]))
    inners = tuple(_decoder(argument) for argument in arguments)

    def decode(value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) != len(inners):
            raise BadField("", f"must be a list of {len(inners)} items, is {describe(value)}")
        return tuple(_item(inner, index, item) for index, (inner, item) in enumerate(zip(inners, value, strict=True)))

    return decode


def _sequence_decoder(kind: Any, inner: Decode) -> Decode:
    only = frozenset((kind,)) if kind in (str, int, float, bool) else None

    def decode(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise BadField("", f"must be a list, is {describe(value)}")
        if only is not None and set(map(type, value)) <= only:
            return tuple(value)  # token ids and log-probabilities: by far the most values in a file
        return tuple(_item(inner, index, item) for index, item in enumerate(value))

    return decode


def _item(inner: Decode, index: int, item: Any) -> Any:
    try:
        return inner(item)
    except BadField as error:
        raise error.inside(f"[{index}]") from None


def _mapping_decoder(inner: Decode) -> Decode:
    def decode(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise BadField("", f"must be an object, is {describe(value)}")
        if inner is _same:
            return dict(value)
        result: dict[str, Any] = {}
        for key, item in value.items():
            try:
                result[key] = inner(item)
            except BadField as error:
                raise error.inside(str(key)) from None
        return result

    return decode


def _choice_decoder(choices: tuple[Any, ...]) -> Decode:
    words = ", ".join(str(choice) for choice in choices)

    def decode(value: Any) -> Any:
        for choice in choices:
            if type(value) in (type(choice), str) and value == choice:
                return choice
        raise BadField("", f"must be one of {words}, is {value!r:.60}")

    return decode


def _scalar_decoder(kind: type) -> Decode:
    def decode(value: Any) -> Any:
        if type(value) is not kind:
            raise BadField("", f"must be {_NAMES[kind]}, is {describe(value)}")
        return value

    return decode


def _decode_float(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    raise BadField("", f"must be a number, is {describe(value)}")


def _optional_part(kind: Any) -> Any:
    """X of `X | None`; other unions are not used in records."""
    parts = [part for part in get_args(kind) if part is not type(None)]
    if len(parts) != 1:
        raise TypeError(f"the codec only knows unions of one type with None, not {kind!r}")
    return parts[0]

"""A bundle's model card: read from `card.json`, the fields that programs rely on checked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from perfcast.errors import BundleError

__all__ = ["CARD_FILE", "SCHEMA", "created", "read_card"]

SCHEMA = 1
CARD_FILE = "card.json"
_REQUIRED = ("schema", "task", "version", "model_sha256", "coverage", "reasons", "deployments")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_REASONS = 63  # bits of an int64 that may be set


def read_card(path: Path) -> dict[str, Any]:
    """The card of the bundle in folder `path`, the fields named in `Bundle` checked.

    Raises `BundleError`. The model is not looked at: `Bundle.open` does.
    """
    try:
        text = (path / CARD_FILE).read_text(encoding="utf-8")
        card = json.loads(text, parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path.name}: no readable {CARD_FILE}") from error
    absent = [key for key in _REQUIRED if not isinstance(card, dict) or key not in card]
    if absent:
        raise BundleError(f"{path.name}: {CARD_FILE} lacks {', '.join(absent)}")
    if card["schema"] != SCHEMA:
        raise BundleError(f"{path.name}: card schema {card['schema']!r}, expected {SCHEMA}")
    for key, (wanted, fits) in _FIELDS.items():
        if key in card and not fits(card[key]):
            raise BundleError(f"{path.name}: {key} in {CARD_FILE} must be {wanted}")
    return dict(card)


def created(card: Mapping[str, Any]) -> datetime:
    """When the model was made, in UTC if the card names no zone; the year 1 if it says nothing."""
    if "created" not in card:
        return datetime.min.replace(tzinfo=UTC)
    read = datetime.fromisoformat(card["created"])
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value) is not None
    except ValueError:
        return False


# What a version may be made of: it stands in folder names, addresses and the names of metrics.
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "task": ("a name", _is_name),
    "version": ("at most 100 letters, digits and . _ + -", _is_name),
    "model_sha256": ("a string", lambda value: isinstance(value, str)),
    "coverage": (
        "a number between 0 and 1",
        lambda value: isinstance(value, float) and 0 < value < 1,
    ),
    "reasons": (
        f"a list of at most {_REASONS} sentences",
        lambda value: (
            isinstance(value, list)
            and len(value) <= _REASONS
            and all(isinstance(each, str) for each in value)
        ),
    ),
    "deployments": (
        "a list of objects",
        lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
    ),
    "summary": ("an object", lambda value: isinstance(value, dict)),
    "created": ("a date and time in the form of ISO 8601", _is_time),
}


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

"""What the schema allows at a path of the file. Reads the models of `schema.py`; knows no file and no environment."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from headgate.config.schema import Config, Section

#: A place in the file: keys of mappings and indexes of lists, from the top.
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """models: the mappings that may stand here. item: what a list here holds. word: whether a bare value may stand."""

    models: tuple[type[Section], ...]
    item: Any | None
    word: bool


def place_at(path: Path) -> Place | None:
    """What may stand at `path`; None where the schema has no such place."""
    place = _place(Config)
    for step in path:
        if isinstance(step, int):
            if place.item is None:
                return None
            place = _place(place.item)
            continue
        for model in place.models:
            if step in model.model_fields:
                place = _place(model.model_fields[step].annotation)
                break
        else:
            return None
    return place


def is_later(path: Path) -> bool:
    """Whether `path` is in a part of the file that a later version of headgate will have."""
    for end, step in enumerate(path):
        around = place_at(path[:end])
        if around is None:
            return False
        if any(step in model.later() for model in around.models):
            return True
    return False


def sections_with(key: str) -> list[str]:
    """The sections at the top of the file, and `providers`, that have `key`."""
    found = []
    for section in Config.model_fields:
        place = place_at((section,))
        if place is None:
            continue
        inner = _place(place.item) if place.item is not None else place
        if any(key in model.model_fields for model in inner.models):
            found.append(section)
    return found


def _place(annotation: Any) -> Place:
    models: list[type[Section]] = []
    item: Any | None = None
    word = False
    for one in _alternatives(annotation):
        if isinstance(one, type) and issubclass(one, Section):
            models.append(one)
        elif get_origin(one) in (tuple, list, frozenset):
            item = get_args(one)[0]
        elif one is not type(None):
            word = True
    return Place(tuple(models), item, word)


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [one for branch in get_args(annotation) for one in _alternatives(branch)]
    return [annotation]

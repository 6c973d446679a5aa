"""Lists of models: written in two shapes, read in whichever an upstream has."""

from __future__ import annotations

import json

import anthropic
import openai
import pytest

from headgate.wire import models

NAMES = ["openai/gpt-4o-mini", "local/qwen3-8b"]


def test_a_list_in_openais_shape():
    listed = json.loads(models.listing(NAMES, anthropic=False))
    assert listed["object"] == "list" and [entry["id"] for entry in listed["data"]] == NAMES
    assert json.loads(models.single(NAMES[0], anthropic=False)) == listed["data"][0]
    model = openai.types.Model.model_validate(listed["data"][1], strict=True)
    assert (model.id, model.object, model.owned_by) == ("local/qwen3-8b", "model", "local")


def test_a_list_in_anthropics_shape():
    listed = json.loads(models.listing(NAMES, anthropic=True))
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == (*NAMES, False)
    assert json.loads(models.single(NAMES[0], anthropic=True)) == listed["data"][0]
    model = anthropic.types.ModelInfo.model_validate_json(json.dumps(listed["data"][1]), strict=True)
    assert (model.id, model.type, model.display_name) == ("local/qwen3-8b", "model", "local/qwen3-8b")


def test_an_empty_list():
    assert json.loads(models.listing([], anthropic=False)) == {"object": "list", "data": []}
    empty = {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert json.loads(models.listing([], anthropic=True)) == empty


@pytest.mark.parametrize("shape", [True, False])
def test_what_is_written_can_be_read(shape):
    assert models.read_listing(models.listing(NAMES, anthropic=shape)) == tuple(NAMES)


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        (b'{"data":[{"id":"b"},{"id":"a"},{"id":"b"}]}', ("b", "a")),
        (b'{"data":[{"id":""},{"id":7},{"name":"x"},"y",null,{"id":"a"}]}', ("a",)),
        (b'{"data":[]}', ()),
        (b'{"data":{}}', None),
        (b'{"models":[]}', None),
        (b'[{"id":"a"}]', None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_an_upstreams_list_is_read_or_is_none(raw, ids):
    assert models.read_listing(raw) == ids

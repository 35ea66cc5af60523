"""Structured output on the real model, through the native API and the official `openai` package.

SPDX-License-Identifier: Apache-2.0
"""
import json
import re

import openai
import pydantic
import pytest

QUESTION = [{"role": "user", "content": "Describe a small dog as JSON."}]
ANIMAL = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["cat", "dog"]},
        "legs": {"type": "integer", "minimum": 0, "maximum": 8},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 2},
    },
    "required": ["kind", "legs", "tags"],
    "additionalProperties": False,
}


class Animal(pydantic.BaseModel):
    kind: str = pydantic.Field(max_length=10)
    legs: int = pydantic.Field(ge=0, le=8)
    friendly: bool


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="EMPTY", max_retries=0, timeout=120) as client:
        yield client


def chat(client, **options):
    return client.chat.completions.create(**{"model": "default", "messages": QUESTION, "max_completion_tokens": 160, "temperature": 0, **options})


def check_animal(text):
    value = json.loads(text)
    assert set(value) == {"kind", "legs", "tags"} and value["kind"] in ("cat", "dog") and 0 <= value["legs"] <= 8
    assert len(value["tags"]) <= 2 and all(isinstance(t, str) and len(t) <= 8 for t in value["tags"])


@pytest.mark.parametrize("temperature", [0, 1])
def test_json_schema(client, temperature):
    reply = chat(client, temperature=temperature, seed=3, response_format={"type": "json_schema", "json_schema": {"name": "animal", "schema": ANIMAL}})
    assert reply.choices[0].finish_reason == "stop"
    check_animal(reply.choices[0].message.content)


def test_pydantic_model(client):
    question = [{"role": "user", "content": 'Answer in JSON with the keys "kind", "legs" and "friendly": a small dog.'}]
    reply = client.chat.completions.parse(model="default", messages=question, max_completion_tokens=120, temperature=0, response_format=Animal)
    animal = reply.choices[0].message.parsed
    assert isinstance(animal, Animal) and 0 <= animal.legs <= 8 and len(animal.kind) <= 10


def test_json_object(client):
    reply = chat(client, response_format={"type": "json_object"}, max_completion_tokens=300)
    text = reply.choices[0].message.content
    assert text.lstrip().startswith("{")
    if reply.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(text), dict)


def test_stream_and_samples(client):
    stream = chat(client, n=3, temperature=1, seed=5, stream=True,
                  response_format={"type": "json_schema", "json_schema": {"name": "animal", "schema": ANIMAL}})
    texts = ["", "", ""]
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    for text in texts:
        check_animal(text)


def test_text_format_is_free(client):
    assert chat(client, response_format={"type": "text"}).choices[0].message.content == chat(client).choices[0].message.content


@pytest.mark.parametrize("format,word", [
    ({"type": "json_schema", "json_schema": {"name": "x"}}, "schema"),
    ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"a": {"type": "thing"}}}}}, "#/properties/a/type"),
    ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "https://example.com/other"}}}, "outside this schema"),
    ({"type": "structural_tag", "format": {"type": "unheard_of"}}, "unheard_of"),
])
def test_what_cannot_be_enforced_is_refused(client, format, word):
    for _ in range(2):  # the second answer comes from the cache
        with pytest.raises(openai.BadRequestError) as error:
            chat(client, response_format=format)
        assert word in str(error.value)


def test_regex_and_ebnf(client):
    reply = client.completions.create(model="default", prompt="My number is", max_tokens=40, extra_body={"regex": r"\d{3}-\d{4}"})
    assert re.fullmatch(r"\d{3}-\d{4}", reply.choices[0].text) and reply.choices[0].finish_reason == "stop"
    reply = client.completions.create(model="default", prompt="Answer:", max_tokens=40, extra_body={"ebnf": 'root ::= "yes" | "no" | "(" root ")"'})
    assert re.fullmatch(r"\(*(yes|no)\)*", reply.choices[0].text)


def test_native(api):
    reply = api.generate("The dog as JSON:", json_schema=json.dumps(ANIMAL), max_new_tokens=160, temperature=0.8, sampling_seed=2)
    check_animal(reply["text"])
    assert reply["meta_info"]["finish_reason"]["type"] == "stop"
    reply = api.generate("Any number:", regex="[0-9]{1,3}", max_new_tokens=20, temperature=0, ignore_eos=True)
    assert re.fullmatch("[0-9]{1,3}", reply["text"]) and reply["meta_info"]["finish_reason"]["type"] == "stop"


def test_structural_tag(api):
    tag = {"type": "structural_tag", "format": {"type": "sequence", "elements": [
        {"type": "const_string", "value": "<call>"}, {"type": "json_schema", "json_schema": ANIMAL}, {"type": "const_string", "value": "</call>"}]}}
    reply = api.generate("Call:", structural_tag=json.dumps(tag), max_new_tokens=200, temperature=0)
    assert reply["text"].startswith("<call>") and reply["text"].endswith("</call>")
    check_animal(reply["text"][6:-7])


def test_backend_none(server_with, client_of):
    other = client_of(server_with("--grammar-backend", "none"))
    assert "grammar backend none" in other.refused("/generate", {"text": "x", "sampling_params": {"regex": "a"}})

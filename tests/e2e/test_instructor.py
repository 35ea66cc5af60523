"""Answers as pydantic models: through `instructor`, and through the official package's parse().

SPDX-License-Identifier: Apache-2.0
"""
import datetime
import enum
import json
import typing

import instructor
import openai
import pydantic
import pytest

COLD = dict(model="default", temperature=0, max_retries=0)
ONE_CALL = dict(parallel_tool_calls=False)  # a small model finds no end of them


class Closed(pydantic.BaseModel):
    """No other keys: a small model makes up more and more of them."""

    model_config = pydantic.ConfigDict(extra="forbid")


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Owner(Closed):
    name: str = pydantic.Field(max_length=12)
    phone: typing.Optional[str] = pydantic.Field(default=None, pattern=r"^\d{3}-\d{4}$")


class Dog(Closed):
    """A dog."""

    name: str = pydantic.Field(min_length=1, max_length=12)
    size: Size
    legs: int = pydantic.Field(ge=0, le=4)
    friendly: bool
    born: datetime.date
    owner: Owner
    tags: list[typing.Literal["brown", "old", "fast"]] = pydantic.Field(max_length=2)


class Cat(Closed):
    """A cat."""

    kind: typing.Literal["cat"]
    lives: int = pydantic.Field(ge=1, le=9)


class Fish(Closed):
    """A fish."""

    kind: typing.Literal["fish"]
    wet: bool


class Pet(Closed):
    pet: typing.Union[Cat, Fish]


REX = {"name": "Rex", "size": "small", "legs": 4, "friendly": True, "born": "2019-05-01", "owner": {"name": "Ann", "phone": "555-1234"}, "tags": ["brown"]}
QUESTION = [{"role": "user", "content": "Describe a dog like this one, in JSON: " + json.dumps(REX)}]
CAT = [{"role": "user", "content": 'Describe a cat in JSON, like {"kind": "cat", "lives": 7}.'}]


@pytest.fixture(scope="module")
def client(server_with):
    server = server_with("--tool-call-parser", "hermes", "--constrained-json-disable-any-whitespace")
    with openai.OpenAI(base_url=server.url + "/v1", api_key="EMPTY", max_retries=0, timeout=120) as client:
        yield client


def check_dog(dog):
    assert isinstance(dog, Dog) and isinstance(dog.size, Size) and isinstance(dog.owner, Owner)
    Dog.model_validate_json(dog.model_dump_json())


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, instructor.Mode.TOOLS_STRICT], ids=str)
def test_a_model(client, mode):
    teacher = instructor.from_openai(client, mode=mode)
    once = {} if mode == instructor.Mode.JSON_SCHEMA else ONE_CALL
    dog, raw = teacher.chat.completions.create_with_completion(response_model=Dog, messages=QUESTION, max_tokens=400, **COLD, **once)
    check_dog(dog)
    assert raw.usage.completion_tokens > 0 and raw.choices[0].finish_reason in ("stop", "tool_calls")


def test_partial_answers(client):
    teacher = instructor.from_openai(client, mode=instructor.Mode.TOOLS)
    stages = list(teacher.chat.completions.create_partial(response_model=Dog, messages=QUESTION, max_tokens=400, strict=False, **COLD, **ONE_CALL))
    assert len(stages) > 5, "arguments stream"
    Dog.model_validate(stages[-1].model_dump())


def test_many_answers(client):
    teacher = instructor.from_openai(client, mode=instructor.Mode.TOOLS)

    class Few(Closed):
        cats: list[Cat] = pydantic.Field(min_length=2, max_length=3)

    few = teacher.chat.completions.create(response_model=Few, messages=CAT, max_tokens=400, **COLD, **ONE_CALL)
    assert 2 <= len(few.cats) <= 3 and all(1 <= cat.lives <= 9 for cat in few.cats)


def test_a_retry_tells_what_was_wrong(client):
    """A rule that no schema can say: instructor sends the error back as a tool's result, and asks again."""
    tries = []

    class Picky(Closed):
        lives: int = pydantic.Field(ge=1, le=9)

        @pydantic.field_validator("lives")
        @classmethod
        def third_time(cls, value):
            tries.append(value)
            if len(tries) < 3:
                raise ValueError("another number, please")
            return value

    teacher = instructor.from_openai(client, mode=instructor.Mode.TOOLS)
    options = {**COLD, **ONE_CALL, "max_retries": 3}
    assert 1 <= teacher.chat.completions.create(response_model=Picky, messages=CAT, max_tokens=100, **options).lives <= 9
    assert len(tries) == 3


@pytest.mark.parametrize("parse", ["chat.completions.parse", "beta.chat.completions.parse"])
@pytest.mark.parametrize("wanted", [Dog, Pet])
def test_parse(client, parse, wanted):
    call = client
    for name in parse.split("."):
        call = getattr(call, name)
    reply = call(model="default", messages=QUESTION, temperature=0, max_completion_tokens=400, response_format=wanted)
    parsed = reply.choices[0].message.parsed
    assert isinstance(parsed, wanted) and reply.choices[0].finish_reason == "stop"
    wanted.model_validate(json.loads(reply.choices[0].message.content))


def test_parse_tools(client):
    tools = [openai.pydantic_function_tool(Cat), openai.pydantic_function_tool(Fish)]
    reply = client.chat.completions.parse(model="default", messages=CAT, temperature=0, max_completion_tokens=400, tools=tools,
                                          tool_choice="required", parallel_tool_calls=False)
    (made,) = reply.choices[0].message.tool_calls
    assert isinstance(made.function.parsed_arguments, (Cat, Fish)) and reply.choices[0].finish_reason == "tool_calls"


def test_stream_of_a_model(client):
    with client.chat.completions.stream(model="default", messages=QUESTION, temperature=0, max_completion_tokens=400,
                                        response_format=Dog) as stream:
        kinds = {event.type for event in stream}
        check_dog(stream.get_final_completion().choices[0].message.parsed)
    assert "content.delta" in kinds and "content.done" in kinds

"""Tool calls and reasoning through the official `openai` package. The model is small: examples in the prompt make it write calls.

SPDX-License-Identifier: Apache-2.0
"""
import json

import openai
import pytest

WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
GREEDY = dict(model="default", temperature=0)
CITIES = ["Rome", "Oslo", "Lima"]


def call(city):
    return "<tool_call>\n" + json.dumps({"name": "weather", "arguments": {"city": city}}) + "\n</tool_call>"


def conversation(answer, city="Paris"):
    """Questions about the weather, answered by answer(city); the last one is open."""
    messages = []
    for known in CITIES:
        messages += [{"role": "user", "content": f"What is the weather in {known}?"}, {"role": "assistant", "content": answer(known)}]
    return messages + [{"role": "user", "content": f"What is the weather in {city}?"}]


@pytest.fixture(scope="module")
def server(server_with):
    return server_with("--tool-call-parser", "hermes", "--reasoning-parser", "deepseek-r1")


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="EMPTY", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def plain(server_with):
    """No reasoning parser."""
    with openai.OpenAI(base_url=server_with("--tool-call-parser", "hermes").url + "/v1", api_key="EMPTY", max_retries=0) as client:
        yield client


def ask(client, messages, **options):
    return client.chat.completions.create(**{**GREEDY, "messages": messages, "max_completion_tokens": 64, **options})


def accumulate(chunks):
    """What a client makes of a stream: reasoning, content, calls, finish reason."""
    reasoning, content, calls, finish = "", "", [], None
    for chunk in chunks:
        for choice in chunk.choices:
            delta = choice.delta
            reasoning += getattr(delta, "reasoning_content", None) or ""
            content += delta.content or ""
            for part in delta.tool_calls or []:
                if part.id is not None:
                    assert part.index == len(calls) and part.type == "function"
                    calls.append({"id": part.id, "name": part.function.name, "arguments": ""})
                else:
                    assert part.function.name is None, "names come once"
                calls[part.index]["arguments"] += part.function.arguments
            finish = choice.finish_reason or finish
    return reasoning, content, calls, finish


def test_call(plain):
    reply = ask(plain, conversation(call), tools=[WEATHER])
    choice = reply.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    (made,) = choice.message.tool_calls
    assert made.type == "function" and made.function.name == "weather" and made.id.startswith("call_") and len(made.id) == 29
    assert json.loads(made.function.arguments) == {"city": "Paris"}


def test_stream_adds_up(plain):
    def answer(city):
        return f"I look up {city}.\n" + call(city)

    whole = ask(plain, conversation(answer), tools=[WEATHER]).choices[0]
    chunks = list(ask(plain, conversation(answer), tools=[WEATHER], stream=True, stream_options={"include_usage": True}))
    reasoning, content, calls, finish = accumulate(chunks)
    assert finish == whole.finish_reason == "tool_calls" and reasoning == ""
    assert content == whole.message.content == "I look up Paris.\n"
    assert [(c["name"], c["arguments"]) for c in calls] == [(c.function.name, c.function.arguments) for c in whole.message.tool_calls]
    assert sum(bool(c.choices and c.choices[0].delta.tool_calls) for c in chunks) > 3, "arguments stream"
    assert chunks[-1].usage.completion_tokens > 0


def test_result_of_a_tool(plain):
    messages = conversation(call)
    made = ask(plain, messages, tools=[WEATHER]).choices[0].message
    messages += [made.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": made.tool_calls[0].id, "content": "Sunny, 21 degrees"}]
    reply = ask(plain, messages, tools=[WEATHER], max_completion_tokens=8)
    assert reply.choices[0].finish_reason in ("stop", "length", "tool_calls")
    assert reply.usage.prompt_tokens > ask(plain, messages[:-2], tools=[WEATHER], max_completion_tokens=1).usage.prompt_tokens


def test_calls_that_nobody_asked_for(plain):
    untouched = ask(plain, conversation(call)).choices[0]
    assert untouched.message.tool_calls is None and untouched.message.content == call("Paris")
    hidden = ask(plain, conversation(call), tools=[WEATHER], tool_choice="none").choices[0]
    assert hidden.message.tool_calls is None and hidden.message.content == call("Paris")
    other = {"type": "function", "function": {"name": "other"}}
    unknown = ask(plain, conversation(call), tools=[other]).choices[0]
    assert unknown.message.tool_calls is None and unknown.message.content == call("Paris") and unknown.finish_reason == "stop"


def test_samples_have_their_own_calls(plain):
    reply = ask(plain, conversation(call), tools=[WEATHER], n=2)
    ids = [choice.message.tool_calls[0].id for choice in reply.choices]
    assert len(set(ids)) == 2 and all(choice.finish_reason == "tool_calls" for choice in reply.choices)


def test_call_cut_short(plain):
    reply = ask(plain, conversation(call), tools=[WEATHER], max_completion_tokens=10)
    assert reply.choices[0].finish_reason == "length" and reply.choices[0].message.tool_calls is None
    reasoning, content, calls, finish = accumulate(ask(plain, conversation(call), tools=[WEATHER], max_completion_tokens=10, stream=True))
    assert finish == "length" and len(calls) <= 1


LIGHT = {"type": "function", "function": {
    "name": "light", "strict": True, "parameters": {
        "type": "object", "additionalProperties": False, "required": ["room", "level"],
        "properties": {"room": {"type": "string", "enum": ["kitchen", "hall"]}, "level": {"type": "integer", "minimum": 0, "maximum": 9}}}}}
DOOR = {"type": "function", "function": {
    "name": "door", "parameters": {"type": "object", "additionalProperties": False, "required": ["open"],
                                   "properties": {"open": {"type": "boolean"}}}}}
HELLO = [{"role": "user", "content": "Hello! Tell me about yourself."}]


def check_call(name, arguments):
    arguments = json.loads(arguments)
    if name == "door":
        assert list(arguments) == ["open"] and isinstance(arguments["open"], bool)
    else:
        assert name == "light" and set(arguments) == {"room", "level"}
        assert arguments["room"] in ("kitchen", "hall") and 0 <= arguments["level"] <= 9


def forced(client, **options):
    """Hot sampling: what comes out is the grammar's doing, not the model's."""
    return ask(client, HELLO, **{**dict(tools=[LIGHT, DOOR], temperature=1.5, max_completion_tokens=256), **options})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("parser", ["hermes", "none", "pythonic"])
def test_required(server_with, parser, seed):
    with openai.OpenAI(base_url=server_with("--tool-call-parser", parser).url + "/v1", api_key="EMPTY", max_retries=0) as client:
        choice = forced(client, tool_choice="required", parallel_tool_calls=False, seed=seed).choices[0]
        assert choice.finish_reason == "tool_calls" and choice.message.content is None
        (made,) = choice.message.tool_calls
        check_call(made.function.name, made.function.arguments)
        reasoning, content, calls, finish = accumulate(forced(client, tool_choice="required", parallel_tool_calls=False, seed=seed, stream=True))
        assert (reasoning, content, finish) == ("", "", "tool_calls")
        assert [(c["name"], c["arguments"]) for c in calls] == [(made.function.name, made.function.arguments)]


@pytest.mark.parametrize("name", ["light", "door"])
def test_named(plain, name):
    named = {"type": "function", "function": {"name": name}}
    made = forced(plain, tool_choice=named, parallel_tool_calls=False, seed=1).choices[0].message.tool_calls
    assert [call.function.name for call in made] == [name]
    check_call(name, made[0].function.arguments)


def test_required_after_reasoning(client):
    """The grammar begins where the reasoning ends; a budget ends it."""
    reply = forced(client, tool_choice="required", parallel_tool_calls=False, seed=2, extra_body={"custom_params": {"thinking_budget": 12}})
    message = reply.choices[0].message
    assert message.reasoning_content and message.content is None and reply.choices[0].finish_reason == "tool_calls"
    assert 12 <= reply.usage.model_extra["reasoning_tokens"] <= 20
    check_call(message.tool_calls[0].function.name, message.tool_calls[0].function.arguments)


def test_thinking_is_strict_and_limited(client, server_with):
    """Reasoning that never ends: freely it stops with its turn; strictly it goes on to the limit of tokens, or of thinking."""
    messages = conversation(lambda city: f"It rains in {city}.")
    assert ask(client, messages).choices[0].finish_reason == "stop"
    flags = ("--tool-call-parser", "hermes", "--reasoning-parser", "deepseek-r1", "--enable-strict-thinking")
    with openai.OpenAI(base_url=server_with(*flags).url + "/v1", api_key="EMPTY", max_retries=0) as strict:
        choice = ask(strict, messages, max_completion_tokens=40).choices[0]
        assert choice.finish_reason == "length" and choice.message.content is None
        assert choice.message.reasoning_content.startswith("It rains in Paris.") and "<|im_" not in choice.message.reasoning_content
    limited = server_with(*flags, env={"SGLANG_MAX_THINK_TOKENS": "16"})
    with openai.OpenAI(base_url=limited.url + "/v1", api_key="EMPTY", max_retries=0) as limited:
        reply = ask(limited, messages, max_completion_tokens=40)
        assert 16 <= reply.usage.model_extra["reasoning_tokens"] <= 24
        reply = ask(limited, messages, max_completion_tokens=40, extra_body={"custom_params": {"thinking_budget": 4}})
        assert 4 <= reply.usage.model_extra["reasoning_tokens"] <= 12, "a request's own budget wins"


def test_strict_function(plain):
    """With auto the model may say what it likes, but a call of a strict function is right."""
    def wrong(city):
        return "<tool_call>\n" + json.dumps({"name": "light", "arguments": {"room": "cellar", "level": 77}}) + "\n</tool_call>"

    messages = conversation(wrong)
    choice = ask(plain, messages, tools=[LIGHT, DOOR]).choices[0]
    assert choice.finish_reason == "tool_calls"
    for made in choice.message.tool_calls:
        check_call(made.function.name, made.function.arguments)


def test_schema_beats_tools(plain):
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"yes": {"type": "boolean"}},
                                                                        "required": ["yes"], "additionalProperties": False}}}
    message = forced(plain, tool_choice="required", response_format=form).choices[0].message
    assert message.tool_calls is None and list(json.loads(message.content)) == ["yes"]


def test_reasoning(client):
    def answer(city):
        return f"The question is about {city}.</think>It rains in {city}."

    messages = conversation(answer)
    reply = ask(client, messages)
    message = reply.choices[0].message
    assert message.reasoning_content == "The question is about Paris." and message.content == "It rains in Paris."
    assert 0 < reply.usage.model_extra["reasoning_tokens"] < reply.usage.completion_tokens
    reasoning, content, _, _ = accumulate(ask(client, messages, stream=True))
    assert (reasoning, content) == (message.reasoning_content, message.content)
    chunks = list(ask(client, messages, stream=True, extra_body={"stream_reasoning": False}))
    assert sum(bool(c.choices and getattr(c.choices[0].delta, "reasoning_content", None)) for c in chunks) == 1
    assert accumulate(chunks)[:2] == (reasoning, content)
    mixed = ask(client, messages, extra_body={"separate_reasoning": False}).choices[0].message
    assert mixed.content == answer("Paris") and mixed.reasoning_content is None


def test_reasoning_then_a_call(client):
    messages = conversation(lambda city: f"I need {city}.</think>" + call(city))
    message = ask(client, messages, tools=[WEATHER]).choices[0].message
    assert message.reasoning_content == "I need Paris." and message.content is None
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Paris"}
    reasoning, content, calls, finish = accumulate(ask(client, messages, tools=[WEATHER], stream=True))
    assert (reasoning, content, finish) == ("I need Paris.", "", "tool_calls") and calls[0]["arguments"] == '{"city": "Paris"}'


def test_endpoints(client_of, server):
    api = client_of(server)
    parsed = api.post_ok("/parse_function_call", {"text": "Hm " + call("Rome"), "tools": [WEATHER], "tool_call_parser": "qwen25"})
    assert parsed == {"normal_text": "Hm ", "calls": [{"tool_index": 0, "name": "weather", "parameters": '{"city": "Rome"}'}]}
    assert "hermes" in api.refused("/parse_function_call", {"text": "", "tools": [WEATHER], "tool_call_parser": "nope"})
    split = api.post_ok("/separate_reasoning", {"text": "a</think>b", "reasoning_parser": "deepseek-r1"})
    assert split == {"reasoning_text": "a", "text": "b"}


@pytest.mark.parametrize("tools, choice, message", [
    ([], "required", "Tools cannot be empty if tool choice is set to required."),
    ([WEATHER], {"type": "function", "function": {"name": "nobody"}}, "Tool 'nobody' not found in tools list."),
    ([{"type": "function", "function": {}}], "auto", "tools[0].function.name: field required"),
])
def test_errors(client_of, server, tools, choice, message):
    body = {"messages": [{"role": "user", "content": "Hi"}], "tools": tools, "tool_choice": choice}
    assert message in client_of(server).refused("/v1/chat/completions", body)

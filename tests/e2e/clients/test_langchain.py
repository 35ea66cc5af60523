"""LangChain's ChatOpenAI and OpenAI models against the real server.

SPDX-License-Identifier: Apache-2.0
"""
import asyncio
import math
from typing import Annotated, Literal

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel, Field

SETTINGS = {"api_key": "any", "model": "default", "temperature": 0, "max_tokens": 200, "max_retries": 0}
QUESTION = [SystemMessage("Be brief."), HumanMessage("What is the capital of France?")]
ASK_JSON = [HumanMessage("Describe Lima as JSON."), AIMessage('{"name":"Lima","continent":"America","is_a_capital":true}'),
            HumanMessage("Describe Rome as JSON."), AIMessage('{"name":"Rome","continent":"Europe","is_a_capital":true}'),
            HumanMessage("Describe Paris as JSON.")]


class City(BaseModel):
    name: Annotated[str, Field(max_length=20)]
    continent: Literal["Africa", "America", "Asia", "Europe"]
    is_a_capital: bool


@tool
def weather(city: Literal["Paris", "Rome"]) -> str:
    """The weather of a city."""
    return f"It rains in {city}."


@pytest.fixture(scope="module")
def url(server_with):
    return server_with("--tool-call-parser", "hermes").url + "/v1"


@pytest.fixture(scope="module")
def chat(url):
    return ChatOpenAI(base_url=url, api_key="any", model="default", temperature=0, max_tokens=16, max_retries=0)


def test_a_message(chat):
    reply = chat.invoke(QUESTION)
    assert isinstance(reply, AIMessage) and "Paris" in reply.content
    usage = reply.usage_metadata
    assert usage["input_tokens"] > 10 and 0 < usage["output_tokens"] <= 16
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert reply.response_metadata["finish_reason"] in ("stop", "length") and reply.response_metadata["model_name"]


def test_a_stream_says_the_same(chat):
    whole = chat.invoke(QUESTION)
    chunks = list(chat.stream(QUESTION, stream_usage=True))
    assert len(chunks) > 2
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    assert total.content == whole.content and total.usage_metadata == whole.usage_metadata
    assert total.response_metadata["finish_reason"] == whole.response_metadata["finish_reason"]


def test_asynchronous_batches(chat):
    questions = [[HumanMessage(f"What is {i} plus {i}?")] for i in range(6)]

    async def both():
        return await chat.abatch(questions), [chunk async for chunk in chat.astream(questions[0])]

    replies, chunks = asyncio.run(both())
    assert [reply.content for reply in replies] == [chat.invoke(question).content for question in questions]
    assert "".join(chunk.content for chunk in chunks) == replies[0].content


def test_a_chain(chat):
    chain = ChatPromptTemplate([("system", "Be brief."), ("human", "What is the capital of {country}?")]) | chat | StrOutputParser()
    assert "Paris" in chain.invoke({"country": "France"})
    assert "".join(chain.stream({"country": "France"})) == chain.invoke({"country": "France"})


def test_parameters(url):
    seeded = ChatOpenAI(base_url=url, api_key="any", model="default", temperature=1.0, seed=7, max_tokens=8, top_p=0.9, n=2, max_retries=0)
    result = seeded.generate([QUESTION])
    assert len(result.generations[0]) == 2
    assert [g.text for g in result.generations[0]] == [g.text for g in seeded.generate([QUESTION]).generations[0]]
    greedy = ChatOpenAI(base_url=url, api_key="any", model="default", temperature=0, max_tokens=16, logprobs=True, top_logprobs=3, max_retries=0)
    reply = greedy.invoke(QUESTION)
    content = reply.response_metadata["logprobs"]["content"]
    assert len(content) == reply.usage_metadata["output_tokens"] and all(len(entry["top_logprobs"]) == 3 for entry in content)
    assert all(math.exp(entry["logprob"]) <= 1 for entry in content)
    stop = reply.content[len(reply.content) // 2]
    assert greedy.invoke(QUESTION, stop=[stop]).content == reply.content[:reply.content.index(stop)]


def test_structured_output(chat):
    longer = ChatOpenAI(**{**SETTINGS, "base_url": chat.openai_api_base})
    city = longer.with_structured_output(City, method="json_schema").invoke(ASK_JSON)
    assert isinstance(city, City)
    as_object = longer.with_structured_output(City.model_json_schema(), method="json_schema", include_raw=True).invoke(ASK_JSON)
    assert set(as_object["parsed"]) == set(City.model_fields) and as_object["parsing_error"] is None


def test_tools(chat):
    helper = ChatOpenAI(**{**SETTINGS, "base_url": chat.openai_api_base}).bind_tools([weather], tool_choice="weather", strict=True, parallel_tool_calls=False)
    reply = helper.invoke("What is the weather in Paris?")
    (call,) = reply.tool_calls
    assert call["name"] == "weather" and call["args"]["city"] in ("Paris", "Rome") and call["id"]
    chunks = list(helper.stream("What is the weather in Paris?"))
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    assert [(c["name"], c["args"]) for c in total.tool_calls] == [(call["name"], call["args"])]
    answer = chat.invoke([HumanMessage("What is the weather in Paris?"), reply, ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])])
    assert isinstance(answer.content, str)


def test_completions(url):
    model = OpenAI(base_url=url, api_key="any", model="default", temperature=0, max_tokens=8, max_retries=0)
    text = model.invoke("The capital of France is")
    assert "Paris" in text and "".join(model.stream("The capital of France is")) == text
    assert model.batch(["The capital of France is", "One, two,"])[0] == text


def test_the_responses_api(url):
    model = ChatOpenAI(base_url=url, api_key="any", model="default", temperature=0, max_tokens=16, use_responses_api=True, max_retries=0)
    reply = model.invoke(QUESTION)
    assert "Paris" in reply.text and reply.usage_metadata["output_tokens"] > 0
    assert "".join(chunk.text for chunk in model.stream(QUESTION)) == reply.text


def test_errors(url, chat):
    with pytest.raises(openai.BadRequestError) as error:
        ChatOpenAI(**{**SETTINGS, "base_url": url, "temperature": -1}).invoke(QUESTION)
    assert "temperature" in str(error.value)
    with pytest.raises(openai.BadRequestError):
        chat.invoke([HumanMessage("x" * 400_000)])


def test_a_key(server_with):
    url = server_with("--api-key", "secret").url + "/v1"
    assert ChatOpenAI(**{**SETTINGS, "base_url": url, "api_key": "secret", "max_tokens": 1}).invoke(QUESTION)
    with pytest.raises(openai.AuthenticationError):
        ChatOpenAI(**{**SETTINGS, "base_url": url, "api_key": "wrong"}).invoke(QUESTION)

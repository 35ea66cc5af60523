"""Official clients other than OpenAI's completions and chat: Anthropic's, Ollama's, and OpenAI's for responses.

SPDX-License-Identifier: Apache-2.0
"""
import anthropic
import ollama
import openai
import pytest

QUESTION = [{"role": "user", "content": "Say one word."}]
GREEDY = {"temperature": 0, "num_predict": 8}
GREEDY_BODY = {"temperature": 0}  # the present client has no argument for it


@pytest.fixture(scope="module")
def claude(server):
    with anthropic.Anthropic(base_url=server.url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def llama(server):
    return ollama.Client(host=server.url)


@pytest.fixture(scope="module")
def gpt(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0) as client:
        yield client


def test_messages(claude):
    message = claude.messages.create(model="m", max_tokens=8, messages=QUESTION, system="Be brief.", extra_body=GREEDY_BODY)
    assert message.type == "message" and message.role == "assistant" and message.id.startswith("msg_")
    assert message.content[0].type == "text" and message.content[0].text
    assert message.usage.output_tokens <= 8 and message.usage.input_tokens > 5
    assert message.stop_reason == ("max_tokens" if message.usage.output_tokens == 8 else "end_turn")


def test_messages_stream_says_the_same(claude):
    ask = {"model": "m", "max_tokens": 12, "messages": QUESTION, "extra_body": GREEDY_BODY}
    whole = claude.messages.create(**ask)
    with claude.messages.stream(**ask) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text
    assert final.stop_reason == whole.stop_reason and final.usage.output_tokens == whole.usage.output_tokens


def test_messages_stop_sequence(claude):
    ask = {"model": "m", "max_tokens": 24, "extra_body": GREEDY_BODY, "messages": [{"role": "user", "content": "Count from one to nine."}]}
    text = claude.messages.create(**ask).content[0].text
    stop = text[len(text) // 2]
    message = claude.messages.create(**ask, stop_sequences=[stop])
    assert message.stop_reason == "stop_sequence" and message.stop_sequence == stop
    assert "".join(block.text for block in message.content) == text[:text.index(stop)]


def test_messages_prefill_is_continued(claude):
    message = claude.messages.create(model="m", max_tokens=4, extra_body=GREEDY_BODY,
                                     messages=[*QUESTION, {"role": "assistant", "content": "The word is"}])
    assert message.usage.output_tokens > 0


def test_count_tokens_counts_what_messages_uses(claude):
    count = claude.messages.count_tokens(model="m", messages=QUESTION).input_tokens
    assert count == claude.messages.create(model="m", max_tokens=1, messages=QUESTION).usage.input_tokens


def test_messages_errors(claude):
    with pytest.raises(anthropic.BadRequestError) as error:
        claude.messages.create(model="m", max_tokens=0, messages=QUESTION)
    assert "max_tokens" in str(error.value)
    with pytest.raises(anthropic.BadRequestError):
        claude.messages.create(model="m", max_tokens=1, messages=[])


def test_messages_key(server_with):
    server = server_with("--api-key", "secret")
    with anthropic.Anthropic(base_url=server.url, api_key="secret", max_retries=0) as client:
        assert client.messages.create(model="m", max_tokens=1, messages=QUESTION).content
    with anthropic.Anthropic(base_url=server.url, api_key="wrong", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError):
            client.messages.create(model="m", max_tokens=1, messages=QUESTION)


def test_ollama_chat(llama):
    reply = llama.chat(model="m", messages=QUESTION, options=GREEDY)
    assert reply.done and reply.message.role == "assistant" and reply.message.content
    assert reply.eval_count <= 8 and reply.prompt_eval_count > 5 and reply.total_duration > 0
    assert reply.done_reason == ("length" if reply.eval_count == 8 else "stop")
    parts = list(llama.chat(model="m", messages=QUESTION, options=GREEDY, stream=True))
    assert "".join(part.message.content for part in parts) == reply.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == reply.eval_count


def test_ollama_generate(llama):
    reply = llama.generate(model="m", prompt="The capital of France is", raw=True, options=GREEDY)
    assert "Paris" in reply.response and reply.done_reason == "length"
    parts = list(llama.generate(model="m", prompt="The capital of France is", raw=True, options=GREEDY, stream=True))
    assert "".join(part.response for part in parts) == reply.response
    assert llama.generate(model="m", prompt="").done_reason == "load"
    seeded = [llama.generate(model="m", prompt="Once", raw=True, options={"seed": 3, "num_predict": 8}).response for _ in range(2)]
    assert seeded[0] == seeded[1]


def test_ollama_models(llama, server):
    name = llama.list().models[0].model
    assert name == server.model and llama.ps().models[0].model == name
    assert llama.show(name).capabilities == ["completion"]


def test_ollama_errors(llama):
    with pytest.raises(ollama.ResponseError) as error:
        llama.chat(model="m", messages=QUESTION, options={"temperature": -1})
    assert "temperature" in str(error.value)


def test_responses(gpt):
    response = gpt.responses.create(model="m", input="Say one word.", temperature=0, max_output_tokens=8)
    assert response.object == "response" and response.id.startswith("resp_") and response.output_text
    assert response.usage.output_tokens <= 8 and response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.status == ("incomplete" if response.usage.output_tokens == 8 else "completed")
    assert gpt.responses.retrieve(response.id).output_text == response.output_text
    gpt.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        gpt.responses.retrieve(response.id)


def test_responses_stream_says_the_same(gpt):
    ask = {"model": "m", "input": "Say one word.", "temperature": 0, "max_output_tokens": 12}
    whole = gpt.responses.create(**ask)
    events = list(gpt.responses.create(**ask, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created" and events[-1].type == "response." + whole.status
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert events[-1].response.output_text == whole.output_text
    with gpt.responses.stream(**ask) as stream:  # the helper puts the events together again
        snapshots = [event.text for event in stream if event.type == "response.output_text.done"]
    assert snapshots == [whole.output_text]


def test_responses_conversation(gpt):
    first = gpt.responses.create(model="m", input="My name is Ada.", temperature=0, max_output_tokens=8)
    second = gpt.responses.create(model="m", input="Go on.", previous_response_id=first.id, temperature=0, max_output_tokens=8)
    chat = gpt.chat.completions.create(model="m", temperature=0, max_tokens=8, messages=[
        {"role": "user", "content": "My name is Ada."}, {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "Go on."}])
    assert second.output_text == chat.choices[0].message.content


def test_responses_in_the_background(gpt):
    response = gpt.responses.create(model="m", input="Say one word.", background=True, temperature=0, max_output_tokens=8)
    for _ in range(1000):
        if response.status not in ("queued", "in_progress"):
            break
        response = gpt.responses.retrieve(response.id)
    assert response.status in ("completed", "incomplete") and response.output_text


def test_responses_errors(gpt):
    with pytest.raises(openai.BadRequestError) as error:
        gpt.responses.create(model="m", input="x", temperature=-1)
    assert "temperature" in str(error.value)
    with pytest.raises(openai.NotFoundError):
        gpt.responses.create(model="m", input="x", previous_response_id="resp_nope")

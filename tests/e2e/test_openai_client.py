"""The official `openai` package against our server.

SPDX-License-Identifier: Apache-2.0
"""
import asyncio

import httpx
import openai
import pytest

PROMPT = "The capital of France is"
MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = dict(model="default", temperature=0)
KEY = "sk-secret"


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="EMPTY", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def locked(server_with):
    return server_with("--api-key", KEY)


def complete(client, **options):
    return client.completions.create(**{**GREEDY, "prompt": PROMPT, "max_tokens": 16, **options})


def chat(client, **options):
    return client.chat.completions.create(**{**GREEDY, "messages": MESSAGES, "max_completion_tokens": 16, **options})


def test_completion(client):
    reply = complete(client)
    assert reply.object == "text_completion" and reply.model == "default" and reply.id
    assert "Paris" in reply.choices[0].text
    assert reply.choices[0].index == 0 and reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 16
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 16


def test_completion_default_length_is_16(client):
    reply = client.completions.create(**GREEDY, prompt=PROMPT, extra_body={"ignore_eos": True})
    assert reply.usage.completion_tokens == 16


def test_completion_of_a_list(client):
    prompts = [PROMPT, "Water boils at", "Once upon a time there was a"]
    reply = complete(client, prompt=prompts)
    assert [c.index for c in reply.choices] == [0, 1, 2]
    assert [c.text for c in reply.choices] == [complete(client, prompt=p).choices[0].text for p in prompts]
    assert reply.usage.prompt_tokens == sum(complete(client, prompt=p).usage.prompt_tokens for p in prompts)


def test_completion_of_ids(client, api):
    texts = [PROMPT, "Water boils at"]
    ids = [api.post_ok("/tokenize", {"prompt": text})["tokens"] for text in texts]
    assert complete(client, prompt=ids[0]).choices[0].text == complete(client).choices[0].text
    assert [c.text for c in complete(client, prompt=ids).choices] == [c.text for c in complete(client, prompt=texts).choices]


def test_chat(client):
    reply = chat(client)
    assert reply.object == "chat.completion" and reply.choices[0].message.role == "assistant"
    assert "Paris" in reply.choices[0].message.content
    assert reply.choices[0].message.tool_calls is None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_completion_stream_adds_up(client):
    whole = complete(client, max_tokens=24)
    chunks = list(complete(client, max_tokens=24, stream=True))
    assert "".join(c.choices[0].text for c in chunks) == whole.choices[0].text
    assert len(chunks) > 4, "streamed in pieces"
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert len({c.id for c in chunks}) == 1 and all(c.usage is None for c in chunks)


def test_chat_stream_adds_up(client):
    whole = chat(client, max_completion_tokens=24)
    chunks = list(chat(client, max_completion_tokens=24, stream=True))
    assert all(c.object == "chat.completion.chunk" for c in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == [whole.choices[0].finish_reason]


@pytest.mark.parametrize("ask", [complete, chat])
def test_usage_chunk(client, ask):
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    assert all(c.choices and not c.usage for c in chunks[:-1])


def test_continuous_usage(client):
    options = {"include_usage": True, "continuous_usage_stats": True}
    counts = [c.usage.completion_tokens for c in complete(client, stream=True, stream_options=options)]
    assert counts == sorted(counts) and counts[0] >= 1 and counts[-1] == 16


def test_n(client):
    reply = complete(client, temperature=1, seed=5, n=3, max_tokens=12)
    assert [c.index for c in reply.choices] == [0, 1, 2]
    assert len({c.text for c in reply.choices}) > 1
    # A seed names the first sample, the others follow: n samples are n requests with seed, seed + 1, ...
    singles = [complete(client, temperature=1, seed=5 + i, max_tokens=12).choices[0].text for i in range(3)]
    assert [c.text for c in reply.choices] == singles
    assert reply.usage.prompt_tokens == complete(client).usage.prompt_tokens, "a prompt counts once"
    assert reply.usage.completion_tokens == 36 or any(c.finish_reason == "stop" for c in reply.choices)


def test_n_streamed(client):
    whole = chat(client, temperature=1, seed=5, n=3)
    texts, finished = ["", "", ""], [None] * 3
    for chunk in chat(client, temperature=1, seed=5, n=3, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            finished[choice.index] = choice.finish_reason or finished[choice.index]
    assert texts == [c.message.content for c in whole.choices]
    assert finished == [c.finish_reason for c in whole.choices]


@pytest.mark.parametrize("stream", [False, True])
def test_stop(client, stream):
    full = complete(client, max_tokens=24).choices[0].text
    stop = full[12:16]
    want = full[: full.index(stop)]
    if stream:
        chunks = list(complete(client, max_tokens=24, stop=[stop, "never seen"], stream=True))
        text, last = "".join(c.choices[0].text for c in chunks), chunks[-1].choices[0]
    else:
        last = complete(client, max_tokens=24, stop=stop).choices[0]
        text = last.text
    assert text == want
    assert last.finish_reason == "stop" and last.matched_stop == stop


def test_completion_logprobs(client):
    choice = complete(client, logprobs=3, max_tokens=8).choices[0]
    logprobs = choice.logprobs
    assert "".join(logprobs.tokens) == choice.text
    assert len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == len(logprobs.text_offset) == 8
    for token, logprob, top in zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs):
        assert logprob <= 0 and 1 <= len(top) <= 3
        assert max(top.values()) == logprob == top[token], "greedy takes the likeliest"


@pytest.mark.parametrize("stream", [False, True])
def test_chat_logprobs(client, stream):
    options = dict(logprobs=True, top_logprobs=2, max_completion_tokens=5)  # before the end of turn, which has no text
    whole = chat(client, **options).choices[0]
    content = whole.logprobs.content
    if stream:
        choices = [c.choices[0] for c in chat(client, **options, stream=True)]
        content = [entry for choice in choices if choice.logprobs for entry in choice.logprobs.content]
        assert content == whole.logprobs.content
    assert "".join(entry.token for entry in content) == whole.message.content
    for entry in content:
        assert entry.token.encode() == bytes(entry.bytes)
        assert len(entry.top_logprobs) == 2
        assert entry.logprob == entry.top_logprobs[0].logprob > entry.top_logprobs[1].logprob


def test_seed(client):
    def sample(seed):
        return chat(client, temperature=1, seed=seed, max_completion_tokens=24).choices[0].message.content

    assert sample(1) == sample(1)
    assert len({sample(seed) for seed in range(4)}) > 1


def test_without_seed_samples_differ(client):
    prompt = "My favourite number is"
    assert len({complete(client, prompt=prompt, temperature=1.5, max_tokens=16).choices[0].text for _ in range(4)}) > 1


def test_max_completion_tokens_wins(client):
    reply = chat(client, max_completion_tokens=5, max_tokens=9, extra_body={"ignore_eos": True})
    assert reply.usage.completion_tokens == 5 and reply.choices[0].finish_reason == "length"


@pytest.mark.parametrize("options, word", [
    (dict(messages=[]), "Messages"),
    (dict(temperature=-1), "temperature"),
    (dict(top_p=2), "top_p"),
    (dict(max_completion_tokens=10**6), "max_completion_tokens"),
    (dict(messages=[{"role": "user", "content": 5}]), "messages[0].content"),
    (dict(response_format={"type": "xml"}), "response_format"),
])
def test_bad_request(client, options, word):
    with pytest.raises(openai.BadRequestError) as error:
        chat(client, **options)
    assert word in str(error.value)
    assert error.value.body["code"] == 400


@pytest.mark.parametrize("options", [dict(prompt=""), dict(prompt=[]), dict(max_tokens=0), dict(max_tokens=-3), dict(prompt=[[1], []])])
def test_bad_completion(client, options):
    with pytest.raises(openai.BadRequestError):
        complete(client, **options)


def test_bad_request_when_streaming(client):
    with pytest.raises(openai.BadRequestError):
        chat(client, temperature=-1, stream=True)


def test_unknown_model_and_route(client):
    with pytest.raises(openai.NotFoundError) as error:
        client.models.retrieve("nobody")
    assert error.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.files.list()


def test_models(client, model):
    cards = client.models.list().data
    assert [card.id for card in cards] == [model]
    assert cards[0].owned_by == "sglang" and cards[0].created > 0 and cards[0].max_model_len > 1000
    assert client.models.retrieve(model).id == model


def test_32_chats_at_once(server):
    async def run():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="EMPTY", max_retries=0, timeout=120) as client:
            async def ask(i):
                messages = [{"role": "user", "content": f"Say the number {i % 4}."}]
                options = dict(**GREEDY, messages=messages, max_completion_tokens=16)
                if i % 2 == 0:
                    return (await client.chat.completions.create(**options)).choices[0].message.content
                chunks = [c async for c in await client.chat.completions.create(**options, stream=True)]
                return "".join(c.choices[0].delta.content or "" for c in chunks)

            return await asyncio.gather(*(ask(i) for i in range(32)))

    answers = asyncio.run(run())
    assert all(answers)
    assert len(set(answers)) <= 4, "equal questions have equal answers, streamed or not"


def test_api_key(locked):
    def models(key):
        with openai.OpenAI(base_url=locked.url + "/v1", api_key=key, max_retries=0) as client:
            return client.models.list().data

    assert len(models(KEY)) == 1
    for key in ("EMPTY", KEY + "x", KEY[:-1], KEY.upper()):
        with pytest.raises(openai.AuthenticationError):
            models(key)


def test_api_key_covers_all_but_health(locked):
    assert httpx.get(locked.url + "/health", timeout=60).status_code == 200
    assert httpx.get(locked.url + "/health_generate", timeout=60).status_code == 200
    for path in ("/v1/models", "/server_info", "/get_load", "/nothing"):
        assert httpx.get(locked.url + path).status_code == 401, path
    for path in ("/generate", "/v1/chat/completions", "/flush_cache", "/abort_request", "/tokenize"):
        reply = httpx.post(locked.url + path, json={})
        assert (reply.status_code, reply.json()) == (401, {"error": "Unauthorized"}), path
    assert KEY not in httpx.get(locked.url + "/server_info", headers={"Authorization": "bearer " + KEY}).text


def test_wrong_keys_do_not_matter_without_a_key(server):
    assert httpx.get(server.url + "/v1/models", headers={"Authorization": "Bearer None"}).status_code == 200

"""The API's contract, as far as any server must keep it: shapes, counts, framing, errors. Independent of what the model says.

SPDX-License-Identifier: Apache-2.0
"""
import json

import httpx

GREEDY = {"temperature": 0, "max_new_tokens": 6, "ignore_eos": True}
PROMPT = "The capital of France is"


def events(client, path, body):
    with client.stream("POST", path, json={**body, "stream": True}) as reply:
        assert reply.status_code == 200, reply.read()
        assert reply.headers["content-type"].startswith("text/event-stream"), reply.headers
        parts = reply.read().decode().split("\n\n")
    assert parts[-1] == "" and parts[-2] == "data: [DONE]", f"{path}: the stream ends with {parts[-2:]}"
    assert all(part.startswith("data: ") and "\n" not in part for part in parts[:-1]), f"{path}: not one line per event"
    return [json.loads(part[6:]) for part in parts[:-2]]


def post(client, path, body):
    reply = client.post(path, json=body)
    assert reply.status_code == 200, (path, reply.status_code, reply.text[:500])
    return reply.json()


def native(client):
    one = post(client, "/generate", {"text": PROMPT, "sampling_params": GREEDY, "rid": "contract"})
    meta = one["meta_info"]
    assert meta["id"] == "contract" and meta["completion_tokens"] == len(one["output_ids"]) == 6, meta
    assert meta["finish_reason"] == {"type": "length", "length": 6} and meta["prompt_tokens"] > 0 and meta["e2e_latency"] > 0, meta
    stream = events(client, "/generate", {"text": PROMPT, "sampling_params": GREEDY})
    assert stream[-1]["text"] == one["text"] and stream[-1]["output_ids"] == one["output_ids"], "streamed and whole answers differ"
    assert stream[0]["meta_info"]["completion_tokens"] == 1, "the first token goes out alone"
    assert [e["meta_info"]["finish_reason"] is None for e in stream] == [True] * (len(stream) - 1) + [False], "one final event"
    batch = post(client, "/generate", {"text": [PROMPT, PROMPT], "sampling_params": {**GREEDY, "n": 2}})
    assert len(batch) == 4 and all(answer["output_ids"] == one["output_ids"] for answer in batch), "a batch changes answers"


def logprobs(client):
    n = post(client, "/generate", {"text": PROMPT, "sampling_params": {**GREEDY, "max_new_tokens": 1}})["meta_info"]["prompt_tokens"]
    for begin in (0, 2, n - 1):
        body = {"text": PROMPT, "sampling_params": GREEDY, "return_logprob": True, "logprob_start_len": begin, "top_logprobs_num": 2,
                "token_ids_logprob": [1, 2], "return_text_in_logprobs": True}
        answer = post(client, "/generate", body)
        meta = answer["meta_info"]
        assert len(meta["input_token_logprobs"]) == n - begin, (begin, len(meta["input_token_logprobs"]))
        assert meta["input_token_logprobs"][0][0] is None and meta["input_top_logprobs"][0] is None, "nothing comes before the first"
        assert [entry[1] for entry in meta["output_token_logprobs"]] == answer["output_ids"], "ids beside the log-probabilities"
        assert all(len(top) == 2 and top[0][0] >= top[1][0] for top in meta["output_top_logprobs"]), "descending"
        assert all([entry[1] for entry in ids] == [1, 2] for ids in meta["output_token_ids_logprobs"]), "the ids that were asked for"
        for entry, top in zip(meta["output_token_logprobs"], meta["output_top_logprobs"]):
            assert entry[0] == top[0][0] and isinstance(entry[2], str), "a greedy token is the likeliest"
    only = post(client, "/generate", {"text": PROMPT, "return_logprob": True, "sampling_params": {**GREEDY, "max_new_tokens": 0}})
    assert only["text"] == "" and only["meta_info"]["completion_tokens"] == 0, only
    assert len(only["meta_info"]["output_token_logprobs"]) == 1 and only["meta_info"]["input_token_logprobs"] == [], only


def openai(client):
    models = client.get("/v1/models").json()
    assert models["object"] == "list" and models["data"][0]["object"] == "model", models
    body = {"model": "m", "prompt": PROMPT, "max_tokens": 6, "temperature": 0, "ignore_eos": True}
    one = post(client, "/v1/completions", body)
    usage = one["usage"]
    assert one["object"] == "text_completion" and usage["completion_tokens"] == 6, one
    assert usage["total_tokens"] == usage["prompt_tokens"] + 6, usage
    assert "".join(e["choices"][0]["text"] for e in events(client, "/v1/completions", body)) == one["choices"][0]["text"], "streamed text"
    echo = post(client, "/v1/completions", {**body, "echo": True})
    assert echo["choices"][0]["text"] == PROMPT + one["choices"][0]["text"], "echo"
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 6, "temperature": 0, "ignore_eos": True}
    whole = post(client, "/v1/chat/completions", chat)
    assert whole["object"] == "chat.completion" and whole["choices"][0]["message"]["role"] == "assistant", whole
    chunks = events(client, "/v1/chat/completions", {**chat, "stream_options": {"include_usage": True}})
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant" and chunks[-1]["choices"] == [], "role first, usage last"
    assert chunks[-1]["usage"]["completion_tokens"] == 6, chunks[-1]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks[:-1])
    assert text == (whole["choices"][0]["message"]["content"] or ""), "streamed chat"
    assert len({c["id"] for c in chunks}) == 1, "one id for one stream"


def errors(client):
    reply = client.post("/generate", json={})
    assert reply.status_code == 400 and reply.json()["error"]["message"], reply.text
    reply = client.post("/v1/chat/completions", json={"messages": []})
    assert reply.status_code == 400 and reply.json()["object"] == "error" and reply.json()["code"] == 400, reply.text
    assert client.get("/no/such/route").status_code == 404
    assert client.get("/generate").status_code == 405


def run(url, headers=None):
    """Every part of the contract; AssertionError says which one is broken."""
    with httpx.Client(base_url=url, timeout=120, headers=headers) as client:
        for part in (native, logprobs, openai, errors):
            try:
                part(client)
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise AssertionError(f"{part.__name__}: a reply has another shape: {error!r}") from error

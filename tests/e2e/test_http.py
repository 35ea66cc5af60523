"""HTTP as curl speaks it: expectations, chunked uploads, keep-alive, and what errors look like.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import re
import subprocess

import pytest

JSON_HEADER = ["-H", "Content-Type: application/json"]
GENERATE = {"text": "The capital of France is", "sampling_params": {"max_new_tokens": 8, "temperature": 0}}
BODY_LIMIT = 512 << 20


def curl(*arguments, stdin=None, code=0):
    """stdout and stderr, as text; `code` is curl's exit code."""
    done = subprocess.run(["curl", "-sS", "--max-time", "120", *arguments], input=stdin, capture_output=True, timeout=150)
    assert code is None or done.returncode == code, (done.returncode, done.stderr.decode())
    return done.stdout.decode(), done.stderr.decode()


def status_and_json(*arguments, stdin=None):
    out, _ = curl("-w", "\n%{http_code}", *arguments, stdin=stdin)
    body, status = out.rsplit("\n", 1)
    return int(status), json.loads(body)


def post(server, path, body):
    text = body if isinstance(body, str) else json.dumps(body)
    return status_and_json(*JSON_HEADER, "--data-binary", "@-", server.url + path, stdin=text.encode())


@pytest.fixture(scope="module")
def answer(server):
    status, reply = post(server, "/generate", GENERATE)
    assert status == 200
    return reply


def test_plain(answer):
    assert "Paris" in answer["text"] and len(answer["output_ids"]) == 8


def test_data_without_content_type(server, answer):
    """`curl -d` says it sends a form; the native endpoint takes JSON all the same, the OpenAI one refuses."""
    status, reply = status_and_json("-d", json.dumps(GENERATE), server.url + "/generate")
    assert status == 200 and reply["text"] == answer["text"]
    status, reply = status_and_json("-d", json.dumps({"prompt": "x"}), server.url + "/v1/completions")
    assert status == 400 and "application/json" in reply["message"]


def test_put(server, answer):
    status, reply = status_and_json("-X", "PUT", "-d", json.dumps(GENERATE), server.url + "/generate")
    assert status == 200 and reply["text"] == answer["text"]


def test_stream(server, answer):
    out, _ = curl("-N", "-i", "-d", json.dumps({**GENERATE, "stream": True}), server.url + "/generate")
    head, body = out.split("\r\n\r\n", 1)
    assert re.search(r"(?im)^content-type: text/event-stream; charset=utf-8\r?$", head)
    events = body.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    replies = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert replies[0]["meta_info"]["completion_tokens"] == 1, "the first token goes out alone"
    assert [len(r["output_ids"]) for r in replies] == list(range(1, 9)), "cumulative"
    assert all(b["text"].startswith(a["text"]) for a, b in zip(replies, replies[1:]))
    assert [r["meta_info"]["finish_reason"] for r in replies[:-1]] == [None] * 7
    assert replies[-1]["text"] == answer["text"] and replies[-1]["output_ids"] == answer["output_ids"]


@pytest.mark.parametrize("path, body", [
    ("/generate", {**GENERATE, "stream": True}),
    ("/v1/completions", {"prompt": "Water boils at", "max_tokens": 8, "stream": True}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8, "stream": True}),
])
def test_one_event_is_one_chunk(server, path, body):
    out, _ = curl("--raw", "-N", *JSON_HEADER, "-d", json.dumps(body), server.url + path)
    rest, chunks = out.encode(), []
    while True:
        size, rest = rest.split(b"\r\n", 1)
        length = int(size, 16)
        chunks.append(rest[:length].decode())
        assert rest[length : length + 2] == b"\r\n"
        rest = rest[length + 2 :]
        if length == 0:
            break
    assert rest == b"" and chunks[-2:] == ["data: [DONE]\n\n", ""]
    for chunk in chunks[:-2]:
        assert chunk.startswith("data: {") and chunk.endswith("}\n\n") and chunk.count("\n") == 2
        json.loads(chunk[6:])


def test_expect_100_continue(server, answer):
    body = json.dumps({**GENERATE, "ignored": "x" * (2 << 20)})
    out, err = curl("-v", "-H", "Expect: 100-continue", *JSON_HEADER, "--data-binary", "@-", server.url + "/generate", stdin=body.encode())
    assert "HTTP/1.1 100 Continue" in err
    assert json.loads(out)["text"] == answer["text"]


def test_chunked_upload(server, answer):
    body = json.dumps({**GENERATE, "ignored": "x" * 300000})
    out, _ = curl("-H", "Transfer-Encoding: chunked", *JSON_HEADER, "--data-binary", "@-", server.url + "/generate", stdin=body.encode())
    assert json.loads(out)["text"] == answer["text"]


def test_connection_close(server):
    out, err = curl("-v", "-i", "-H", "Connection: close", server.url + "/v1/models")
    assert re.search(r"(?im)^connection: close\r?$", out)
    assert "left intact" not in err


def test_keep_alive(server):
    out, _ = curl("-o", os.devnull, "-o", os.devnull, "-o", os.devnull, "-w", "%{http_code} %{num_connects}\n",
                  server.url + "/v1/models", server.url + "/nothing", server.url + "/get_load")
    assert out.split("\n")[:3] == ["200 1", "404 0", "200 0"]


def test_http_1_0(server, answer):
    out, _ = curl("--http1.0", *JSON_HEADER, "-d", json.dumps(GENERATE), server.url + "/generate")
    assert json.loads(out)["text"] == answer["text"]


@pytest.mark.parametrize("path", ["/generate", "/v1/completions", "/v1/chat/completions", "/tokenize"])
@pytest.mark.parametrize("body, line, column", [('{"text": "a",\n "x": }', 2, None), ('{"text": "a"', 1, None), ("{'a': 1}", 1, 2)])
def test_bad_json(server, path, body, line, column):
    status, reply = post(server, path, body)
    assert status == 400 and reply["object"] == "error" and reply["code"] == 400 and reply["type"] == "Bad Request"
    place = re.search(r"line (\d+), column (\d+)", reply["message"])
    assert place, reply["message"]
    assert int(place[1]) == line and (column is None or int(place[2]) == column), reply["message"]


def test_no_json(server):
    for path in ("/generate", "/v1/completions", "/tokenize"):
        status, reply = post(server, path, "")
        assert status == 400 and "empty" in reply["message"], reply


@pytest.mark.parametrize("path, body, field", [
    ("/generate", {"text": 5}, "text"),
    ("/generate", {"text": "x", "stream": "yes"}, "stream"),
    ("/generate", {"text": "x", "sampling_params": {"temperature": "hot"}}, "sampling_params.temperature"),
    ("/generate", {"text": "x", "sampling_params": {"stop": [1]}}, "sampling_params.stop"),
    ("/generate", {"input_ids": ["a"]}, "input_ids"),
    ("/generate", {"input_ids": [1.5]}, "input_ids"),
    ("/v1/completions", {}, "prompt"),
    ("/v1/completions", {"prompt": {}}, "prompt"),
    ("/v1/completions", {"prompt": "x", "max_tokens": "many"}, "max_tokens"),
    ("/v1/completions", {"prompt": "x", "n": 1.5}, "n"),
    ("/v1/chat/completions", {}, "messages"),
    ("/v1/chat/completions", {"messages": "hello"}, "messages"),
    ("/v1/chat/completions", {"messages": [{"content": "x"}]}, "messages[0].role"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "stream_options": {"include_usage": 7}},
     "stream_options.include_usage"),
    ("/tokenize", {"prompt": 5}, "prompt"),
    ("/detokenize", {"tokens": "abc"}, "tokens"),
    ("/abort_request", {"rid": 5}, "rid"),
    ("/generate", [1, 2], "body"),
])
def test_wrong_type_names_the_field(server, path, body, field):
    status, reply = post(server, path, body)
    assert status == 400 and reply["type"] == "Bad Request" and reply["param"] is None, reply
    assert field in re.split(r"[:\s]", reply["message"])[0], reply["message"]


@pytest.mark.parametrize("params, message", [
    (dict(temperature=-1), "temperature must be non-negative, got -1"),
    (dict(top_p=0), "top_p must be in (0, 1], got 0"),
    (dict(top_k=0), "top_k must be -1 (disable) or at least 1, got 0."),
    (dict(min_p=2), "min_p must be in [0, 1], got 2"),
    (dict(repetition_penalty=3), "repetition_penalty must be in (0, 2]"),
    (dict(frequency_penalty=3), "frequency_penalty must be in [-2, 2]"),
    (dict(max_new_tokens=-1), "max_new_tokens must be at least 0, got -1."),
    (dict(min_new_tokens=9, max_new_tokens=8), "min_new_tokens must be in [0, max_new_tokens(8)], got 9."),
    (dict(logit_bias={"99999999": 1}), "logit_bias must has keys in [0,"),
    (dict(tempurature=1), "tempurature"),
    (dict(stop_regex="(a"), "stop_regex"),
    (dict(regex="("), "Failed to compile regex grammar"),
    (dict(json_schema='{"type":"invalid"}'), "#/type"),
    (dict(json_schema="{}", regex="a"), "Only one of"),
])
def test_bad_sampling_parameters(server, params, message):
    status, reply = post(server, "/generate", {"text": "x", "sampling_params": params})
    assert status == 400 and message in reply["error"]["message"], reply


@pytest.mark.parametrize("body, word", [
    ({}, "Either text, input_ids or input_embeds should be provided."),
    ({"input_ids": []}, "input_ids"),
    ({"input_ids": [10**9]}, "input_ids"),
    ({"input_ids": [-1]}, "input_ids"),
    ({"text": ["a", "b"], "rid": ["x", "x"]}, "Duplicate"),
    ({"text": ["a", "b"], "sampling_params": [{}]}, "sampling_params"),
    ({"text": "a", "return_logprob": True, "logprob_start_len": 50}, "logprob_start_len"),
    ({"text": "a", "sampling_params": {"max_new_tokens": 10**7}}, "maximum context length"),
    ({"text": "a", "image_data": "x"}, "image_data"),
])
def test_bad_values(server, body, word):
    status, reply = post(server, "/generate", body)
    assert status == 400 and word in reply["error"]["message"], reply


def test_bad_value_in_a_stream_is_an_event(server):
    body = json.dumps({"text": "x", "stream": True, "sampling_params": {"temperature": -1}})
    out, _ = curl("-N", "-d", body, server.url + "/generate")
    error, done, end = out.split("\n\n")
    assert "temperature" in json.loads(error.removeprefix("data: "))["error"]["message"]
    assert (done, end) == ("data: [DONE]", "")


def test_body_over_the_limit(server, tmp_path):
    huge = tmp_path / "huge.json"
    with open(huge, "wb") as file:
        file.truncate(BODY_LIMIT + 1)  # takes no disk; curl asks first, because the file is large
    out, _ = curl("-X", "POST", "-H", "Expect: 100-continue", "-w", "\n%{http_code} %{size_upload}", "-T", str(huge), server.url + "/generate")
    body, numbers = out.rsplit("\n", 1)
    status, uploaded = numbers.split()
    assert status == "413" and int(uploaded) < BODY_LIMIT
    assert json.loads(body)["code"] == 413


def test_unknown_route(server):
    status, reply = status_and_json(server.url + "/v1/nothing")
    assert status == 404 and reply["code"] == 404


@pytest.mark.parametrize("method, path, allowed", [
    ("GET", "/generate", {"POST", "PUT"}), ("DELETE", "/v1/models", {"GET"}), ("GET", "/v1/chat/completions", {"POST"}),
    ("POST", "/health", {"GET"}), ("PATCH", "/flush_cache", {"GET", "POST"}),
])
def test_wrong_method(server, method, path, allowed):
    out, _ = curl("-i", "-X", method, server.url + path)
    assert out.startswith("HTTP/1.1 405")
    allow = re.search(r"(?im)^allow: (.*?)\r?$", out)[1]
    assert set(re.split(r",\s*", allow)) == allowed


def test_cors(server):
    out, _ = curl("-i", "-X", "OPTIONS", "-H", "Origin: http://a.example", "-H", "Access-Control-Request-Method: POST",
                  "-H", "Access-Control-Request-Headers: x-mine", server.url + "/v1/chat/completions")
    assert re.match(r"HTTP/1.1 20[04]", out)
    assert re.search(r"(?im)^access-control-allow-origin: (\*|http://a.example)\r?$", out)


def test_post_without_a_body_or_its_length(server):
    out, _ = curl("-i", "-X", "POST", "-H", "Connection: close", server.url + "/flush_cache?timeout=30")
    assert out.startswith("HTTP/1.1 200") and "Cache flushed." in out
    out, _ = curl("-i", server.url + "/flush_cache?timeout=30")
    assert out.startswith("HTTP/1.1 200")


def test_get_with_a_content_type(server):
    status, reply = status_and_json(*JSON_HEADER, server.url + "/get_model_info")
    assert status == 200 and reply["model_path"] == server.model and reply["is_generation"] is True


def test_root_head_and_health(server):
    assert curl(server.url + "/")[0] == '"SGLang is running"'
    assert curl("-I", server.url + "/")[0].startswith("HTTP/1.1 200")
    out, _ = curl("-i", server.url + "/health")
    assert out.startswith("HTTP/1.1 200") and out.endswith("\r\n\r\n"), "no body"


def test_server_info(server):
    status, info = status_and_json(server.url + "/server_info")
    assert status == 200 and info["status"] == "ready" and info["model_path"] == server.model
    state = info["internal_states"][0]
    assert info["max_total_num_tokens"] > 0 and state["effective_max_running_requests_per_dp"] > 0
    assert state["memory_usage"]["token_capacity"] == info["max_total_num_tokens"]

"""Thousands of requests that no server should accept, made from its own description (/openapi.json) and from tables of ranges, encodings,
nestings, conflicts and headers. Each must be answered with the right status and a message that names what is wrong; never a crash, a
hang or a 5xx.

SPDX-License-Identifier: Apache-2.0
"""
import json
import socket
from urllib.parse import urlsplit

import httpx

from kits.idle import wait_idle

SECONDS = 30.0
MESSAGES = [{"role": "user", "content": "hi"}]
SHORT = {"max_new_tokens": 1, "temperature": 0}
# A body that is right, for each endpoint: one thing at a time is made wrong in it.
GOOD = {
    "/generate": {"text": "hi", "sampling_params": SHORT},
    "/v1/completions": {"prompt": "hi", "max_tokens": 1},
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 1},
    "/v1/responses": {"input": "hi", "max_output_tokens": 1},
    "/v1/messages": {"model": "m", "messages": MESSAGES, "max_tokens": 1},
    "/v1/messages/count_tokens": {"model": "m", "messages": MESSAGES},
    "/api/chat": {"messages": MESSAGES, "stream": False, "options": {"num_predict": 1}},
    "/api/generate": {"prompt": "hi", "stream": False, "options": {"num_predict": 1}},
    "/v1/embeddings": {"input": "hi"},
    "/encode": {"text": "hi"},
    "/v1/score": {"query": "q", "items": "a", "label_token_ids": [1]},
    "/v1/rerank": {"query": "q", "documents": ["a"]},
    "/tokenize": {"prompt": "hi"},
    "/detokenize": {"tokens": [1]},
    "/abort_request": {"rid": "nobody"},
    "/configure_logging": {},
}
VALUES = ["x", "", 7, -1, 1.5, 1e300, True, False, [], [[]], ["x"], [7], [None], {}, {"x": 1}, [{"x": {}}], 2**63, -(2**70)]


def fits(value, schema):
    """Whether `value` has a type that `schema` allows; True when it does not say."""
    if "anyOf" in schema:
        return any(fits(value, option) for option in schema["anyOf"])
    kind = schema.get("type")
    if kind is None:
        return True
    if isinstance(kind, list):
        return any(fits(value, {**schema, "type": one}) for one in kind)
    if kind == "array":
        return isinstance(value, list) and all(item is None or fits(item, schema.get("items", {})) for item in value)
    if kind == "integer":
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 2**53)
        return whole and not isinstance(value, bool) and -(2**63) <= value < 2**63
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, {"string": str, "boolean": bool, "object": dict}[kind])


def endpoints(document):
    """(path, schema of the body) of every endpoint in `document` that GOOD knows."""
    for path, methods in document["paths"].items():
        body = methods.get("post", {}).get("requestBody")
        if path in GOOD and body:
            yield path, body["content"]["application/json"]["schema"]


class Case:
    """One request. `names`: words of which the message must have one; none: it need only be there."""

    def __init__(self, title, path, body, names=(), statuses=(400,), headers=None, method="POST"):
        self.title, self.path, self.names, self.statuses, self.method = title, path, tuple(names), tuple(statuses), method
        self.content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = {"content-type": "application/json", **(headers or {})}


def wrong_types(document):
    for path, schema in endpoints(document):
        for name, kind in schema["properties"].items():
            for value in VALUES:
                if not fits(value, kind):
                    yield Case(f"{path} {name}={json.dumps(value)[:40]}", path, {**GOOD[path], name: value}, [name])
            for inner, inner_kind in kind.get("properties", {}).items():
                base = GOOD[path].get(name, {"id": "x"} if name == "session_params" else {})
                for value in VALUES:
                    if not fits(value, inner_kind):
                        body = {**GOOD[path], name: {**base, inner: value}}
                        yield Case(f"{path} {name}.{inner}={json.dumps(value)[:40]}", path, body, [inner])
        for name in schema.get("required", []):
            for body in ({key: value for key, value in GOOD[path].items() if key != name}, {**GOOD[path], name: None}):
                yield Case(f"{path} without {name}", path, body, [name, name.capitalize()])


RANGES = {
    "temperature": [-1, -1e-9, -1e300], "top_p": [0, -0.5, 1.0001, 1e300], "top_k": [0, -2, -(2**40)], "min_p": [-0.1, 1.1, 1e9],
    "frequency_penalty": [-2.1, 2.1, 1e300], "presence_penalty": [-2.1, 2.1], "repetition_penalty": [0, -1, 2.1, 1e9],
    "n": [0, -1, 2**31 - 1, 2**40], "logit_bias": [{"-1": 1}, {"x": 1}, {"999999999": 1}, {"1": "x"}, {"1": None}],
}
NATIVE_RANGES = {**RANGES, "max_new_tokens": [-1, -(2**40), 2**40, 2**63 - 1], "min_new_tokens": [-1, 5], "stream_interval": [0, -1],
                 "stop_regex": ["(", "[z-a]", "(?P<", "*", "\\"], "nonsense": [1], "topp": [0.5]}
OPENAI_RANGES = {**RANGES, "max_tokens": [-1, 2**40, 2**63 - 1], "stop_regex": ["("]}


def out_of_range():
    for name, values in NATIVE_RANGES.items():
        for value in values:
            body = {"text": "hi", "sampling_params": {**SHORT, name: value}}
            yield Case(f"/generate {name}={value}", "/generate", body, [name, "token count", "context"])
    for path in ("/v1/completions", "/v1/chat/completions"):
        for name, values in OPENAI_RANGES.items():
            for value in values:
                yield Case(f"{path} {name}={value}", path, {**GOOD[path], name: value}, [name, "max_new_tokens", "max_completion_tokens", "token count"])
    for ids in ([-1], [2**31], [2**63 - 1], [10**7], [1, 2, -5], []):
        yield Case(f"/generate input_ids={ids}", "/generate", {"input_ids": ids, "sampling_params": SHORT}, ["input_ids"])
        yield Case(f"/v1/completions prompt={ids}", "/v1/completions", {"prompt": ids, "max_tokens": 1}, ["prompt", "Prompt"])
        if ids:
            yield Case(f"/detokenize tokens={ids}", "/detokenize", {"tokens": ids}, ["tokens"])
    logprobs = {"top_logprobs_num": [-1, 2**31 - 1], "logprob_start_len": [-2, 10**9], "token_ids_logprob": [[-1], [10**9]]}
    for name, values in logprobs.items():
        for value in values:
            body = {**GOOD["/generate"], "return_logprob": True, name: value}
            yield Case(f"/generate {name}={value}", "/generate", body, [name])
    yield Case("/v1/completions logprobs=-1", "/v1/completions", {**GOOD["/v1/completions"], "logprobs": -1}, ["logprobs"])
    yield Case("/v1/chat/completions top_logprobs", "/v1/chat/completions",
               {**GOOD["/v1/chat/completions"], "logprobs": True, "top_logprobs": -1}, ["logprobs"])
    for tokens in (0, -1):
        yield Case(f"max_tokens={tokens}", "/v1/messages", {**GOOD["/v1/messages"], "max_tokens": tokens}, ["max_tokens"])
        yield Case(f"max_output_tokens={tokens}", "/v1/responses", {"input": "hi", "max_output_tokens": tokens}, ["max_output_tokens"])


def conflicts():
    native = [
        ({}, ["text"]), ({"text": []}, ["text"]), ({"input_ids": []}, ["input_ids"]), ({"text": None}, ["text"]),
        ({"text": ["a", "b"], "rid": ["x"]}, ["rid"]), ({"text": ["a", "b"], "rid": ["x", "x"]}, ["ID", "rid"]),
        ({"text": ["a", "b"], "sampling_params": [SHORT]}, ["sampling_params"]),
        ({"text": ["a", "b"], "sampling_params": [{"n": 1}, {"n": 2}]}, ["n"]),
        ({"text": ["a", "b"], "return_logprob": [True]}, ["return_logprob"]),
        ({"text": ["a", "b"], "top_logprobs_num": [1, 2, 3]}, ["top_logprobs_num"]),
        ({"text": ["a", "b"], "sampling_params": {"n": 2}, "return_logprob": [True, False]}, ["n > 1", "logprob"]),
        ({"text": "hi", "sampling_params": {"max_new_tokens": 1, "min_new_tokens": 2}}, ["min_new_tokens"]),
        ({"text": "hi", "routed_dp_rank": 9}, ["routed_dp_rank"]),
        ({"text": "hi", "sampling_params": {"regex": "a", "json_schema": "{}"}}, ["regex", "json_schema"]),
    ]
    for body, names in native:
        yield Case(f"/generate {json.dumps(body)[:60]}", "/generate", body, names)
    chat = [
        ({"messages": []}, ["essages"]), ({"messages": [{}]}, ["role"]), ({"messages": [{"role": "king", "content": "x"}]}, ["role"]),
        ({"messages": [{"role": "user", "content": 7}]}, ["content"]), ({"messages": ["x"]}, ["messages"]),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, ["content", "type"]),
        ({"messages": MESSAGES, "tool_choice": "required"}, ["tool"]), ({"messages": MESSAGES, "tools": [{}]}, ["tools"]),
        ({"messages": MESSAGES, "tools": [{"type": "function", "function": {"name": "f"}}],
          "tool_choice": {"type": "function", "function": {"name": "g"}}}, ["'g'", "tool"]),
        ({"messages": MESSAGES, "response_format": {"type": "json_schema"}}, ["schema", "response_format"]),
        ({"messages": MESSAGES, "response_format": {"type": "poem"}}, ["response_format"]),
        ({"messages": MESSAGES, "max_completion_tokens": 10**9}, ["max_completion_tokens"]),
    ]
    for body, names in chat:
        yield Case(f"/v1/chat/completions {json.dumps(body)[:60]}", "/v1/chat/completions", body, names)


def encodings():
    broken = {
        "invalid UTF-8": b'{"text":"\xff\xfe"}', "overlong": b'{"text":"\xc0\xaf"}', "surrogate": b'{"text":"\xed\xa0\x80"}',
        "cut character": b'{"text":"\xe2\x82"}', "latin-1": '{"text":"ü"}'.encode("latin-1"), "UTF-16": '{"text":"x"}'.encode("utf-16"),
        "lone escape": b'{"text":"\\ud800"}', "bad escape": b'{"text":"\\x"}', "control": b'{"text":"\x01"}', "NUL": b'{"text":"x"}\x00',
        "no end": b'{"text":"x"', "no value": b'{"text":}', "comma": b'{"text":"x",}', "two": b'{"text":"x"}{"text":"y"}', "empty": b"",
        "single quotes": b"{'text':'x'}", "comment": b'{"text":"x"} // c', "NaN": b'{"text":"x","sampling_params":{"top_p":NaN}}',
        "Infinity": b'{"text":"x","sampling_params":{"top_p":Infinity}}', "hex": b'{"input_ids":[0x10]}', "plus": b'{"input_ids":[+1]}',
        "leading zero": b'{"input_ids":[01]}', "1e400": b'{"text":"x","sampling_params":{"top_p":1e400}}', "word": b"nonsense",
        "form": b"text=x&n=1", "binary": bytes(range(256)),
    }
    for path in GOOD:
        for title, content in broken.items():
            if title == "empty" and path in ("/abort_request", "/configure_logging"):
                continue  # a request without a body asks for nothing
            yield Case(f"{path} {title}", path, content)
    for path in GOOD:
        for content in (b"[]", b"null", b"7", b'"x"', b"true", b"[[]]"):
            yield Case(f"{path} body {content.decode()}", path, content)
    for path in GOOD:
        for depth in (2000, 200000):
            for opening, closing in (("[", "]"), ('{"a":', "}")):
                nested = opening * depth + "1" + closing * depth
                yield Case(f"{path} {depth} deep", path, nested.encode())
                yield Case(f"{path} member {depth} deep", path, f'{{"text":{nested},"x":{nested}}}'.encode())


def headers():
    for path in ("/v1/completions", "/v1/chat/completions", "/tokenize"):
        for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml", "x", ""):
            yield Case(f"{path} as {media!r}", path, GOOD[path], ["application/json"], headers={"content-type": media})
    for rank in ("x", "1", "-1", "99999999999999999999", "0x0"):
        yield Case(f"rank {rank}", "/generate", GOOD["/generate"], ["Rank"], headers={"x-data-parallel-rank": rank})
    for path in GOOD:
        for method in ("DELETE", "PATCH"):
            yield Case(f"{method} {path}", path, GOOD[path], statuses=(405,), method=method)
    for path in ("/nothing", "/v1", "/v1/", "//", "/generate/", "/../etc/passwd", "/%00", "/v1/models%00"):
        yield Case(f"no route {path}", path, {}, statuses=(404, 405))


# Bytes that are no HTTP: (title, bytes, statuses). An empty tuple: closing without a word is right, too.
RAW = [
    ("no method", b"\r\n\r\nGARBAGE\r\n\r\n", (400,)), ("no version", b"GET /\r\n\r\n", (400,)), ("HTTP/9", b"GET / HTTP/9.9\r\n\r\n", (400, 505)),
    ("space in the path", b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", (400,)), ("long header", b"GET / HTTP/1.1\r\nX: " + b"a" * 100000 + b"\r\n\r\n", (431,)),
    ("many headers", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n", (431, 400)), ("long path", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", (431, 414, 400)),
    ("header without colon", b"GET / HTTP/1.1\r\nHost\r\n\r\n", (400,)), ("NUL in a header", b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", (400,)),
    ("negative length", b"POST /generate HTTP/1.1\r\nContent-Length: -1\r\n\r\n", (400,)),
    ("huge length", b"POST /generate HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", (400, 413)),
    ("large length", b"POST /generate HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", (413,)),
    ("two lengths", b"POST /generate HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", (400,)),
    ("length and chunks", b"POST /generate HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
    ("bad chunk size", b"POST /generate HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", (400,)),
    ("huge chunk size", b"POST /generate HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n", (400, 413)),
    ("unknown coding", b"POST /generate HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", (400, 501)),
    ("expectation", b"POST /generate HTTP/1.1\r\nExpect: 200-maybe\r\nContent-Length: 2\r\n\r\n{}", (417, 400)),
]


def corpus(document):
    """Every case, in a fixed order."""
    for part in (wrong_types(document), out_of_range(), conflicts(), encodings(), headers()):
        yield from part


def message_of(reply):
    """The text of an error body of any of the API's forms; AssertionError when it has none."""
    body = reply.json()
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error if isinstance(error, str) else error.get("message") if isinstance(error, dict) else None
    assert isinstance(message, str) and message, f"no message in {reply.text[:200]}"
    return message


def check(client, case):
    """What is wrong with the reply to `case`; "" if nothing."""
    try:
        reply = client.request(case.method, case.path, content=case.content, headers=case.headers)
    except httpx.HTTPError as error:
        return f"{case.title}: {error!r}"
    if reply.status_code not in case.statuses:
        return f"{case.title}: status {reply.status_code}, expected {case.statuses}: {reply.text[:200]}"
    try:
        message = message_of(reply)
    except (AssertionError, ValueError) as error:
        return f"{case.title}: {error}"
    if case.names and not any(name in message for name in case.names):
        return f"{case.title}: the message names none of {case.names}: {message[:200]}"
    return ""


def check_raw(url, title, content, statuses):
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=SECONDS) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it answered and closed before we were done
        reply = b""
        try:
            while piece := connection.recv(65536):
                reply += piece
        except TimeoutError:
            return f"{title}: no answer within {SECONDS} s"
        except OSError:
            pass
    status = int(reply[9:12]) if reply.startswith(b"HTTP/1.1 ") else 0
    return "" if status in statuses else f"{title}: status {status}, expected {statuses}"


def run(url, headers=None):
    """Sends everything; AssertionError lists what was answered wrongly. Returns the number of requests."""
    with httpx.Client(base_url=url, timeout=SECONDS, headers=headers) as client:
        cases = list(corpus(client.get("/openapi.json").raise_for_status().json()))
        problems = [problem for case in cases if (problem := check(client, case))]
        problems += [problem for raw in RAW if (problem := check_raw(url, *raw))]
        assert not problems, f"{len(problems)} of {len(cases) + len(RAW)} wrong:\n" + "\n".join(problems[:60])
        wait_idle(url, headers=headers)
        reply = client.post("/generate", json=GOOD["/generate"])
        assert reply.status_code == 200, reply.text
    return len(cases) + len(RAW)

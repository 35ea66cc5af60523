"""How requests end: abort-all, waiting timeout, running timeout in two waves, rude clients. Each kit drives any server by its URL and
raises AssertionError when a request ends otherwise than the rules say.

SPDX-License-Identifier: Apache-2.0
"""
import concurrent.futures
import json
import socket
from urllib.parse import urlsplit

import httpx

from kits.idle import requests_in_flight, wait_idle
from kits.server import wait_for

REPLY_SECONDS = 120.0
PROMPT = "Tell me everything that you know about the history of the sea, and do not stop before you are done."
FULL_META = ("id", "finish_reason", "prompt_tokens", "completion_tokens", "cached_tokens", "weight_version", "e2e_latency")


def generate(url, body, headers=None):
    """(status, final object or error) of one /generate, streamed or not. AssertionError unless there is exactly one final answer."""
    with httpx.Client(timeout=REPLY_SECONDS, headers=headers) as client:
        if not body.get("stream"):
            reply = client.post(url + "/generate", json=body)
            return reply.status_code, reply.json()
        with client.stream("POST", url + "/generate", json=body) as reply:
            events = [line[6:] for line in reply.iter_lines() if line.startswith("data: ")]
    assert events and events[-1] == "[DONE]", f"the stream of {body.get('rid')} has no end: {events[-2:]}"
    objects = [json.loads(event) for event in events[:-1]]
    final = [o for o in objects if "error" in o or o["meta_info"]["finish_reason"] is not None]
    assert len(final) == 1 and final[0] is objects[-1], f"{len(final)} final answers for {body.get('rid')}"
    return reply.status_code, final[0]


def start(url, count, tokens, pool, headers=None, **more):
    """`count` long requests, every second one streamed, with log-probabilities."""
    bodies = [{"text": f"{i}. {PROMPT}", "rid": f"{more.get('name', 'kit')}-{i}", "stream": i % 2 == 1, "return_logprob": True,
               "sampling_params": {"max_new_tokens": tokens, "ignore_eos": True, "temperature": 0}} for i in range(count)]
    return [pool.submit(generate, url, body, headers) for body in bodies]


def check_meta(answer):
    """A final answer has the whole meta_info, and as many log-probabilities as tokens."""
    meta = answer["meta_info"]
    missing = [name for name in FULL_META if name not in meta]
    assert not missing, f"meta_info without {missing}: {meta}"
    assert meta["e2e_latency"] > 0, meta
    assert meta["completion_tokens"] == len(answer["output_ids"]), (meta["completion_tokens"], len(answer["output_ids"]))
    assert len(meta["output_token_logprobs"]) == len(answer["output_ids"]), "log-probabilities"


def abort_all(url, count=32, tokens=4000, headers=None):
    """All requests, running and waiting, end at once as aborted, each with one full answer; the server is then at rest."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        replies = start(url, count, tokens, pool, headers, name="abort-all")
        wait_for(lambda: sum(requests_in_flight(url, headers)) == count, f"{count} requests in flight")
        assert httpx.post(url + "/abort_request", json={"abort_all": True}, headers=headers, timeout=30).status_code == 200
        for reply in replies:
            status, answer = reply.result(REPLY_SECONDS)
            assert status == 200 and "error" not in answer, (status, answer)
            assert answer["meta_info"]["finish_reason"]["type"] == "abort", answer["meta_info"]["finish_reason"]
            check_meta(answer)
    wait_idle(url, headers=headers)


def is_timeout(status, answer, message):
    """A 503 with this message: as an error, or in a stream as the finish reason."""
    if "meta_info" in answer:
        reason = answer["meta_info"]["finish_reason"]
        return reason["type"] == "abort" and reason["status_code"] == 503 and reason["message"] == message
    error = answer.get("error", answer)
    return (status == 503 or "error" in answer) and error.get("message") == message


def waiting_timeout(url, running, waiting, tokens=4000, headers=None):
    """The server runs `running` requests at once and lets others wait for less time than these take: all others end with that timeout.
    At least one that runs is not touched."""
    with concurrent.futures.ThreadPoolExecutor(running + waiting) as pool:
        long = start(url, running, tokens, pool, headers, name="running")
        wait_for(lambda: requests_in_flight(url, headers)[0] == running, f"{running} requests running")
        short = start(url, waiting, tokens, pool, headers, name="waiting")
        for reply in short:
            status, answer = reply.result(REPLY_SECONDS)
            assert is_timeout(status, answer, "Request waiting timeout reached."), (status, answer)
        assert requests_in_flight(url, headers)[0] == running, "a running request ended, too"
        httpx.post(url + "/abort_request", json={"abort_all": True}, headers=headers, timeout=30)
        for reply in long:
            _, answer = reply.result(REPLY_SECONDS)
            assert answer["meta_info"]["finish_reason"]["type"] == "abort", answer
    wait_idle(url, headers=headers)


def running_timeout(url, count, tokens=4000, headers=None):
    """The server lets requests run for less time than these take: all end with that timeout, and a second wave just so."""
    for wave in range(2):
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            for reply in start(url, count, tokens, pool, headers, name=f"wave-{wave}"):
                status, answer = reply.result(REPLY_SECONDS)
                assert is_timeout(status, answer, "Request running timeout reached."), (status, answer)
        wait_idle(url, headers=headers)


def leave(url, request, after=b""):
    """Sends `request` as it is, reads until `after` has come, and is gone without a word."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=REPLY_SECONDS) as connection:
        connection.sendall(request)
        seen = b""
        while after not in seen:
            piece = connection.recv(4096)
            if not piece:
                break
            seen += piece


def rude_clients(url, rounds=8, headers=None):
    """Clients that leave in mid-request, before the first token, in mid-stream and while they wait: the server forgets each of them."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())

    def request(stream, cut=0):
        body = json.dumps({"text": PROMPT, "stream": stream, "sampling_params": {"max_new_tokens": 4000, "ignore_eos": True}})
        head = f"POST /generate HTTP/1.1\r\nHost: kit\r\n{extra}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        whole = (head + body).encode()
        return whole[:len(whole) - cut]

    with concurrent.futures.ThreadPoolExecutor(4 * rounds) as pool:
        gone = []
        for _ in range(rounds):
            gone.append(pool.submit(leave, url, request(False, cut=10)))
            gone.append(pool.submit(leave, url, request(False)))
            gone.append(pool.submit(leave, url, request(True), b"data: "))
            gone.append(pool.submit(leave, url, request(True)))
        for one in gone:
            one.result(REPLY_SECONDS)
    wait_idle(url, seconds=30, headers=headers)
    reply = httpx.post(url + "/generate", json={"text": "hi", "sampling_params": {"max_new_tokens": 1}}, headers=headers, timeout=60)
    assert reply.status_code == 200, reply.text

"""Clients that leave, dawdle, stutter and shout. Afterwards the server must be as before: idle, flushable, no larger.

SPDX-License-Identifier: Apache-2.0
"""
import contextlib
import json
import socket
import struct
import time

import pytest

from kits.idle import check_at_rest, flush, requests_in_flight, rss_bytes, wait_idle
from kits.server import wait_for

POOL_TOKENS = 2048
LONG = 1500                # tokens: many times what a test waits for
IDLE_CONNECTIONS = 500
ALLOWED_GROWTH = 48 << 20  # bytes, from the first round of everything to the last
PATIENCE = 60.0


@pytest.fixture(scope="module")
def rude(server_with):
    return server_with("--max-total-tokens", str(POOL_TOKENS))


@pytest.fixture(scope="module")
def rude_api(rude, client_of):
    return client_of(rude)


def connect(server, receive_buffer=None):
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE)
    sock.connect(("127.0.0.1", server.port))
    return sock


def request_bytes(path, body):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def long_request(max_new_tokens=LONG, **more):
    return {"text": "Once upon a time", "stream": True, "sampling_params": {"max_new_tokens": max_new_tokens, "ignore_eos": True}, **more}


def reset(sock):
    """Leaves with a RST instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_events(sock, count):
    """Reads until `count` events have come; the bytes so far."""
    data = b""
    while data.count(b"data: ") < count:
        piece = sock.recv(65536)
        assert piece, data[-500:]
        data += piece
    return data


def read_all(sock):
    """Everything up to the end of the connection, and whether it ended with a reset."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(1 << 20):
            data += piece
        return data, False
    return data, True


def answers(api):
    reply = api.generate("The capital of France is", max_new_tokens=4, temperature=0)
    assert "Paris" in reply["text"]


def leave_in_mid_stream(server, goodbye=socket.socket.close):
    """The request must end long before its tokens would. Returns the seconds that all of them would have taken."""
    sock = connect(server)
    sock.sendall(request_bytes("/generate", long_request()))
    read_events(sock, 1)
    began = time.monotonic()
    read_events(sock, 20)
    full_time = (time.monotonic() - began) / 20 * LONG
    assert requests_in_flight(server.url)[0] == 1
    goodbye(sock)
    ends_early(server, full_time)
    return full_time


def ends_early(server, full_time):
    gone = time.monotonic()
    wait_idle(server.url)
    assert time.monotonic() - gone < full_time / 2, "it ran on without a reader"


@pytest.mark.parametrize("goodbye", [socket.socket.close, reset], ids=["fin", "rst"])
def test_leaving_in_mid_stream_aborts(rude, rude_api, goodbye):
    leave_in_mid_stream(rude, goodbye)
    answers(rude_api)


@pytest.mark.parametrize("path, body", [
    ("/generate", {**long_request(), "stream": False}),
    ("/v1/completions", {"prompt": "Once upon", "max_tokens": LONG, "ignore_eos": True}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": LONG, "ignore_eos": True}),
])
def test_leaving_before_the_reply_aborts(rude, path, body):
    full_time = leave_in_mid_stream(rude)
    sock = connect(rude)
    sock.sendall(request_bytes(path, body))
    wait_for(lambda: requests_in_flight(rude.url)[0] == 1, "the request runs")
    sock.close()
    ends_early(rude, full_time)


def leave_with_a_batch(server):
    """Some of the sixteen run, some wait (the pool is small); all must go."""
    body = long_request(200)
    body["text"] = [f"Story number {i}:" for i in range(16)]
    sock = connect(server)
    sock.sendall(request_bytes("/generate", body))
    read_events(sock, 3)
    assert sum(requests_in_flight(server.url)) > 1
    sock.close()
    wait_idle(server.url)


def test_leaving_with_a_batch_aborts_all_of_it(rude, rude_api):
    leave_with_a_batch(rude)
    answers(rude_api)


def test_leaving_at_once(rude, rude_api):
    for _ in range(30):
        with connect(rude) as sock:
            sock.sendall(request_bytes("/generate", long_request()))
    answers(rude_api)
    wait_idle(rude.url)


def test_abort_request(rude, rude_api):
    with connect(rude) as sock:
        sock.sendall(request_bytes("/generate", long_request(rid="mine")))
        data = read_events(sock, 3)
        assert rude_api.post("/abort_request", json={"rid": "not mine"}).status_code == 200
        data += read_events(sock, 2)
        assert rude_api.post("/abort_request", json={"rid": "mine"}).status_code == 200
        while b"data: [DONE]\n\n" not in data:
            piece = sock.recv(1 << 20)
            assert piece
            data += piece
        last = json.loads(data.split(b"data: ")[-2].split(b"\n")[0])
        assert last["meta_info"]["finish_reason"]["type"] == "abort"
        assert 3 <= last["meta_info"]["completion_tokens"] == len(last["output_ids"]) < LONG
    wait_idle(rude.url)


def test_a_slow_reader_gets_everything_and_stops_nobody(rude, rude_api):
    with connect(rude, receive_buffer=4096) as sock:
        sock.sendall(request_bytes("/generate", long_request(150)).replace(b"Host: x", b"Host: x\r\nConnection: close"))
        data = sock.recv(64)
        answers(rude_api)
        wait_idle(rude.url)  # done, although nobody has read it
        while piece := sock.recv(512):
            data += piece
    assert data.count(b"data: {") == 150 and b"data: [DONE]\n\n" in data and data.endswith(b"0\r\n\r\n")


def never_read(server):
    """Growing events (cumulative, with many log-probabilities) that nobody takes: the connection is dropped, not the memory filled."""
    with connect(server, receive_buffer=4096) as sock:
        sock.sendall(request_bytes("/generate", long_request(400, return_logprob=True, top_logprobs_num=256)))
        wait_for(lambda: requests_in_flight(server.url)[0] == 1, "the request runs")
        wait_idle(server.url)
        data, was_reset = read_all(sock)
        assert was_reset or not data.endswith(b"0\r\n\r\n"), "more than 16 MiB unread were kept"


def test_a_client_that_never_reads_is_dropped(rude, rude_api):
    never_read(rude)
    answers(rude_api)


def half_requests(server, api):
    whole = request_bytes("/generate", long_request())
    cuts = [1, 10, whole.index(b"\r\n") + 1, whole.index(b"\r\n\r\n") + 2, whole.index(b"\r\n\r\n") + 4, len(whole) - 1]
    with contextlib.ExitStack() as stack:
        for cut in cuts:
            stack.enter_context(connect(server)).sendall(whole[:cut])
            with connect(server) as sock:  # the same, and gone
                sock.sendall(whole[:cut])
        answers(api)
        wait_idle(server.url)


def test_half_a_request(rude, rude_api):
    half_requests(rude, rude_api)
    answers(rude_api)


def test_a_request_byte_by_byte(rude):
    body = {"text": "The capital of France is", "sampling_params": {"max_new_tokens": 4, "temperature": 0}}
    with connect(rude) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request_bytes("/generate", body).replace(b"Host: x", b"Host: x\r\nConnection: close"):
            sock.sendall(bytes([byte]))
        reply, _ = read_all(sock)
    assert reply.startswith(b"HTTP/1.1 200") and b"Paris" in reply


def test_pipelined_requests(rude):
    body = {"text": "The capital of France is", "sampling_params": {"max_new_tokens": 4, "temperature": 0}}
    one = request_bytes("/generate", body)
    with connect(rude) as sock:
        sock.sendall(one * 2 + one.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        reply, _ = read_all(sock)
    assert reply.count(b"HTTP/1.1 200") == 3 and reply.count(b"Paris") == 3


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 100,
                                   b"POST /generate HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                                   b"POST /generate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                                   b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100000 + b"\r\n\r\n"])
def test_noise(rude, noise):
    with connect(rude) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(noise)
        reply, _ = read_all(sock)
        assert not reply or reply.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 505")), reply[:200]


def ten_megabytes(api):
    """Valid JSON, far too many tokens."""
    reply = api.post("/generate", json={"text": "All work and no play. " * (10 * 1024 * 1024 // 22)})
    assert reply.status_code == 400 and "longer than the model's context length" in reply.json()["error"]["message"], reply.text[:500]
    reply = api.post("/v1/completions", json={"prompt": [1000 + i % 100 for i in range(2 * 1024 * 1024)]})
    assert reply.status_code == 400 and "longer than the model's context length" in reply.json()["message"], reply.text[:500]


def test_ten_megabytes(rude_api):
    ten_megabytes(rude_api)
    answers(rude_api)


def test_longer_than_the_pool(rude, rude_api):
    """Within the model's context, but not within this server's cache."""
    reply = rude_api.post("/generate", json={"input_ids": [1000 + i % 100 for i in range(POOL_TOKENS + 100)]})
    assert reply.status_code == 400, reply.text[:500]
    wait_idle(rude.url)
    answers(rude_api)


def idle_connections(server, api):
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connect(server)) for _ in range(IDLE_CONNECTIONS)]
        answers(api)
        for sock in socks[::100]:  # they are alive
            sock.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")


def test_500_idle_connections(rude, rude_api):
    idle_connections(rude, rude_api)
    answers(rude_api)


def test_nothing_is_left(rude, rude_api):
    """All of it three times over: memory may not grow from the first round to the last."""
    check_at_rest(rude)
    rude_api.generate([1000 + i % 1000 for i in range(POOL_TOKENS - 48)], max_new_tokens=1)  # every page has been touched once
    sizes = []
    for _ in range(3):
        leave_in_mid_stream(rude, reset)
        leave_with_a_batch(rude)
        never_read(rude)
        half_requests(rude, rude_api)
        ten_megabytes(rude_api)
        idle_connections(rude, rude_api)
        wait_idle(rude.url)
        flush(rude.url)
        sizes.append(rss_bytes(rude.pid))
    assert max(sizes[1:]) - sizes[0] < ALLOWED_GROWTH, [size >> 20 for size in sizes]
    check_at_rest(rude)

"""Things break: memory runs out at any point, disks are full or do not answer, the process is told to end in the middle of it, a file of
weights is cut off while it is read. Requests may fail, with a clear error; the server goes on as if nothing had happened.

SPDX-License-Identifier: Apache-2.0
"""
import concurrent.futures
import contextlib
import json
import mmap
import os
import pathlib
import random
import resource
import shutil
import socket
import struct
import threading
import time

import httpx
import pytest

from kits.idle import check_at_rest, requests_in_flight
from kits.server import start_server, wait_for

TINY = pathlib.Path(__file__).resolve().parent.parent / "goldens/models/smollm2"
LONG_CONTEXT = {"SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN": "1"}
POOL = ("--context-length", "2048", "--max-total-tokens", "4096")
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
CONTROL = struct.Struct("qq16s")  # tests/faults/fail_allocation.cc


@pytest.fixture
def start(binary, tmp_path):
    servers = []

    def make(*flags, env=None, path=TINY):
        servers.append(start_server(binary, path, tmp_path / f"{len(servers)}.log", (*POOL, *flags), {**LONG_CONTEXT, **(env or {})}))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


def body(seed, tokens=12, **more):
    rng = random.Random(seed)
    return {"input_ids": [rng.randrange(3, 300) for _ in range(30)], "return_logprob": True,
            "sampling_params": {"max_new_tokens": tokens, "temperature": 1, "sampling_seed": seed, "ignore_eos": True}, **more}


def answer(server, request):
    reply = httpx.post(server.url + "/generate", json=request, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()["output_ids"], reply.json()["meta_info"]["output_token_logprobs"]


def slow(server, seconds):
    assert httpx.post(server.url + "/slow_down", json={"forward_sleep_time": seconds}, timeout=60).status_code == 200


class AllocationFault:
    """Lets an allocation of a thread of this name fail: tests/faults/fail_allocation.cc."""

    def __init__(self, path):
        path.write_bytes(bytes(CONTROL.size))
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), CONTROL.size)

    def arm(self, thread, countdown):
        self.map[:] = CONTROL.pack(0, self.failed, thread.encode())
        self.map[:8] = struct.pack("q", countdown)

    @property
    def failed(self):
        return CONTROL.unpack(self.map[:])[1]

    @property
    def left(self):
        return CONTROL.unpack(self.map[:])[0]


def chat_request():
    return {"messages": [{"role": "user", "content": "the and"}], "max_tokens": 6, "temperature": 0, "stream": True}


REQUESTS = [("/generate", body(1, stream=True)), ("/v1/chat/completions", chat_request()),
            ("/generate", {**body(2), "sampling_params": {"max_new_tokens": 6, "regex": "[ab]{2,4}"}}),
            ("/v1/completions", {"prompt": ["the", "and"], "max_tokens": 4, "logprobs": 2, "n": 2})]


def fails_well(server, path, request):
    """Any answer will do that says what happened; a connection that ends without one, only if the thread for HTTP has no memory."""
    try:
        reply = httpx.post(server.url + path, json=request, timeout=30)
    except httpx.TransportError as error:
        assert not isinstance(error, httpx.TimeoutException), f"{path}: no answer"
        return "gone"
    assert reply.status_code in (200, 500, 503), (reply.status_code, reply.text)
    if reply.status_code != 200:
        error = reply.json()
        assert error.get("error", error)["message"]
    return reply.status_code


@pytest.mark.parametrize("thread, most", [("engine", 60), ("text", 60), ("http", 60), ("grammar", 30), ("compute-1", 6)])
def test_any_allocation_may_fail(start, tmp_path, thread, most):
    template = tmp_path / "plain.jinja"
    template.write_text(TEMPLATE)
    fault = AllocationFault(tmp_path / "control")
    server = start("--chat-template", str(template), env={"LD_PRELOAD": os.environ["FAIL_ALLOCATION_LIBRARY"], "SGLANG_CPU_OMP_THREADS_BIND": "0,1",
                                                          "SGLANG_FAULT_CONTROL": str(tmp_path / "control")})
    expected = answer(server, body(1))
    seen = []
    for countdown in range(1, most + 1):
        for path, request in REQUESTS:
            fault.arm(thread, countdown)
            seen.append(fails_well(server, path, request))
            assert server.process.poll() is None, f"allocation {countdown} of {path}: the server died\n{server.tail()}"
        fault.arm(thread, 0)
        assert answer(server, body(1)) == expected, f"after allocation {countdown}"
    print(thread, fault.failed, {what: seen.count(what) for what in set(seen)})
    if thread != "compute-1":  # a step's tasks need no memory
        assert fault.failed > most / 2, "the fault was not met"
    if thread != "http":
        assert "gone" not in seen, "somebody got no answer"
    check_at_rest(server)
    assert server.stop() == 0


def dump(server, folder, threshold=1):
    """Every request and its answer is to be written into `folder`."""
    reply = httpx.post(server.url + "/configure_logging", json={"dump_requests_folder": str(folder), "dump_requests_threshold": threshold}, timeout=60)
    assert reply.status_code == 200, reply.text


def dumped(folder):
    """Lines in all files."""
    lines = [line for file in folder.glob("*") if file.is_file() for line in file.read_text().splitlines()]
    return len(lines)


def test_a_full_disk_costs_lines_only(start, tmp_path):
    """A limit on the size of files stands for it: writing fails in the same place, and nobody has to be root."""
    server = start()
    folder = tmp_path / "dump"
    dump(server, folder)
    expected = answer(server, body(1))
    wait_for(lambda: dumped(folder) >= 2, "the head and one request")
    _, most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    full = max(file.stat().st_size for file in [*folder.glob("*"), server.log_path]) + 200  # the log is a file, too
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (full, most))
    for _ in range(40):
        assert answer(server, body(1)) == expected
    assert server.process.poll() is None, server.tail()
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, most))
    before = dumped(folder)
    assert answer(server, body(1)) == expected
    wait_for(lambda: dumped(folder) > before, "it dumps again")
    check_at_rest(server)
    assert server.stop() == 0


def test_a_disk_that_does_not_answer_costs_no_time(start, tmp_path):
    """Pipes that nobody reads are where the request log goes: whoever opens one stands still."""
    folder = tmp_path / "log"
    folder.mkdir()
    for hour in range(3):
        os.mkfifo(folder / time.strftime(f"{socket.gethostname()}_0.%Y-%m-%d_%H.log", time.localtime(time.time() + 3600 * hour)))
    server = start("--log-requests", "--log-requests-level", "3", "--log-requests-target", str(folder))
    expected = answer(server, body(1))
    for _ in range(40):
        assert answer(server, body(1)) == expected
    assert all(path.is_fifo() for path in folder.iterdir()), "it logs somewhere else"
    check_at_rest(server)
    assert server.stop() == 0, "its end waits for nobody"
    assert "a disk does not answer" in server.log()


def collect(server, request, out):
    """One streaming client: its final event, or why there is none."""
    try:
        with httpx.stream("POST", server.url + "/generate", json={**request, "stream": True}, timeout=120) as reply:
            if reply.status_code != 200:
                reply.read()
                out.append(("refused", reply.status_code, reply.json()["message"]))
                return
            events = [line[6:] for line in reply.iter_lines() if line.startswith("data: ")]
    except httpx.TransportError as error:
        out.append(("gone", None, repr(error)))
        return
    assert events[-1] == "[DONE]", events[-1:]
    objects = [json.loads(event) for event in events[:-1]]
    finals = [o for o in objects if "error" in o or o["meta_info"]["finish_reason"]]
    assert len(finals) == 1 and finals[0] is objects[-1], finals
    out.append(("error", None, objects[-1]["error"]) if "error" in objects[-1] else ("final", objects[-1]["meta_info"]["finish_reason"], objects[-1]))


def under_load(server, count, tokens):
    """`count` streams, all of them known to the server."""
    out = []
    threads = [threading.Thread(target=collect, args=(server, body(i, tokens), out)) for i in range(count)]
    for thread in threads:
        thread.start()
    wait_for(lambda: sum(requests_in_flight(server.url)) == count, f"{count} in flight")
    return threads, out


@pytest.mark.parametrize("patience, tokens", [(100, 60), (0, 2000)])
def test_sigterm_under_load(start, patience, tokens):
    """With patience everybody finishes, with none everybody is told; nobody is left without an end."""
    server = start("--max-running-requests", "16", "--shutdown-timeout", str(patience))
    expected = sorted(answer(server, body(i, tokens))[0] for i in range(48)) if patience else None
    slow(server, 0.05)
    threads, out = under_load(server, 48, tokens)
    server.terminate()
    for thread in threads:
        thread.join(120)
    assert server.process.wait(60) == 0, server.tail()
    assert len(out) == 48 and all(kind in ("final", "error") for kind, *_ in out), out
    if patience:
        assert all(kind == "final" and reason["type"] == "length" for kind, reason, _ in out), out
        assert sorted(event["output_ids"] for *_, event in out) == expected
    else:
        assert all(reason["type"] == "abort" for kind, reason, _ in out if kind == "final"), out


def test_weights_cut_off_while_they_are_read(start, model, tmp_path):
    """The default model, large enough to be caught in the middle; cut off a little later each time."""
    copy = tmp_path / "copy.gguf"
    shutil.copyfile(model, copy)
    size = copy.stat().st_size
    server = start(path=copy)
    expected = answer(server, body(1, 6))
    messages = []
    for delay in (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.2, 1.6, 2.2):
        fresh = tmp_path / "fresh.gguf"
        shutil.copyfile(model, fresh)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            update = pool.submit(httpx.post, server.url + "/update_weights_from_disk", json={"model_path": str(fresh)}, timeout=120)
            meanwhile = pool.submit(answer, server, body(1, 6))
            time.sleep(delay)
            os.truncate(fresh, size // 3)
            reply = update.result()
            assert meanwhile.result() == expected
        assert server.process.poll() is None, server.tail()
        assert reply.status_code == (200 if reply.json()["success"] else 400), reply.text
        messages.append(reply.json()["message"])
        assert answer(server, body(1, 6)) == expected, "whichever weights serve, they are the same"
        if "became shorter while it was read" in messages[-1]:
            break
    assert "became shorter while it was read" in messages[-1], messages
    check_at_rest(server)
    assert server.stop() == 0

"""Many connections at once, all streaming: who is refused, how long a health check takes meanwhile, what the server's memory does; and
what a step costs besides the model. Drives any server by its URL; figures of its process need the pid of one on the same machine.

SPDX-License-Identifier: Apache-2.0
"""
import asyncio
import collections
import http.client
import json
import multiprocessing
import os
import pathlib
import random
import statistics
import tempfile
import time
from urllib.parse import urlsplit

import httpx

from kits import idle, wire

REPLY_SECONDS = 600.0
SAMPLE_SECONDS = 0.05
HEALTH_PAUSE = 0.02  # seconds between two checks
TRACE_SECONDS = 30.0
FULL = "The request queue is full."


def percentile(values, share):
    """The smallest value that is not below `share` of all."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ask_health(url, stop, out):
    """In a process of its own, so that thousands of streams in the other one do not delay it: (begin, end, status) of each check."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
    seen = []
    while not stop.is_set():
        begin = time.monotonic()
        connection.request("GET", "/health")
        reply = connection.getresponse()
        reply.read()
        seen.append((begin, time.monotonic(), reply.status))
        time.sleep(random.uniform(0, 2 * HEALTH_PAUSE))  # not in step with the server
    out.put(seen)


class Watch:
    """`look(subject, stop, out)` in a process of its own while it is open; afterwards `seen` is what that has put into `out`."""

    def __init__(self, look, subject):
        fork = multiprocessing.get_context("fork")
        self.stop, self.out, self.seen = fork.Event(), fork.Queue(), None
        self.process = fork.Process(target=look, args=(subject, self.stop, self.out), daemon=True)

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.seen = self.out.get(timeout=120)
        self.process.join()


class Trace:
    """The engine's own record of its steps while it is open; needs a server on this machine. Afterwards `steps`: (kind, seconds, requests),
    `ends`: when each was over, by time.monotonic() and as exact as one request over HTTP, and `plan`, `run`, `deliver`: seconds in all."""

    def __init__(self, url, headers=None):
        self.url, self.headers = url, headers
        self.folder = tempfile.TemporaryDirectory()
        self.steps, self.ends, self.plan, self.run, self.deliver, self.origin = [], [], 0.0, 0.0, 0.0, 0.0

    async def __aenter__(self):
        reply = await wire.ask(self.url, "POST", "/start_profile", {"output_dir": self.folder.name}, self.headers)
        assert reply.status == 200, reply.body
        self.origin = time.monotonic()
        return self

    async def __aexit__(self, *_):
        reply = await wire.ask(self.url, "POST", "/stop_profile", {}, self.headers)
        assert reply.status == 200, reply.body
        deadline = time.monotonic() + TRACE_SECONDS
        while True:
            files = list(pathlib.Path(self.folder.name).iterdir())
            try:
                events = json.loads(files[0].read_text())["traceEvents"]
                break
            except (IndexError, ValueError):  # not written yet
                assert time.monotonic() < deadline, "no trace"
                await asyncio.sleep(0.1)
        self.folder.cleanup()
        seconds = collections.Counter()
        for event in events:
            if event.get("ph") != "X":
                continue
            seconds[event["name"]] += event["dur"] / 1e6
            if event["name"] in ("prefill", "decode"):
                self.steps.append((event["name"], event["dur"] / 1e6, event["args"]["sequences"]))
                self.ends.append(self.origin + (event["ts"] + event["dur"]) / 1e6)
        self.plan, self.run, self.deliver = seconds["plan"], seconds["run"], seconds["commit and deliver"]


def thread_seconds(pid):
    """Processor seconds by the name of a thread: http, text, engine, compute, ... Linux."""
    seconds = collections.Counter()
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            seconds[(task / "comm").read_text().strip().split("-")[0]] += int((task / "schedstat").read_text().split()[0]) / 1e9
        except OSError:  # it has ended
            pass
    return seconds


def body_of(number, prompt_tokens, tokens):
    prompt = [3 + (number * 131 + i * i * 7) % 290 for i in range(prompt_tokens)]
    return {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "temperature": 0, "stream": True}


async def stream(connection, number, prompt_tokens, tokens, headers, outcomes, first):
    """One request; its outcome is "whole", or what went wrong."""
    begin = time.monotonic()

    def on_event(reply):
        if len(reply.events) == 1:
            first.append(time.monotonic() - begin)

    try:
        asked = connection.ask("POST", "/v1/completions", body_of(number, prompt_tokens, tokens), headers, on_event)
        reply = await asyncio.wait_for(asked, REPLY_SECONDS)
    except (wire.Broken, asyncio.TimeoutError) as error:
        outcomes[f"broken: {error!r}"[:200]] += 1
        return
    if reply.status != 200:
        outcomes[f"{reply.status}: {reply.json().get('message', reply.body)}"] += 1
        return
    last = json.loads(reply.events[-1])
    if "error" in last:
        outcomes[f"{last['error'].get('code')}: {last['error']['message']}"] += 1
    elif reply.done and last["choices"][0]["finish_reason"] == "length" and len(reply.events) == tokens:
        outcomes["whole"] += 1
    else:
        outcomes[f"strange: {len(reply.events)} events, done: {reply.done}, last {last}"[:300]] += 1


async def flood(url, connections, prompt_tokens, tokens, headers, trace):
    outcomes, first = collections.Counter(), []
    opened = []
    for number in range(connections):
        opened.append(await wire.Connection.open(url))
    begin = time.monotonic()
    streams = [stream(one, number, prompt_tokens, tokens, headers, outcomes, first) for number, one in enumerate(opened)]
    if trace is None:
        await asyncio.gather(*streams)
    else:
        async with trace:
            await asyncio.gather(*streams)
    seconds = time.monotonic() - begin
    for one in opened:
        await one.close()
    return outcomes, first, seconds


def watch_memory(pid, stop, out):
    most = 0
    while not stop.is_set():
        most = max(most, idle.rss_bytes(pid))
        time.sleep(SAMPLE_SECONDS)
    out.put(most)


def slow_down(url, seconds, headers=None):
    assert httpx.post(url + "/slow_down", json={"forward_sleep_time": seconds}, headers=headers, timeout=60).status_code == 200


def connections(url, pid, count=2000, prompt_tokens=16, tokens=16, headers=None, traced=True, step_seconds=0.0):
    """A round of `count` streams that all begin at once, on a server of this machine. What happened, as a dictionary.
    step_seconds: sleep before each step, where the model is too small to keep anybody waiting."""
    wire.allow_connections(count)
    slow_down(url, step_seconds, headers)
    before = idle.rss_bytes(pid)
    trace = Trace(url, headers) if traced else None
    with Watch(watch_memory, pid) as memory, Watch(ask_health, url) as health:
        outcomes, first, seconds = asyncio.run(flood(url, count, prompt_tokens, tokens, headers, trace))
    slow_down(url, 0, headers)
    idle.wait_idle(url, headers=headers)
    idle.flush(url, headers)
    times = [end - begin for begin, end, _ in health.seen]
    result = {
        "outcomes": dict(outcomes), "seconds": seconds, "tokens_per_s": outcomes["whole"] * tokens / seconds,
        "first_event_s": {"median": statistics.median(first), "p99": percentile(first, 0.99)} if first else None,
        "health": {"checks": len(times), "not_200": sum(status != 200 for *_, status in health.seen), "median_s": statistics.median(times),
                   "p99_s": percentile(times, 0.99)},
        "rss_bytes": {"before": before, "most": memory.seen, "after": idle.rss_bytes(pid)},
    }
    if trace:
        steps = [took for _, took, _ in trace.steps]
        waited = [sum(begin < over < end for over in trace.ends) for begin, end, _ in health.seen
                  if trace.ends[0] < begin and end < trace.ends[-1]]
        result["health"]["steps"] = {"checks": len(waited), "median": statistics.median(waited), "p99": percentile(waited, 0.99),
                                     "most": max(waited)}
        result["steps"] = {"count": len(steps), "median_s": statistics.median(steps), "p99_s": percentile(steps, 0.99)}
    return result


async def measure_share(url, pid, batch, prompt_tokens, tokens, headers):
    outcomes, first = collections.Counter(), []
    opened = [await wire.Connection.open(url) for _ in range(batch)]
    trace = Trace(url, headers)
    async with trace:
        before = thread_seconds(pid)
        await asyncio.gather(*(stream(one, n, prompt_tokens, tokens, headers, outcomes, first) for n, one in enumerate(opened)))
        spent = thread_seconds(pid)
    for one in opened:
        await one.close()
    assert dict(outcomes) == {"whole": batch}, outcomes
    return trace, spent - before


def share(url, pid, batch=32, prompt_tokens=32, tokens=128, headers=None):
    """Scheduling and HTTP next to the steps they belong to: the engine's time for planning, committing and delivering, and the processor
    time of the threads for HTTP and text, over the time of all steps. `batch` streams through /v1/completions."""
    wire.allow_connections(batch)
    idle.flush(url, headers)
    trace, spent = asyncio.run(measure_share(url, pid, batch, prompt_tokens, tokens, headers))
    steps = sum(took for _, took, _ in trace.steps)
    full = [took for kind, took, requests in trace.steps if kind == "decode" and requests == batch]
    assert len(full) > tokens / 2, f"only {len(full)} steps with {batch} requests"
    others = {"plan": trace.plan, "commit and deliver": trace.deliver, "http": spent["http"], "text": spent["text"]}
    return {"batch": batch, "steps": len(trace.steps), "step_median_s": statistics.median(full), "steps_s": steps,
            "share": {name: value / steps for name, value in others.items()}, "share_of_all": sum(others.values()) / steps}


def cores():
    return len(os.sched_getaffinity(0))

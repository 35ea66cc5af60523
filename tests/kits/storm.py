"""A storm: thousands of mixed requests, many of which are aborted, abandoned, out of time or pushed aside, on a server with too little
memory for them. Every client gets exactly one final answer, and what ends by itself has the same tokens, text and log-probabilities, to
the last bit, as when it was alone; what is cut off has the beginning of that.

The server should have been started with FLAGS and ENV, or with something alike. Only token ids below 300 are used.

SPDX-License-Identifier: Apache-2.0
"""
import asyncio
import collections
import json
import os
import random
import time

from kits import idle, wire
from kits.server import wait_for

# 1280 tokens of cache for 24 requests of up to 150 tokens each, which admission underestimates: running requests are retracted.
FLAGS = ("--context-length", "2048", "--max-total-tokens", "1280", "--max-running-requests", "24", "--max-queued-requests", "48",
         "--enable-priority-scheduling", "--schedule-conservativeness", "0.1", "--chunked-prefill-size", "64")
ENV = {"SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN": "1", "SGLANG_REQ_WAITING_TIMEOUT": "0.2", "SGLANG_REQ_RUNNING_TIMEOUT": "0.4"}

APIS = ("/generate", "/v1/completions")
REPLY_SECONDS = 120.0
AFTER_SECONDS = 30.0  # for threads and descriptors to be given back
ENDLESS = 700  # tokens: who asks for as many meets the running timeout when STEP_SECONDS pass before each step
STEP_SECONDS = 0.001
REFUSALS = {"Request waiting timeout reached.", "Request running timeout reached.", "The request queue is full.",
            "The request is aborted by a higher priority request.", "Out of memory even after retracting all other requests in the decode "
            "batch."}
ABORTS = {"Aborted", "Abort in waiting queue", "Aborted by AbortReq."}


def make_bodies(rng, count, apis):
    """Bodies of the endpoints `apis`: shared prefixes, greedy and seeded sampling, grammars, a few without an end."""
    families = [[rng.randrange(3, 300) for _ in range(64)] for _ in range(8)]
    bodies = []
    for i in range(count):
        prompt = rng.choice(families)[:rng.randrange(65)] + [rng.randrange(3, 300) for _ in range(rng.randrange(1, 40))]
        tokens = rng.randrange(1, 60)
        seeded = {"temperature": rng.choice([0.7, 2.0, 5.0]), "top_p": rng.choice([1.0, 0.9]), "top_k": rng.choice([-1, 40])}
        if i % 6 == 5 and "/v1/completions" in apis:
            body = {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "logprobs": 1}
            body.update({**seeded, "seed": i} if rng.random() < 0.7 else {"temperature": 0})
            bodies.append(("/v1/completions", body))
            continue
        sampling = {"max_new_tokens": tokens, "ignore_eos": rng.random() < 0.8}
        sampling.update({**seeded, "sampling_seed": i} if rng.random() < 0.7 else {"temperature": 0})
        if i % 25 == 3:
            bodies.append(("/generate", {"input_ids": prompt, "sampling_params": {"max_new_tokens": ENDLESS, "ignore_eos": True, "temperature": 0}}))
            continue
        if i % 10 == 7:
            sampling["regex"] = "[a-d]{3,30}"
        elif i % 10 == 8:
            sampling.update(repetition_penalty=1.3, frequency_penalty=0.5)
        bodies.append(("/generate", {"input_ids": prompt, "sampling_params": sampling, "return_logprob": True}))
    return bodies


class Answer:
    """What both APIs tell, in one form. `reason`: "length", "stop", "abort", or "error" with `message`; `output`: lists to compare."""

    def __init__(self, path, reply, stream):
        self.retractions, self.message = 0, None
        if reply.status != 200:
            assert not reply.events, "a stream with an error status"
            error = reply.json()
            self.reason, self.message, self.output = "error", error.get("error", error)["message"], None
            assert reply.status == 503 or (reply.status == 500 and self.message.startswith("Out of memory")), (reply.status, reply.body)
            return
        objects = reply.objects() if stream else [reply.json()]
        assert not stream or reply.done, f"the stream has no end: {reply.events[-2:]}"
        assert objects, "no final answer"
        finals = [o for o in objects if "error" in o or self.reason_of(path, o)]
        assert len(finals) == 1 and finals[0] is objects[-1], f"{len(finals)} final answers in {[str(o)[:300] for o in objects[-3:]]}"
        self.last = objects[-1]
        if "error" in self.last:
            self.reason, self.message, self.output = "error", self.last["error"]["message"], None
            return
        reason = self.reason_of(path, self.last)
        if path == "/generate":
            meta = self.last["meta_info"]
            self.reason, self.message = reason["type"], reason.get("message")
            self.retractions = meta.get("num_retractions", 0)
            ids, logprobs = self.last["output_ids"], meta.get("output_token_logprobs", [])
            assert meta["completion_tokens"] == len(ids), (meta["completion_tokens"], len(ids))
            assert len(logprobs) in (0, len(ids)), (len(logprobs), len(ids))
            assert meta["e2e_latency"] > 0
            self.output = [ids, [entry[:2] for entry in logprobs], self.last["text"]]
        else:
            self.reason = reason
            choices = [o["choices"][0] for o in objects if o["choices"]]
            values = [choice["logprobs"] or {"tokens": [], "token_logprobs": []} for choice in choices]
            self.output = [[t for v in values for t in v["tokens"]], [p for v in values for p in v["token_logprobs"]],
                           "".join(choice["text"] for choice in choices)]

    @staticmethod
    def reason_of(path, answer):
        if path == "/generate":
            return answer["meta_info"]["finish_reason"]
        return answer["choices"][0]["finish_reason"] if answer["choices"] else None


def begins_like(part, whole):
    """Tokens, log-probabilities and text of a request that was cut off. Half a character at the cut is shown as U+FFFD."""
    text = part[2].rstrip("\N{REPLACEMENT CHARACTER}")
    return part[0] == whole[0][:len(part[0])] and part[1] == whole[1][:len(part[1])] and whole[2].startswith(text)


class Storm:
    def __init__(self, url, seed, headers=None, pause=0.05):
        self.url, self.headers, self.pause = url, headers, pause
        self.rng = random.Random(seed)
        self.counts = collections.Counter()
        self.expected = {}

    async def quiet(self, bodies):
        """Each alone."""
        for index, (path, body) in enumerate(bodies):
            reply = await asyncio.wait_for(wire.ask(self.url, "POST", path, body, self.headers), REPLY_SECONDS)
            answer = Answer(path, reply, False)
            endless = body.get("sampling_params", {}).get("max_new_tokens") == ENDLESS
            assert answer.reason in ("length", "stop") or endless, (answer.reason, answer.message, body)
            self.expected[index] = answer

    def check(self, index, path, answer, fate, what):
        """One request that was answered."""
        self.counts[answer.reason if answer.message is None else answer.message.split(".")[0]] += 1
        self.counts["retractions"] += answer.retractions
        quiet = self.expected[index]
        if answer.reason in ("length", "stop"):
            assert quiet.reason == answer.reason and answer.output == quiet.output, \
                f"{what}: not what it was alone: {answer.output} instead of {quiet.output}"
            self.counts["identical"] += 1
            return
        if answer.message is None and path != "/generate":  # the OpenAI form of an abort
            assert answer.reason == "abort", f"{what}: {answer.reason}"
            assert fate == "abort", f"{what}: aborted by nobody"
        elif answer.message in ABORTS:
            assert fate == "abort", f"{what}: aborted by nobody"
        else:
            known = answer.message in REFUSALS or (answer.message or "").startswith("Out of memory")
            assert known, f"{what}: ended with {answer.message!r}"
        if answer.output is not None and quiet.output is not None:
            assert begins_like(answer.output, quiet.output) or begins_like(quiet.output, answer.output), \
                f"{what}: begins otherwise than alone: {answer.output} instead of {quiet.output}"
            self.counts["begins alike"] += 1

    async def one(self, number, bodies, rng):
        index = rng.randrange(len(bodies))
        path, body = bodies[index]
        stream, fate = rng.random() < 0.6, rng.choices(["stay", "abort", "leave", "half"], [80, 9, 9, 2])[0]
        rid = f"storm-{number}"
        body = {**body, "rid": rid, "stream": stream, "priority": rng.choice([0, 0, 0, 20, 40])}
        what = f"request {number} ({path}, {'stream' if stream else 'whole'}, {fate}, body {json.dumps(body)})"
        events, delay = rng.randrange(1, 20), rng.random() * 0.1
        connection = await wire.Connection.open(self.url)
        if fate == "half":
            data = connection.request("POST", path, body, self.headers)
            connection.writer.write(data[:rng.randrange(len(data))])
            await asyncio.sleep(delay / 4)
            connection.vanish()
            self.counts["left in mid-request"] += 1
            return
        if fate == "leave":
            reading = asyncio.ensure_future(connection.ask("POST", path, body, self.headers, lambda reply: len(reply.events) >= events))
            await asyncio.wait([reading], timeout=delay)
            if rng.random() < 0.5:
                connection.vanish()
            else:
                connection.writer.close()
            await asyncio.gather(reading, return_exceptions=True)
            self.counts["left"] += 1
            return
        asked = asyncio.ensure_future(connection.ask("POST", path, body, self.headers))
        try:
            if fate == "abort":
                await asyncio.wait([asked], timeout=delay / 2)
                reply = await wire.ask(self.url, "POST", "/abort_request", {"rid": rid}, self.headers)
                assert reply.status == 200, reply.body
            reply = await asyncio.wait_for(asked, REPLY_SECONDS)
            answer = Answer(path, reply, stream)
            self.check(index, path, answer, fate, what)
            if answer.reason == "error":  # there is no room: not all requests may meet this
                await asyncio.sleep(self.pause)
        except (AssertionError, wire.Broken, asyncio.TimeoutError, KeyError, TypeError, ValueError) as error:
            raise AssertionError(f"{what}: {error!r}") from error
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            await connection.close()

    async def slowly(self, bodies, requests, at_once):
        """As run, with a pause before each step."""
        try:
            await wire.ask(self.url, "POST", "/slow_down", {"forward_sleep_time": STEP_SECONDS}, self.headers)
            await self.run(bodies, requests, at_once)
        finally:
            await wire.ask(self.url, "POST", "/slow_down", {"forward_sleep_time": 0}, self.headers)

    async def run(self, bodies, requests, at_once):
        """`requests` of them, `at_once` in flight. The first failure ends it."""
        wire.allow_connections(2 * at_once)
        numbers = iter(range(requests))
        seed = self.rng.random()

        async def client():
            for number in numbers:
                await self.one(number, bodies, random.Random(f"{seed}-{number}"))

        clients = [asyncio.ensure_future(client()) for _ in range(at_once)]
        done, pending = await asyncio.wait(clients, return_when=asyncio.FIRST_EXCEPTION)
        for other in pending:
            other.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        errors = [each.exception() for each in done if each.exception() is not None]
        if errors:
            raise errors[0]


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def run(url, requests=500, seed=1, at_once=96, bodies=120, pid=None, headers=None, apis=APIS, pause=0.05):
    """What happened, as counts. pause: seconds before a client that was refused sends its next request. With the server's `pid`, on the same machine: no thread and no descriptor more than before.
    AssertionError when a rule is broken; what is raised names the request."""
    storm = Storm(url, seed, headers, pause)
    made = make_bodies(storm.rng, bodies, apis)
    asyncio.run(storm.quiet(made))
    idle.wait_idle(url, headers=headers)
    before = (threads(pid), open_files(pid)) if pid else None
    begin = time.monotonic()
    asyncio.run(storm.slowly(made, requests, at_once))
    storm.counts["seconds"] = round(time.monotonic() - begin, 1)
    idle.wait_idle(url, headers=headers)
    idle.flush(url, headers)
    assert idle.held_tokens(url, headers) == 0, "tokens held by nobody"
    if pid:
        wait_for(lambda: open_files(pid) <= before[1], f"descriptors as before ({before[1]}), now {open_files(pid)}", AFTER_SECONDS)
        wait_for(lambda: threads(pid) <= before[0], f"threads as before ({before[0]}), now {threads(pid)}", AFTER_SECONDS)
    return storm.counts

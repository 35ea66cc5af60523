"""Timeouts, priorities, sessions, pauses, new weights: what happens to a request besides being answered. On a tiny random model whose
steps are slowed down, so that there is a middle to interrupt.

SPDX-License-Identifier: Apache-2.0
"""
import concurrent.futures
import contextlib
import json
import pathlib
import random
import shutil
import signal
import time

import httpx
import pytest

from kits.idle import check_at_rest, requests_in_flight
from kits.server import start_server, wait_for

TINY = pathlib.Path(__file__).resolve().parent.parent / "goldens/models/smollm2"
LONG_CONTEXT = {"SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN": "1"}
POOL = ("--context-length", "2048", "--max-total-tokens", "8192")
STEP_SECONDS = 0.02
META = {"id", "finish_reason", "prompt_tokens", "completion_tokens", "cached_tokens", "weight_version", "e2e_latency", "num_retractions"}


@pytest.fixture
def tiny(server_with, client_of):
    """tiny(*flags, env=...): a client of such a server with the tiny model. Its steps are as fast as they are again afterwards."""
    clients = []

    def get(*flags, env=None):
        clients.append(client_of(server_with(*POOL, *flags, env={**LONG_CONTEXT, **(env or {})}, path=TINY)))
        return clients[-1]

    yield get
    for api in clients:
        slow(api, 0)
        api.post_ok("/continue_generation", {})


def slow(api, seconds=STEP_SECONDS):
    assert api.post("/slow_down", json={"forward_sleep_time": seconds}).status_code == 200


def ids(seed, count):
    rng = random.Random(seed)
    return [rng.randrange(3, 300) for _ in range(count)]


def body(prompt, tokens, **more):
    return {"input_ids": prompt, "sampling_params": {"max_new_tokens": tokens, "temperature": 0, "ignore_eos": True}, **more}


class Background:
    """A streaming request whose events arrive while the test does something else."""

    def __init__(self, api, request):
        self.events = []
        self.pool = concurrent.futures.ThreadPoolExecutor(1)
        self.done = self.pool.submit(self.read, api.server.url, request)

    def read(self, url, request):
        with httpx.stream("POST", url + "/generate", json={**request, "stream": True}, timeout=120) as reply:
            for line in reply.iter_lines():
                if line.startswith("data: {"):
                    self.events.append(json.loads(line[6:]))

    def wait_tokens(self, count):
        wait_for(lambda: self.events and len(self.events[-1].get("output_ids", [])) >= count, f"{count} tokens")
        return self

    def last(self):
        self.done.result(timeout=120)
        self.pool.shutdown()
        return self.events[-1]


@contextlib.contextmanager
def together(api, requests):
    """Futures of non-streaming requests, sent in this order, each once the one before has arrived."""
    with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
        futures = []
        for request in requests:
            before = sum(requests_in_flight(api.server.url))
            futures.append(pool.submit(api.post, "/generate", json=request))
            wait_for(lambda: sum(requests_in_flight(api.server.url)) > before or futures[-1].done(), "arrival")
        yield futures


def finish(event):
    assert META <= set(event["meta_info"]), event["meta_info"]
    assert event["meta_info"]["e2e_latency"] > 0
    assert event["meta_info"]["completion_tokens"] == len(event["output_ids"])
    return event["meta_info"]["finish_reason"]


def test_waiting_and_running_timeouts(tiny):
    api = tiny("--max-running-requests", "1", env={"SGLANG_REQ_WAITING_TIMEOUT": "0.4", "SGLANG_REQ_RUNNING_TIMEOUT": "1.2"})
    slow(api)
    runner = Background(api, body(ids(1, 8), 400, rid="runner", return_logprob=True)).wait_tokens(2)
    waiting = Background(api, body(ids(2, 8), 5, rid="stream", return_logprob=True))
    reply = api.post("/generate", json=body(ids(3, 8), 5))
    assert reply.status_code == 503 and reply.json()["message"] == "Request waiting timeout reached.", reply.text
    waited = waiting.last()
    assert finish(waited)["message"] == "Request waiting timeout reached." and finish(waited)["status_code"] == 503
    assert waited["output_ids"] == [] and waited["meta_info"]["output_token_logprobs"] == [] and waited["meta_info"]["prompt_tokens"] == 8
    ran = runner.last()
    assert finish(ran)["message"] == "Request running timeout reached." and finish(ran)["status_code"] == 503
    assert 2 <= len(ran["output_ids"]) < 400 and len(ran["meta_info"]["output_token_logprobs"]) == len(ran["output_ids"])
    assert api.post_ok("/generate", body(ids(4, 8), 2))["meta_info"]["completion_tokens"] == 2


PRIORITIES = ("--enable-priority-scheduling", "--max-running-requests", "1", "--max-queued-requests", "2")


def test_priorities_preempt_and_evict(tiny):
    api = tiny(*PRIORITIES)
    alone = api.post_ok("/generate", body(ids(1, 20), 150))["output_ids"]
    api.flush()
    slow(api)
    low = Background(api, body(ids(1, 20), 150, priority=0)).wait_tokens(3)
    urgent = api.post_ok("/generate", body(ids(2, 20), 3, priority=100))
    assert urgent["meta_info"]["completion_tokens"] == 3
    assert len(low.events[-1]["output_ids"]) < 150, "the urgent one was first"
    assert finish(low.last())["type"] == "length" and low.last()["output_ids"] == alone and low.last()["meta_info"]["num_retractions"] == 1

    busy = Background(api, body(ids(3, 20), 250, priority=9)).wait_tokens(1)
    with together(api, [body(ids(4, 8), 2, priority=1), body(ids(5, 8), 2, priority=1)]) as waiting:
        better = Background(api, body(ids(6, 8), 2, priority=2))
        evicted = waiting[1].result()
        assert evicted.status_code == 503 and evicted.json()["message"] == "The request is aborted by a higher priority request."
        full = api.post("/generate", json=body(ids(7, 8), 2, priority=1))
        assert full.status_code == 503 and full.json()["message"] == "The request queue is full."
        assert waiting[0].result().status_code == 200 and finish(better.last())["type"] == "length"
    busy.last()


def test_a_priority_without_priority_scheduling(tiny):
    assert tiny().post_ok("/generate", body(ids(1, 4), 1, priority=7))["meta_info"]["completion_tokens"] == 1
    strict = tiny("--abort-on-priority-when-disabled")
    assert strict.refused("/generate", body(ids(1, 4), 1, priority=7), status=503).startswith("Using priority is disabled")


def test_sessions(tiny):
    api = tiny()
    session = api.post_ok("/open_session", {"capacity_of_str_len": 1000, "timeout": 600})
    assert isinstance(session, str) and session

    def say(prompt, rid=None, **params):
        return api.post_ok("/generate", body(prompt, 6, session_params={"id": session, "rid": rid, **params}))

    first = say(ids(1, 40))
    second = say(ids(2, 5), first["meta_info"]["id"])
    context = ids(1, 40) + first["output_ids"] + ids(2, 5)
    assert second["meta_info"]["prompt_tokens"] == len(context) and second["meta_info"]["cached_tokens"] >= 32
    api.flush()
    assert second["output_ids"] == api.post_ok("/generate", body(context, 6))["output_ids"], "as if the client had sent everything"
    branch = say(ids(3, 5), first["meta_info"]["id"])
    assert branch["meta_info"]["prompt_tokens"] == len(context)
    assert say(ids(3, 5), first["meta_info"]["id"], offset=10)["meta_info"]["prompt_tokens"] == 15
    assert say(ids(3, 5), first["meta_info"]["id"], drop_previous_output=True)["meta_info"]["prompt_tokens"] == 45
    assert say(ids(3, 5), first["meta_info"]["id"], replace=True)["meta_info"]["prompt_tokens"] == len(context)

    def refused(**params):
        return api.refused("/generate", body([5], 1, session_params=params))

    assert "no request" in refused(id=session, rid=second["meta_info"]["id"]), "replaced"
    assert refused(id="nobody") == "Invalid request: session id nobody does not exist"
    assert "session_params.id" in refused(rid="x")
    assert "open already" in api.refused("/open_session", {"capacity_of_str_len": 10, "session_id": session})
    assert "streaming" in api.refused("/open_session", {"capacity_of_str_len": 10, "streaming": True})
    assert "capacity_of_str_len" in api.refused("/open_session", {})
    assert api.post("/close_session", json={"session_id": session}).status_code == 200
    assert "does not exist" in refused(id=session)


@pytest.mark.parametrize("mode", ["in_place", "retract"])
def test_pause_and_continue(tiny, mode):
    api = tiny("--schedule-policy", "lpm")
    expected = api.post_ok("/generate", body(ids(1, 50), 150))["output_ids"]
    slow(api)
    stream = Background(api, body(ids(1, 50), 150)).wait_tokens(3)
    reply = api.post_ok("/pause_generation", {"mode": mode})
    assert reply == {"message": "Generation paused successfully.", "status": "ok"}
    assert api.post("/flush_cache").status_code == (200 if mode == "retract" else 400)
    late = Background(api, body(ids(2, 10), 2))
    wait_for(lambda: sum(requests_in_flight(api.server.url)) == 2, "the late one waits")
    so_far = len(stream.events)
    assert not late.events and len(stream.events) == so_far < 150
    assert api.post_ok("/continue_generation", {"torch_empty_cache": True})["status"] == "ok"
    assert stream.last()["output_ids"] == expected and finish(stream.last())["type"] == "length"
    assert late.last()["meta_info"]["completion_tokens"] == 2
    assert "mode" in api.refused("/pause_generation", {"mode": "nap"})


def test_pause_that_aborts_and_aborts_by_name(tiny):
    api = tiny("--max-running-requests", "2")
    slow(api)
    streams = [Background(api, body(ids(i, 10), 1500)) for i in range(4)]
    wait_for(lambda: requests_in_flight(api.server.url) == (2, 2), "two run and two wait, whoever came first")
    api.post_ok("/pause_generation", {})
    reasons = [finish(stream.last()) for stream in streams]
    assert all(reason["type"] == "abort" for reason in reasons), reasons
    assert {"Aborted", "Abort in waiting queue"} == {reason["message"] for reason in reasons}
    held = Background(api, body(ids(9, 10), 2, rid="group-1"))
    other = Background(api, body(ids(9, 10), 2, rid="other"))
    wait_for(lambda: sum(requests_in_flight(api.server.url)) == 2, "both are held back")
    assert api.post("/abort_request", json={"rid": "group"}).status_code == 200  # the name of nobody
    assert api.post("/abort_request", json={"rid": "group", "prefix": True}).status_code == 200
    assert finish(held.last())["message"] == "Abort in waiting queue"
    api.post_ok("/continue_generation", {})
    assert finish(other.last())["type"] == "length"


def other_weights(path):
    """The tiny model with other numbers of the same size."""
    shutil.copytree(TINY, path)
    file = path / "model.safetensors"
    data = bytearray(file.read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    data[begin::2] = bytes(b ^ 0x55 for b in data[begin::2])
    file.write_bytes(data)
    return path


def test_new_weights_while_it_serves(tiny, tmp_path):
    api = tiny("--random-seed", "1")
    prompt = ids(1, 30)
    old = api.post_ok("/generate", body(prompt, 30))
    assert old["meta_info"]["weight_version"] == "default"
    norm = api.post_ok("/get_weights_by_name", {"name": "model.norm.weight", "truncate_size": 5})
    assert len(norm) == 5 and api.post_ok("/weights_checker", {"action": "snapshot"})["success"]
    other = other_weights(tmp_path / "other")

    slow(api)
    stream = Background(api, body(prompt, 30)).wait_tokens(2)
    reply = api.post_ok("/update_weights_from_disk", {"model_path": str(other), "weight_version": "v2"})
    assert reply == {"success": True, "message": "Succeeded to update model weights.", "num_paused_requests": 0}
    assert stream.last()["output_ids"] == old["output_ids"], "who was running ended with the old weights"
    slow(api, 0)
    new = api.post_ok("/generate", body(prompt, 30))
    assert new["output_ids"] != old["output_ids"] and new["meta_info"]["weight_version"] == "v2" and new["meta_info"]["cached_tokens"] == 0
    info = api.get("/model_info").json()
    assert info["model_path"] == str(other) and info["weight_version"] == "v2"
    assert api.post_ok("/get_weights_by_name", {"name": "model.norm.weight", "truncate_size": 5}) != norm
    assert "differ" in api.post("/weights_checker", json={"action": "compare"}).json()["message"]

    # Zeros in their place, until somebody loads others: the way to test what loads weights.
    assert api.post_ok("/weights_checker", {"action": "reset_tensors"}) == {"success": True, "message": "Success."}
    zeros = api.post_ok("/generate", body(prompt, 30))
    assert zeros["output_ids"] == [0] * 30 and zeros["meta_info"]["cached_tokens"] == 0
    rows = api.post_ok("/get_weights_by_name", {"name": "model.layers.0.mlp.down_proj.weight", "truncate_size": 2})
    assert len(rows) == 2 and not any(map(any, rows))
    for action in ("compare", "snapshot", "checksum"):
        refused = api.post("/weights_checker", json={"action": action})
        assert refused.status_code == 400 and "reset" in refused.json()["message"], action
    assert api.get("/model_info").json()["model_path"] == str(other)
    assert api.post_ok("/update_weights_from_disk", {"model_path": str(other)})["success"]
    assert api.post_ok("/generate", body(prompt, 30))["output_ids"] == new["output_ids"]

    # Broken ones: the answer says why, and everything goes on.
    (other / "model.safetensors").write_bytes((TINY / "model.safetensors").read_bytes()[:100_000])
    for path, word in ((other, "model.safetensors"), (tmp_path / "nowhere", "nowhere"), (TINY.parent / "llama31", "running one")):
        failed = api.post("/update_weights_from_disk", json={"model_path": str(path)})
        assert failed.status_code == 400 and not failed.json()["success"] and word in failed.json()["message"], failed.text
    assert api.post_ok("/generate", body(prompt, 30))["output_ids"] == new["output_ids"]

    assert api.post_ok("/update_weights_from_disk", {"model_path": str(TINY)})["success"]
    assert api.post_ok("/weights_checker", {"action": "compare"})["success"]
    assert api.post_ok("/generate", body(prompt, 30))["output_ids"] == old["output_ids"]
    versioned = api.post_ok("/update_weight_version", {"new_version": "v3", "abort_all_requests": False})
    assert versioned == {"success": True, "message": "Weight version updated to v3", "new_version": "v3"}
    assert api.post_ok("/generate", body(prompt, 1))["meta_info"]["weight_version"] == "v3"


def test_limits_that_change_while_it_runs(tiny):
    api = tiny()
    assert api.post_ok("/set_internal_state", {"server_args": {"pp_max_micro_batch_size": 1}}) == [True]
    slow(api, 0.005)
    with together(api, [body(ids(i, 8), 20) for i in range(3)]) as replies:
        assert requests_in_flight(api.server.url)[0] <= 1
        assert all(reply.result().status_code == 200 for reply in replies)
    assert "max_running" in api.refused("/set_internal_state", {"server_args": {"max_running_requests": 1}})
    assert "[1, 64]" in api.refused("/set_internal_state", {"server_args": {"pp_max_micro_batch_size": 65}})
    assert api.post_ok("/set_internal_state", {"server_args": {"pp_max_micro_batch_size": 64}}) == [True]


@pytest.mark.parametrize("policy", ["fcfs", "lpm", "dfs-weight"])
def test_a_burst_computes_its_common_prefix_once(tiny, policy):
    """32 prompts with 1024 tokens in common, sent as one batch."""
    api = tiny("--schedule-policy", policy)
    api.flush()
    common = ids(1, 1024)
    replies = api.post_ok("/generate", body([common + ids(100 + i, 8) for i in range(32)], 4))
    cached = sorted(reply["meta_info"]["cached_tokens"] for reply in replies)
    assert cached[0] == 0 and all(count >= 1024 for count in cached[1:]), cached


def test_neither_policy_nor_mixing_nor_retraction_changes_answers(tiny):
    requests = [body(ids(i, 5 + i * 7 % 90), 12) for i in range(16)]
    plain = tiny()
    expected = [plain.post_ok("/generate", request)["output_ids"] for request in requests]
    variants = [("--enable-mixed-chunk", "--chunked-prefill-size", "32", "--schedule-policy", "random"),
                ("--schedule-policy", "routing-key", "--prefill-max-requests", "2")]
    for flags in variants:
        api = tiny(*flags, env={"SGLANG_TEST_RETRACT": "1", "SGLANG_TEST_RETRACT_INTERVAL": "5"})
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            replies = list(pool.map(lambda request: api.post_ok("/generate", request), requests))
        assert [reply["output_ids"] for reply in replies] == expected, flags
        check_at_rest(api.server)


def test_replicas_share_the_work(tiny):
    api = tiny("--dp-size", "2", "--threads", "1", "--enable-metrics", "--max-running-requests", "8")
    info = api.get("/server_info").json()
    assert info["dp_size"] == 2 and [state["effective_max_running_requests_per_dp"] for state in info["internal_states"]] == [4, 4]
    slow(api)
    streams = [Background(api, body(ids(i, 10), 1500)).wait_tokens(1) for i in range(3)]
    streams.append(Background(api, body(ids(3, 10), 1500, routed_dp_rank=1)).wait_tokens(1))
    loads = api.get("/v1/loads").json()
    assert loads["dp_rank_count"] == 2 and [load["dp_rank"] for load in loads["loads"]] == [0, 1]
    assert sum(load["num_running_reqs"] for load in loads["loads"]) == loads["aggregate"]["total_running_reqs"] == 4
    assert min(load["num_running_reqs"] for load in loads["loads"]) >= 1
    assert [load["dp_rank"] for load in api.get("/v1/loads?dp_rank=1").json()["loads"]] == [1]
    assert [load["dp_rank"] for load in api.get("/get_load").json()] == [0, 1]
    metrics = api.get("/metrics").text
    for rank in "01":
        assert any(line.startswith("sglang:num_running_reqs{") and f'dp_rank="{rank}"' in line for line in metrics.splitlines()), metrics
    assert streams[3].events[-1]["meta_info"]["dp_rank"] == 1
    ranks = [stream.events[-1]["meta_info"]["dp_rank"] for stream in streams[:3]]
    assert set(ranks) == {0, 1}, "in turn"

    api.post_ok("/pause_generation", {})  # ends everybody, wherever they run
    assert {finish(stream.last())["message"] for stream in streams} == {"Aborted"}
    api.post_ok("/continue_generation", {})
    slow(api, 0)
    api.flush()

    prompt = ids(9, 40)
    answers = [api.post_ok("/generate", body(prompt, 20, routed_dp_rank=rank)) for rank in (0, 1, 1)]
    assert len({tuple(answer["output_ids"]) for answer in answers}) == 1, "which one computes changes nothing"
    assert [answer["meta_info"]["cached_tokens"] > 0 for answer in answers] == [False, False, True], "each has a cache of its own"
    asked = api.post("/v1/completions", json={"prompt": "a", "max_tokens": 1}, headers={"X-Data-Parallel-Rank": "2"})
    assert asked.status_code == 400 and "[0, 1]" in asked.text
    assert "[0, 1]" in api.refused("/generate", body(prompt, 1, routed_dp_rank=-1))
    assert api.post_ok("/update_weights_from_disk", {"model_path": str(TINY), "weight_version": "v2"})["success"]
    for rank in (0, 1):
        again = api.post_ok("/generate", body(prompt, 20, data_parallel_rank=rank))["meta_info"]
        assert again["weight_version"] == "v2" and again["cached_tokens"] == 0 and again["dp_rank"] == rank


def test_limits_that_change_while_it_runs_hold_for_each_replica(tiny):
    api = tiny("--dp-size", "2", "--threads", "1", "--max-running-requests", "8")

    def limit(most):
        return {"server_args": {"pp_max_micro_batch_size": most}}

    def wait_loads(*expected):
        def now():
            return [(load["num_running_reqs"], load["num_waiting_reqs"]) for load in api.get("/v1/loads").json()["loads"]]
        wait_for(lambda: now() == list(expected), f"{expected}, not {now()}")

    assert "[1, 4]" in api.refused("/set_internal_state", limit(5)), "eight are dealt out to two"
    assert api.post_ok("/set_internal_state", limit(1)) == [True, True]
    slow(api)
    with together(api, [body(ids(i, 8), 1500, routed_dp_rank=i % 2) for i in range(4)]) as replies:
        wait_loads((1, 1), (1, 1))
        assert api.post_ok("/set_internal_state", limit(4)) == [True, True]
        wait_loads((2, 0), (2, 0))
        assert api.post("/abort_request", json={"abort_all": True}).status_code == 200
        assert all(finish(reply.result().json())["message"] == "Aborted" for reply in replies)


def test_the_lighter_replica_gets_the_request(tiny):
    api = tiny("--dp-size", "2", "--threads", "1", "--load-balance-method", "total_tokens")
    slow(api)
    long = Background(api, body(ids(1, 900), 1000, routed_dp_rank=1)).wait_tokens(1)
    short = [Background(api, body(ids(2 + i, 10), 1000)).wait_tokens(1) for i in range(3)]
    assert [stream.events[-1]["meta_info"]["dp_rank"] for stream in short] == [0, 0, 0]
    assert api.post("/abort_request", json={"abort_all": True}).status_code == 200
    assert all(finish(stream.last())["type"] == "abort" for stream in (long, *short))


def test_loads_tell_one_queue_from_another(tiny):
    api = tiny("--max-running-requests", "1")
    slow(api)
    running = Background(api, body(ids(1, 10), 1500)).wait_tokens(1)
    waiting = Background(api, body(ids(2, 50), 5))
    wait_for(lambda: requests_in_flight(api.server.url) == (1, 1), "one waits")
    load = api.get("/v1/loads").json()["loads"][0]
    assert load["num_total_tokens"] == load["num_used_tokens"] + 50
    assert load["queues"] == {"waiting": 1, "grammar": 0, "paused": 0, "retracted": 0}
    assert api.get("/get_load").json()[0]["num_pending_tokens"] == 50
    api.post_ok("/pause_generation", {"mode": "retract"})
    held = Background(api, body(ids(3, 20), 5))
    wait_for(lambda: api.get("/v1/loads").json()["loads"][0]["queues"] == {"waiting": 1, "grammar": 0, "paused": 1, "retracted": 1}, "queues")
    assert api.post("/abort_request", json={"abort_all": True}).status_code == 200
    assert all(finish(stream.last())["type"] == "abort" for stream in (running, waiting, held))
    api.post_ok("/continue_generation", {})


def test_a_hang_ends_the_server_and_a_pause_does_not(binary, tmp_path):
    server = start_server(binary, TINY, tmp_path / "log", ("--watchdog-timeout", "2", "--soft-watchdog-timeout", "1", *POOL), LONG_CONTEXT)
    try:
        with httpx.Client(base_url=server.url, timeout=60) as api:
            assert api.post("/pause_generation", json={"mode": "in_place"}).status_code == 200
            time.sleep(3)
            assert api.post("/continue_generation", json={}).status_code == 200
            assert "Watchdog" not in server.log() and server.process.poll() is None
            assert api.post("/slow_down", json={"forward_sleep_time": 60}).status_code == 200
            with pytest.raises(httpx.TransportError):
                api.post("/generate", json=body(ids(1, 5), 1, rid="the-last-one"))
        assert server.process.wait(30) == -signal.SIGABRT
        log = server.log()
        assert "engine 0 has been in the same step" in log and "crash report: signal 6" in log and "the-last-one" in log, log
    finally:
        server.kill()

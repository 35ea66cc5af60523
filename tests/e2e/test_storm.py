"""The storm kit on the real server, with the tiny random model; and that it notices a broken one.

SGLANG_STORM_REQUESTS says how many requests (1000), SGLANG_STORM_TIMEOUTS by how much the timeouts of requests are longer for a slow build (1).

SPDX-License-Identifier: Apache-2.0
"""
import collections
import os
import pathlib

import pytest

from kits import fake, idle, storm, wire
from kits.idle import rss_bytes

TINY = pathlib.Path(__file__).resolve().parent.parent / "goldens/models/smollm2"
REQUESTS = int(os.environ.get("SGLANG_STORM_REQUESTS", "1000"))
TIMEOUTS = float(os.environ.get("SGLANG_STORM_TIMEOUTS", "1"))
ALLOWED_GROWTH = int((48 << 20) * max(TIMEOUTS, 1))  # bytes, from one storm to the next; sanitizers keep what was freed for a while
EVERYTHING = ("identical", "begins alike", "retractions", "length", "stop", "left", "left in mid-request", "Request running timeout reached",
              "Request waiting timeout reached", "The request queue is full", "The request is aborted by a higher priority request")


def test_every_client_gets_its_own_answer(server_with):
    env = {name: str(float(value) * TIMEOUTS) if name.endswith("TIMEOUT") else value for name, value in storm.ENV.items()}
    env["SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_BUSY"] = "1"
    server = server_with(*storm.FLAGS, env=env, path=TINY)
    pause = 0.05 * TIMEOUTS
    storm.run(server.url, requests=min(REQUESTS, 500), seed=1, pid=server.pid, pause=pause)
    before = rss_bytes(server.pid)
    counts = collections.Counter()
    for seed in range(2, 8):  # one more storm while somebody's fate was missing: a fast machine may need no retraction in the first
        counts.update(storm.run(server.url, requests=REQUESTS, seed=seed, pid=server.pid, pause=pause))
        print(dict(counts))
        # With the timeouts of a slow build, not every kind of them is certain.
        missing = [what for what in EVERYTHING if not counts[what] and not (TIMEOUTS > 1 and "timeout" in what)]
        if not missing:
            break
    assert not missing, f"nobody had {missing}: {dict(counts)}"
    assert counts["Aborted"] + counts["Abort in waiting queue"] > 0 and counts["identical"] > REQUESTS / 20, dict(counts)
    assert rss_bytes(server.pid) - before < ALLOWED_GROWTH, (rss_bytes(server.pid) >> 20, before >> 20)
    idle.check_at_rest(server)


def small_storm(fault=""):
    with fake.server(slots=8, waiting_timeout=0.3, running_timeout=0.6, fault=fault) as url:
        storm.run(url, requests=60, at_once=24, bodies=12, pid=os.getpid(), apis=("/generate",))


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(storm, "REPLY_SECONDS", 5.0)
    monkeypatch.setattr(storm, "AFTER_SECONDS", 2.0)
    wait_idle = idle.wait_idle
    monkeypatch.setattr(idle, "wait_idle", lambda url, headers=None: wait_idle(url, 2.0, headers))


def test_a_server_that_keeps_the_rules_passes(impatient):
    small_storm()


@pytest.mark.parametrize("fault", ["neighbours-change-answers", "loses-a-token", "aborts-others", "two-finals", "no-done", "wrong-count",
                                   "leaks-on-disconnect", "leaks-descriptors"])
def test_a_broken_rule_is_noticed(fault, impatient):
    with pytest.raises((AssertionError, wire.Broken)):
        small_storm(fault)

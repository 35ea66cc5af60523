"""The load test in small, and what its judge says about figures that are not good enough. Speeds are for tools/load_test.py.

SPDX-License-Identifier: Apache-2.0
"""
import argparse
import copy
import importlib.util
import pathlib

import pytest

from kits import load
from kits.idle import check_at_rest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TINY = ROOT / "tests/goldens/models/smollm2"
STREAMS, RUNNING, QUEUED, TOKENS = 400, 16, 300, 8


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("load_test", ROOT / "tools/load_test.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def args():
    return argparse.Namespace(connections=STREAMS, running=RUNNING, queued=QUEUED)


@pytest.fixture(scope="module")
def server(server_with):
    return server_with("--max-total-tokens", "4096", "--max-running-requests", str(RUNNING), "--max-queued-requests", str(QUEUED), path=TINY)


@pytest.fixture(scope="module")
def result(server):
    return load.connections(server.url, server.pid, STREAMS, prompt_tokens=16, tokens=TOKENS, step_seconds=0.05)


def test_everybody_streams_or_is_refused(server, result, args, tool):
    whole, refused = result["outcomes"]["whole"], result["outcomes"][f"503: {load.FULL}"]
    assert whole + refused == STREAMS and whole >= QUEUED and refused > 0, result["outcomes"]
    problems = [problem for problem in tool.judge_connections(result, args) if "/health" not in problem]  # a matter of speed
    assert not problems, problems
    assert result["health"]["not_200"] == 0
    check_at_rest(server)


@pytest.mark.parametrize("spoil, word", [
    (lambda r: r["outcomes"].update({"500: oops": 1}), "oops"),
    (lambda r: r["outcomes"].update({"whole": QUEUED - 1, f"503: {load.FULL}": STREAMS - QUEUED + 1}), "places to wait"),
    (lambda r: r["outcomes"].update({"whole": r["outcomes"]["whole"] - 1}), "places to wait"),
    (lambda r: r["rss_bytes"].update(most=r["rss_bytes"]["before"] + (1 << 30)), "memory grew"),
    (lambda r: r["rss_bytes"].update(after=r["rss_bytes"]["before"] + (1 << 30)), "not given back"),
    (lambda r: r["health"]["steps"].update(p99=3), "steps at p99"),
    (lambda r: r["health"].update(not_200=1), "health"),
])
def test_the_judge_notices(result, args, tool, spoil, word):
    spoiled = copy.deepcopy(result)
    spoil(spoiled)
    assert any(word in problem for problem in tool.judge_connections(spoiled, args))


def test_shares_of_a_step(server):
    load.slow_down(server.url, 0.02)  # all eight are there before the first one has ended
    result = load.share(server.url, server.pid, batch=8, prompt_tokens=16, tokens=64)
    load.slow_down(server.url, 0)
    assert result["batch"] == 8 and result["steps"] >= 64
    assert set(result["share"]) == {"plan", "commit and deliver", "http", "text"} and all(value > 0 for value in result["share"].values())

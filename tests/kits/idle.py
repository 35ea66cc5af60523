"""Is a server really at rest, and did it keep something? For the end of any test that was rough with it.

SPDX-License-Identifier: Apache-2.0
"""
import re

import httpx

from kits.server import wait_for

IDLE_SECONDS = 60.0


def requests_in_flight(url, headers=None):
    """(running, waiting) of the server at `url`; both ways to ask must agree on the sum when nothing moves."""
    reply = httpx.get(url + "/v1/loads", headers=headers, timeout=30)
    assert reply.status_code == 200, reply.text
    aggregate = reply.json()["aggregate"]
    return aggregate["total_running_reqs"], aggregate["total_waiting_reqs"]


def wait_idle(url, seconds=IDLE_SECONDS, headers=None):
    """Nothing runs and nothing waits, by /v1/loads and by /get_load."""
    wait_for(lambda: requests_in_flight(url, headers) == (0, 0), "no running and no waiting request", seconds)
    load = httpx.get(url + "/get_load", headers=headers, timeout=30).json()[0]
    assert load["num_reqs"] == 0 and load["num_waiting_reqs"] == 0, load


def flush(url, headers=None):
    """Empties the prefix cache. The server refuses while anything is in flight, so this also proves that nothing is."""
    reply = httpx.post(url + "/flush_cache", params={"timeout": 30}, headers=headers, timeout=60)
    assert reply.status_code == 200, (reply.status_code, reply.text)
    assert reply.text.startswith("Cache flushed."), reply.text


def check_at_rest(server, headers=None):
    """Idle, flushable, no page held, no word of a leak in the log, and it still answers."""
    wait_idle(server.url, headers=headers)
    flush(server.url, headers)
    assert held_tokens(server.url, headers) == 0, "tokens held by nobody"
    reply = httpx.post(server.url + "/generate", headers=headers, timeout=60,
                       json={"text": "The capital of France is", "sampling_params": {"max_new_tokens": 4, "temperature": 0}})
    assert reply.status_code == 200 and reply.json()["meta_info"]["completion_tokens"] > 0, reply.text
    assert "leak" not in server.log().lower(), server.tail()


def held_tokens(url, headers=None):
    """Tokens of the KV cache in use by requests; the prefix cache does not count."""
    reply = httpx.get(url + "/v1/loads", headers=headers, timeout=30)
    return reply.json()["aggregate"]["total_used_tokens"]


def rss_bytes(pid):
    """Resident memory of a process. Linux."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024

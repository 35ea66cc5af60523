"""The kits on the real server, and on a fake one that keeps the rules or breaks one: a kit that could not fail would prove nothing.

SPDX-License-Identifier: Apache-2.0
"""
import httpx
import pytest

from kits import contract, ends, fake, idle, malformed

HASTY = {"SGLANG_REQ_RUNNING_TIMEOUT": "3"}


def test_contract(server):
    contract.run(server.url)


def test_abort_all(server_with):
    ends.abort_all(server_with("--max-running-requests", "8").url)


def test_rude_clients(server_with):
    ends.rude_clients(server_with("--max-running-requests", "8").url)


def test_waiting_timeout(server_with):
    ends.waiting_timeout(server_with("--max-running-requests", "2", env={"SGLANG_REQ_WAITING_TIMEOUT": "0.5"}).url, 2, 6)


def test_running_timeout_in_two_waves(server_with):
    ends.running_timeout(server_with("--max-running-requests", "8", env=HASTY).url, 6)


def test_malformed_requests(server):
    assert malformed.run(server.url) >= 2000


def test_fake_server_keeps_the_rules():
    with fake.server(slots=8) as url:
        ends.abort_all(url, count=16, tokens=3000)
        ends.rude_clients(url, rounds=2)
    with fake.server(slots=2, waiting_timeout=0.3) as url:
        ends.waiting_timeout(url, 2, 3, tokens=1000)
    with fake.server(running_timeout=0.3) as url:
        ends.running_timeout(url, 6)


@pytest.fixture
def impatient(monkeypatch):
    """A broken server is known to be broken after two seconds."""
    monkeypatch.setattr(ends, "REPLY_SECONDS", 2.0)
    monkeypatch.setattr(idle, "IDLE_SECONDS", 2.0)
    monkeypatch.setattr(ends, "wait_idle", lambda url, seconds=2.0, headers=None: idle.wait_idle(url, 2.0, headers))


def noticed(kit):
    """The kit fails: by its own word, or because no answer came in time."""
    with pytest.raises((AssertionError, httpx.HTTPError, TimeoutError)):
        kit()


@pytest.mark.parametrize("fault", ["abort-is-deaf", "abort-forgets-meta", "two-finals", "no-done", "wrong-count", "logprobs-short"])
def test_abort_all_notices(fault, impatient):
    with fake.server(slots=8, fault=fault) as url:
        noticed(lambda: ends.abort_all(url, count=16, tokens=3000))


def test_waiting_timeout_notices(impatient):
    with fake.server(slots=2, waiting_timeout=0.3, fault="waits-for-ever") as url:
        noticed(lambda: ends.waiting_timeout(url, 2, 3, tokens=1000))


@pytest.mark.parametrize("fault", ["runs-for-ever", "second-wave-runs"])
def test_running_timeout_notices(fault, impatient):
    with fake.server(running_timeout=0.3, fault=fault) as url:
        noticed(lambda: ends.running_timeout(url, 6, tokens=1000))


def test_rude_clients_notices(impatient):
    with fake.server(fault="leaks-on-disconnect") as url:
        noticed(lambda: ends.rude_clients(url, rounds=2))


def test_contract_notices():
    with fake.server() as url:  # it has no log-probabilities of the prompt, and no OpenAI API
        noticed(lambda: contract.run(url))


@pytest.mark.parametrize("fault", ["accepts-nonsense", "says-500", "says-nothing", "hangs-up"])
def test_malformed_notices(fault):
    with fake.server(fault=fault) as url, httpx.Client(base_url=url) as client:
        cases = list(malformed.wrong_types(client.get("/openapi.json").json()))
        assert cases and all(malformed.check(client, case) for case in cases)


def test_malformed_is_content_with_right_answers():
    with fake.server() as url, httpx.Client(base_url=url) as client:
        assert not any(malformed.check(client, case) for case in malformed.wrong_types(client.get("/openapi.json").json()))

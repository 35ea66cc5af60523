"""Real servers for the tests: one per set of flags and run, started when first asked for, stopped and judged at the end.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import pathlib
import sys

import httpx
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from kits.idle import check_at_rest, flush  # noqa: E402
from kits.server import start_server  # noqa: E402

GOLDENS = pathlib.Path(__file__).resolve().parent.parent / "goldens/smollm2"
REPLY_SECONDS = 120.0


def path_from_env(name):
    value = os.environ.get(name, "")
    if not value or not os.path.exists(value):
        pytest.exit(f"{name} must name an existing file, it is {value!r}", returncode=2)
    return os.path.abspath(value)


@pytest.fixture(scope="session")
def binary():
    return path_from_env("SGLANG_BINARY")


@pytest.fixture(scope="session")
def model():
    return path_from_env("SGLANG_TEST_MODEL")


@pytest.fixture(scope="session")
def reference():
    """Prompts with transformers' ids and greedy answers; tools/make_smollm2_reference.py."""
    return json.loads((GOLDENS / "reference.json").read_text())


class Client(httpx.Client):
    """httpx with the few calls that most tests make."""

    def __init__(self, server, **options):
        super().__init__(base_url=server.url, timeout=REPLY_SECONDS, **options)
        self.server = server

    def post_ok(self, path, body):
        reply = self.post(path, json=body)
        assert reply.status_code == 200, f"{path} {json.dumps(body)[:500]} -> {reply.status_code} {reply.text[:1000]}"
        return reply.json()

    def generate(self, prompt, *, many=None, **params):
        """/generate for a text, ids, or a list of either; `many` is merged into the body."""
        is_ids = isinstance(prompt, list) and (isinstance(prompt[0], int) or isinstance(prompt[0], list))
        return self.post_ok("/generate", {"input_ids" if is_ids else "text": prompt, "sampling_params": params, **(many or {})})

    def refused(self, path, body, status=400):
        """The message of an error that must come."""
        reply = self.post(path, json=body)
        assert reply.status_code == status, f"{path} {json.dumps(body)[:500]} -> {reply.status_code} {reply.text[:1000]}"
        answer = reply.json()
        return answer.get("error", answer)["message"]

    def events(self, path, body):
        """The JSON events of a stream, which must be framed to the letter and end with [DONE]."""
        with self.stream("POST", path, json={**body, "stream": True}) as reply:
            assert reply.status_code == 200, reply.read()
            assert reply.headers["content-type"].startswith("text/event-stream")
            text = reply.read().decode()
        parts = text.split("\n\n")
        assert parts[-1] == "" and parts[-2] == "data: [DONE]", parts[-2:]
        assert all(part.startswith("data: ") and "\n" not in part for part in parts[:-1]), text[:1000]
        return [json.loads(part[6:]) for part in parts[:-2]]

    def flush(self):
        flush(self.server.url)


@pytest.fixture(scope="session")
def server_with(binary, model, tmp_path_factory):
    """server_with("--flag", "value", env={...}, path=...): that server, shared by all tests that ask for the same."""
    logs = tmp_path_factory.mktemp("servers")
    servers = {}

    def get(*flags, env=None, path=model):
        key = (flags, tuple(sorted((env or {}).items())), str(path))
        if key not in servers:
            servers[key] = start_server(binary, path, logs / f"{len(servers)}.log", flags, env)
        return servers[key]

    yield get
    problems = []
    for (flags, *_), server in servers.items():
        try:
            headers = {"Authorization": f"Bearer {flags[flags.index('--api-key') + 1]}"} if "--api-key" in flags else None
            check_at_rest(server, headers)
            code = server.stop()
            assert code == 0, f"exit code {code}; its log ends with\n{server.tail()}"
        except Exception as error:  # the others are to be stopped, too
            problems.append(f"{' '.join(flags) or 'default flags'}: {error!r}")
        finally:
            server.kill()
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="session")
def server(server_with):
    return server_with()


@pytest.fixture(scope="session")
def client_of():
    clients = []

    def make(server):
        clients.append(Client(server))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def api(server, client_of):
    return client_of(server)

"""What operators see of a real server: metrics, logs, dumps, replay, readiness.

SPDX-License-Identifier: Apache-2.0
"""
import json
import re
import signal
import subprocess
import time

import httpx
import pytest

from kits.server import Server, environment, wait_for

SAMPLE = re.compile(r'^(sglang:[a-z0-9_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (-?[0-9.e+-]+|NaN|\+Inf)$')
GREEDY = {"temperature": 0, "max_new_tokens": 8}


def scrape(url):
    """{(name, labels as text): value}; every line must be what Prometheus can read."""
    reply = httpx.get(url + "/metrics", timeout=30)
    assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples, types = {}, {}
    for line in reply.text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line[7:].split()
            assert name not in types, f"{name}: two blocks"
            types[name] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.match(line)
            assert match, line
            name, labels, value = match.groups()
            assert re.sub("_(bucket|sum|count)$", "", name) in types or name in types, line
            assert (name, labels) not in samples, f"twice: {line}"
            samples[name, labels] = float(value)
    return samples


def total(samples, name):
    return sum(value for (sample, _), value in samples.items() if sample == name)


@pytest.fixture(scope="module")
def watched(server_with, tmp_path_factory):
    folder = tmp_path_factory.mktemp("requests")
    server = server_with("--enable-metrics", "--log-requests", "--log-requests-format", "json", "--log-requests-target", str(folder))
    server.folder = folder
    return server


def test_metrics_count_what_was_done(watched, client_of):
    api = client_of(watched)
    api.flush()
    before = scrape(watched.url)
    prompt = "Counting is what metrics are made for, and this prompt is long enough to fill a page or two of the cache."
    for _ in range(2):
        api.generate(prompt, **GREEDY)
    api.events("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "temperature": 0})
    after = scrape(watched.url)
    grown = {name: total(after, name) - total(before, name) for name in {key[0] for key in after}}
    assert grown["sglang:num_requests_total"] == 3
    assert grown["sglang:time_to_first_token_seconds_count"] == 3
    assert grown["sglang:e2e_request_latency_seconds_count"] == 3
    assert 16 < grown["sglang:generation_tokens_total"] <= 21
    assert grown["sglang:inter_token_latency_seconds_count"] == grown["sglang:generation_tokens_total"] - 3
    assert grown["sglang:cached_tokens_total"] >= 16, "the second prompt was in the cache"
    assert grown["sglang:prompt_tokens_total"] > grown["sglang:cached_tokens_total"]
    assert grown["sglang:queue_time_seconds_count"] >= 3
    modes = {labels: value for (name, labels), value in after.items() if name == "sglang:realtime_tokens_total"}
    assert len(modes) == 3 and all(value > 0 for value in modes.values()), modes
    assert total(after, "sglang:num_running_reqs") == total(after, "sglang:num_queue_reqs") == 0
    used = total(after, "sglang:kv_available_tokens") + total(after, "sglang:kv_evictable_tokens")
    assert used == total(after, "sglang:max_total_num_tokens"), "nothing is held when idle"


def test_request_log_is_json_lines(watched, client_of):
    client_of(watched).generate("Say it in the log", many={"rid": "logged"}, **GREEDY)

    def lines():
        text = "".join(path.read_text() for path in watched.folder.iterdir())
        found = [json.loads(line.split("] ", 1)[1]) for line in text.splitlines()]
        return {line["event"]: line for line in found if line["rid"] == "logged"}

    events = wait_for(lambda: lines() if len(lines()) == 2 else None, "two lines about one request")
    assert events["request.received"]["obj"]["text"].endswith("Say it in the log")
    meta = events["request.finished"]["out"]["meta_info"]
    assert meta["completion_tokens"] == 8 and meta["e2e_latency"] > 0 and meta["queue_time"] >= 0


def test_access_log(watched, client_of):
    client_of(watched).get("/v1/models?x=1")
    wait_for(lambda: re.search(r'INFO:     127\.0\.0\.1:\d+ - "GET /v1/models\?x=1 HTTP/1\.1" 200 OK', watched.log()), "a line in the log")


def test_dump_and_replay(watched, client_of, binary, tmp_path):
    api = client_of(watched)
    folder = tmp_path / "dump"
    assert api.post("/configure_logging", json={"dump_requests_folder": str(folder), "dump_requests_threshold": 6}).status_code == 200
    for i in range(6):
        api.generate(f"Replay number {i} of", temperature=1.0, sampling_seed=i, max_new_tokens=6)
    assert api.post("/configure_logging", json={"dump_requests_folder": ""}).status_code == 200
    files = wait_for(lambda: list(folder.glob("*.jsonl")), "a dump")
    wait_for(lambda: sum(len(file.read_text().splitlines()) for file in files) == 7, "six requests and the server's arguments")
    done = subprocess.run([binary, "replay", "--url", watched.url, "--speed", "0", *map(str, files)], capture_output=True, text=True,
                          timeout=120, env=environment())
    assert done.returncode == 0, done.stderr
    assert "6 requests, 6 answered, 6 with the recorded tokens, 0 failed" in done.stdout, done.stdout


def test_profile_of_some_steps(watched, client_of, tmp_path):
    api = client_of(watched)
    assert api.post("/start_profile", json={"output_dir": str(tmp_path), "num_steps": "4", "profile_prefix": "e2e"}).status_code == 200
    api.generate("A profile", temperature=0, max_new_tokens=12, ignore_eos=True)
    file = wait_for(lambda: next(iter(tmp_path.glob("e2e-*-TP-0.trace.json")), None), "the profile ends by itself")
    trace = wait_for(lambda: file.read_text().endswith("}\n") and json.loads(file.read_text()), "the whole file")
    names = [event["name"] for event in trace["traceEvents"]]
    assert names.count("prefill") + names.count("decode") == 4 and names.count("run") == 4, names
    assert any(name.startswith("waiting ") for name in names), "queue events"


def test_x_request_id_comes_back(api):
    assert api.get("/v1/models", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"


def test_openapi_lists_what_answers(api):
    document = api.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    for path, methods in document["paths"].items():
        if "{" in path or "get" not in methods or path in ("/flush_cache", "/metrics", "/metrics/"):
            continue
        assert api.get(path).status_code != 404, path


def run_wait(binary, *flags):
    return subprocess.run([binary, "wait", *flags], capture_output=True, text=True, timeout=120, env=environment())


def test_wait_for_a_server_that_is_there(server, binary):
    assert run_wait(binary, "--url", server.url, "--timeout", "60", "--pid", str(server.pid)).returncode == 0


def test_wait_ends_with_the_process(binary, model, tmp_path):
    died = Server(binary, model, tmp_path / "log", ["--context-length", "100000000"])
    done = run_wait(binary, "--url", died.url, "--timeout", "100", "--pid", str(died.pid))
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert f"process {died.pid} has ended with exit code 1" in done.stderr, done.stderr
    assert "context" in done.stderr, "the end of its log"
    assert died.process.wait(10) == 1


def test_wait_for_a_server_that_hangs(server_with, binary):
    server = server_with("--max-queued-requests", "9")  # one of our own: it is stopped for a while
    server.process.send_signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        done = run_wait(binary, "--url", server.url, "--timeout", "1")
        assert done.returncode == 3, (done.stdout, done.stderr)
        assert "not ready within 1 s" in done.stderr
        assert time.monotonic() - begin < 60
    finally:
        server.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def secure(binary, model, tmp_path_factory):
    """A server for https://localhost with a certificate of its own; `.certificate` is what a client has to trust."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
                   check=True, capture_output=True)
    server = Server(binary, model, folder / "log", ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)])
    server.url = f"https://localhost:{server.port}"
    server.certificate = certificate
    yield server
    assert server.stop() == 0, server.tail()


def run_client(binary, *arguments):
    return subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                          env=environment())


def test_clients_over_https(secure, binary, tmp_path):
    trust = ("--cacert", secure.certificate)
    assert run_client(binary, "wait", "--url", secure.url, *trust, "--pid", secure.pid).returncode == 0, secure.tail()
    said = run_client(binary, "chat", "--url", secure.url, *trust, "--temperature", "0", "--max-tokens", "8", "Say one word.")
    assert said.returncode == 0 and said.stdout.strip(), said.stderr
    dump = tmp_path / "dump.jsonl"
    request = {"input_ids": [1, 2, 3], "sampling_params": {"max_new_tokens": 2, "temperature": 0}}
    dump.write_text(json.dumps({"request": request, "out": {}, "created": 1.0}) + "\n")
    for flags in (trust, ("--insecure",)):
        sent = run_client(binary, "replay", "--url", secure.url, *flags, dump)
        assert sent.returncode == 0 and "1 requests, 1 answered" in sent.stdout, sent.stderr


def test_clients_do_not_trust_just_anybody(secure, binary, tmp_path):
    assert run_client(binary, "wait", "--url", secure.url, "--insecure").returncode == 0, secure.tail()
    stranger = run_client(binary, "chat", "--url", secure.url, "hi")
    assert stranger.returncode == 1 and "the certificate is not trusted: self" in stranger.stderr, stranger.stderr
    other_name = run_client(binary, "chat", "--url", f"https://127.0.0.1:{secure.port}", "--cacert", secure.certificate, "hi")
    assert other_name.returncode == 1 and "mismatch" in other_name.stderr, other_name.stderr
    missing = run_client(binary, "wait", "--url", secure.url, "--cacert", tmp_path / "nothing")
    assert missing.returncode == 2 and "argument --cacert" in missing.stderr, missing.stderr
    plain = run_client(binary, "wait", "--url", f"http://localhost:{secure.port}", "--timeout", "0.5")
    assert plain.returncode == 3, plain.stderr


def test_wait_for_nobody(binary):
    done = run_wait(binary, "--url", "http://127.0.0.1:9", "--timeout", "0.5")
    assert done.returncode == 3, (done.stdout, done.stderr)

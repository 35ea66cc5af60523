"""Beginnings and ends of the process, and the other commands of the binary.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import signal
import socket
import subprocess

import httpx
import pytest

from kits.idle import check_at_rest, requests_in_flight
from kits.server import Server, environment, free_port, wait_for

SHUTDOWN_SECONDS = 120
START_FAILS_WITHIN = 60.0  # a hang is the failure, not a slow machine
STREAM_TOKENS = 150


def run(binary, *arguments, stdin=""):
    return subprocess.run([binary, *arguments], input=stdin, capture_output=True, text=True, timeout=START_FAILS_WITHIN, env=environment())


@pytest.fixture
def own_server(binary, model, tmp_path):
    """own_server(*flags, port=None): a server that the test may end as it likes."""
    servers = []

    def start(*flags, port=None):
        servers.append(Server(binary, model, tmp_path / f"{len(servers)}.log", flags, port=port))
        return servers[-1].wait_ready()

    yield start
    for server in servers:
        server.kill()


def long_stream(server):
    body = {"text": "Once upon a time", "stream": True, "sampling_params": {"max_new_tokens": STREAM_TOKENS, "ignore_eos": True, "temperature": 0}}
    return httpx.stream("POST", server.url + "/generate", json=body, timeout=120)


def first_event(chunks):
    data = next(chunks)
    assert data.startswith(b"data: {"), data
    return data


def last_event(data):
    """The event before [DONE], which must be the last one."""
    events = data.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""], events[-2:]
    return json.loads(events[-3].removeprefix(b"data: "))


def health(server):
    try:
        return httpx.get(server.url + "/health", timeout=30).status_code
    except httpx.TransportError:
        return None


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_shutdown_lets_streams_finish(own_server, which):
    server = own_server("--shutdown-timeout", str(SHUTDOWN_SECONDS))
    with long_stream(server) as reply:
        chunks = reply.iter_raw()
        data = first_event(chunks)
        server.process.send_signal(which)
        wait_for(lambda: health(server) in (503, None), "unhealthy as soon as it is told to stop")
        refused = httpx.post(server.url + "/generate", json={"text": "x"}, timeout=30)
        assert refused.status_code == 503, "no new work"
        last = last_event(data + b"".join(chunks))
    assert last["meta_info"]["finish_reason"] == {"type": "length", "length": STREAM_TOKENS}
    assert len(last["output_ids"]) == STREAM_TOKENS
    assert server.process.wait(SHUTDOWN_SECONDS) == 0, server.tail()


def test_shutdown_does_not_wait_for_ever(own_server):
    server = own_server("--shutdown-timeout", "0")
    with long_stream(server) as reply:
        chunks = reply.iter_raw()
        data = first_event(chunks)
        server.terminate()
        last = last_event(data + b"".join(chunks))  # the client gets its end all the same
    assert "error" in last or last["meta_info"]["finish_reason"]["type"] == "abort", last
    assert server.process.wait(SHUTDOWN_SECONDS) == 0, server.tail()


def test_idle_connections_do_not_delay_the_end(own_server):
    server = own_server()
    with httpx.Client(base_url=server.url) as client, socket.create_connection(("127.0.0.1", server.port)):
        assert client.get("/v1/models").status_code == 200
        server.terminate()
        assert server.process.wait(SHUTDOWN_SECONDS) == 0, server.tail()


def test_a_second_signal_ends_it_at_once(own_server):
    server = own_server()
    with long_stream(server) as reply:
        chunks = reply.iter_raw()
        first_event(chunks)
        server.terminate()
        wait_for(lambda: health(server) in (503, None), "the first signal has been seen")
        server.terminate()
        assert server.process.wait(SHUTDOWN_SECONDS) == 128 + signal.SIGTERM


def test_kill_and_restart_on_the_same_port(own_server):
    first = own_server()
    with long_stream(first) as reply:
        chunks = reply.iter_raw()
        first_event(chunks)
        assert first.kill() == -signal.SIGKILL
        with pytest.raises(httpx.TransportError):
            list(chunks)
    second = own_server(port=first.port)
    check_at_rest(second)


def test_ready_line_and_log(server):
    log = server.log()
    assert "The server is fired up and ready to roll!" in log
    assert f"Uvicorn running on {server.url}" in log


def error_line(done, command="serve"):
    """The one line that says what went wrong; no crash, and nothing on stdout."""
    assert done.returncode not in (0, None) and done.returncode > 0, (done.returncode, done.stderr)
    assert "terminate called" not in done.stderr and "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("sglang " + command + ": error: ")]
    assert len(lines) == 1, done.stderr
    assert done.stdout == ""
    return lines[0]


def test_missing_model(binary, tmp_path):
    missing = str(tmp_path / "nowhere" / "model.gguf")
    assert missing in error_line(run(binary, "serve", "--model-path", missing))
    assert "--model-path" in error_line(run(binary, "serve"))


def test_unknown_flag(binary, model):
    line = error_line(run(binary, "serve", "--model-path", model, "--max-runing-requests", "4"))
    assert "--max-runing-requests" in line and "did you mean --max-running-requests?" in line


@pytest.mark.parametrize("flag, value, words", [
    ("--dtype", "int3", ["--dtype", "int3", "float32"]),
    ("--port", "eighty", ["--port", "eighty"]),
    ("--port", "70000", ["--port", "70000"]),
    ("--page-size", "24", ["page", "24"]),
    ("--context-length", "99999999", ["--context-length", "99999999"]),
    ("--chat-template", "/nowhere.jinja", ["--chat-template", "/nowhere.jinja"]),
    ("--max-total-tokens", "999G", ["--max-total-tokens"]),
    ("--config", "/nowhere.yaml", ["/nowhere.yaml"]),
])
def test_bad_flag_value(binary, model, flag, value, words):
    line = error_line(run(binary, "serve", "--model-path", model, "--port", str(free_port()), flag, value))
    assert all(word in line for word in words), line


@pytest.mark.parametrize("keep", [0, 10, 5000, 0.5])
def test_truncated_model(binary, model, tmp_path, keep):
    size = int(keep * os.path.getsize(model)) if isinstance(keep, float) else keep
    copy = tmp_path / "truncated.gguf"
    with open(model, "rb") as whole:
        copy.write_bytes(whole.read(size))
    assert "truncated.gguf" in error_line(run(binary, "serve", "--model-path", str(copy), "--port", str(free_port())))


def test_not_a_model(binary, tmp_path):
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(b"GGUF" + b"\xff" * 4096)
    assert "noise.gguf" in error_line(run(binary, "serve", "--model-path", str(noise)))
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in error_line(run(binary, "serve", "--model-path", str(tmp_path / "empty")))


def test_port_in_use(binary, model):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = error_line(run(binary, "serve", "--model-path", model, "--host", "127.0.0.1", "--port", str(port)))
    assert str(port) in line and "in use" in line.lower()


def test_unknown_command(binary):
    done = run(binary, "sreve")
    assert done.returncode == 2 and "did you mean serve?" in done.stderr


@pytest.mark.parametrize("arguments, words", [
    (["--help"], ["serve", "chat", "bench", "tokenize"]),
    (["serve", "--help"], ["--model-path", "--max-total-tokens", "--chunked-prefill-size", "--api-key"]),
    (["chat", "--help"], ["--url", "--temperature"]),
    (["tokenize", "--help"], ["--decode"]),
    (["bench", "--help"], ["--model-path"]),
    (["version"], ["sglang"]),
])
def test_help(binary, arguments, words):
    done = run(binary, *arguments)
    assert done.returncode == 0 and done.stderr == ""
    assert all(word in done.stdout for word in words), done.stdout


def test_tokenize(binary, model, reference):
    for case in reference["cases"][:2] + reference["cases"][-6:]:
        done = run(binary, "tokenize", "--model-path", model, "--no-special-tokens", "--json", stdin=case["text"])
        assert done.returncode == 0 and json.loads(done.stdout) == case["ids"], done
    back = run(binary, "tokenize", "--model-path", model, "--decode", "--json", stdin=json.dumps(case["ids"]))
    assert json.loads(back.stdout) == case["text"]
    words = run(binary, "tokenize", "--model-path", model, "--no-special-tokens", "The quick", "brown fox")
    assert [int(word) for word in words.stdout.split()] == next(c["ids"] for c in reference["cases"] if c["text"] == "The quick brown fox")


def test_chat_through_a_pipe(binary, server, api):
    question = "What is the capital of France?"
    reply = api.post_ok("/v1/chat/completions", {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 16})
    flags = ["--url", server.url, "--temperature", "0", "--max-tokens", "16"]
    piped = run(binary, "chat", *flags, stdin=question + "\n")
    assert (piped.returncode, piped.stderr) == (0, "")
    assert piped.stdout == reply["choices"][0]["message"]["content"] + "\n"
    assert run(binary, "chat", *flags, question).stdout == piped.stdout


def test_chat_without_a_server(binary):
    assert "is a server running?" in error_line(run(binary, "chat", "--url", f"http://127.0.0.1:{free_port()}", stdin="hi"), "chat")


def test_foreign_flags_and_abbreviations(own_server):
    """Command lines written for other machines start here, too."""
    server = own_server("--device", "cpu", "--tp", "1", "--cuda-graph-max-bs", "2", "--attention-backend", "triton", "--disable-cuda-graph",
                        "--context-len", "512", "--max-total-token=4096", "--trust-remote-code")
    reply = httpx.get(server.url + "/server_info", timeout=30).json()
    assert reply["max_total_num_tokens"] == 4096
    assert httpx.get(server.url + "/v1/models", timeout=30).json()["data"][0]["max_model_len"] == 512
    assert requests_in_flight(server.url) == (0, 0)

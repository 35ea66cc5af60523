"""What a server takes: memory while and after loading, the packed cache, a shared processor; and the tools that measure it.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import pathlib
import re
import subprocess

import pytest

from kits.server import environment, start_server

# What is neither weights nor KV cache: code, tokenizer, template, buffers of the server. Small models do not hide it, so it is allowed for.
FIXED_BYTES = 24 << 20
POOL_TOKENS = 4096


def status_bytes(pid, key):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{key}:\s+(\d+) kB", text, re.M).group(1)) * 1024


@pytest.fixture()
def start(binary, model, tmp_path):
    servers = []

    def make(*flags, env=None):
        servers.append(start_server(binary, model, tmp_path / f"{len(servers)}.log", flags, env))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


def answer(client):
    return client.generate("The capital of France is", temperature=0, max_new_tokens=12)["text"]


def test_memory_follows_the_weights(start, client_of, model):
    server = start("--max-total-tokens", str(POOL_TOKENS))
    client = client_of(server)
    answer(client)
    info = client.get("/server_info").json()
    assert info["max_total_num_tokens"] == POOL_TOKENS
    tensors = os.path.getsize(model)  # the rest of the file is a few megabytes
    pool = int(re.search(r"KV cache\s+\d+ tokens, (\d+) MiB", server.log()).group(1)) << 20
    assert status_bytes(server.pid, "VmRSS") <= 1.1 * tensors + pool + FIXED_BYTES
    assert status_bytes(server.pid, "VmHWM") <= 1.25 * tensors + pool + FIXED_BYTES


def test_packed_weights_are_kept_and_verified(start, client_of, tmp_path):
    flags = ("--packed-cache-dir", str(tmp_path / "packed"), "--max-total-tokens", str(POOL_TOKENS))
    first = start(*flags)
    expected = answer(client_of(first))
    assert "packed weights written to" in first.log()
    assert first.stop() == 0
    image, = (tmp_path / "packed").iterdir()

    second = start(*flags)
    assert "packed weights read from" in second.log()
    assert answer(client_of(second)) == expected
    assert second.stop() == 0

    with open(image, "r+b") as file:
        file.seek(image.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    third = start(*flags)
    assert "ignored, the weights are packed again: its content is damaged" in third.log()
    assert answer(client_of(third)) == expected


def test_start_says_where_it_computes(start):
    log = start("--max-total-tokens", str(POOL_TOKENS), env={"SGLANG_CPU_OMP_THREADS_BIND": "0"}).log()
    assert "computing with 1 threads on CPUs 0 (" in log and "as bound" in log


def run(binary, *arguments):
    return subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, timeout=300, env=environment())


def test_bench_prints_shares_of_the_roof(binary, model):
    done = run(binary, "bench", "--model-path", model, "--batch-size", 2, "--input-len", 32, "--output-len", 4, "--json")
    assert done.returncode == 0, done.stderr
    head, row = map(json.loads, done.stdout.splitlines())
    assert head["roofs"]["read"][-1]["gb_per_s"] > 0
    assert row["prefill_tokens_per_s"] > 0 and row["decode_tokens_per_s"] > 0
    assert row["prefill_roof_percent"] > 0 and row["decode_roof_percent"] > 0

    done = run(binary, "bench", "--model-path", model, "--mode", "mixed", "--batch-size", 2, "--input-len", 32, "--output-len", 4, "--json",
               "--skip-roofs")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["total_tokens_per_s"] > 0


@pytest.mark.parametrize("backend", ["sglang", "sglang-oai", "sglang-oai-chat"])
@pytest.mark.parametrize("stream", [True, False])
def test_bench_serve_speaks_every_api(binary, server, backend, stream, tmp_path):
    out = tmp_path / "result.jsonl"
    done = run(binary, "bench", "serve", "--backend", backend, "--port", server.port, "--dataset-name", "random", "--num-prompts", 6,
               "--random-input-len", 20, "--random-output-len", 5, "--random-range-ratio", 1, "--max-concurrency", 3, "--request-rate", 500,
               "--output-file", out, *([] if stream else ["--disable-stream"]))
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["completed"] == 6
    assert result["total_input_tokens"] == 120
    assert result["total_output_tokens"] == 30
    assert result["max_concurrent_requests"] <= 3
    assert result["mean_e2e_latency_ms"] >= result["mean_ttft_ms"] > 0
    assert re.search(r"Successful requests:\s+6 ", done.stdout)
    assert "Median TTFT (ms):" in done.stdout and "P99 ITL (ms):" in done.stdout


def test_bench_serve_says_what_is_wrong(binary, server):
    done = run(binary, "bench", "serve", "--port", 1, "--ready-check-timeout-sec", 0)
    assert done.returncode == 1 and "the server is not ready" in done.stderr
    done = run(binary, "bench", "serve", "--port", server.port, "--num-prompts", 1)
    assert done.returncode == 1 and "--dataset-name sharegpt needs --dataset-path" in done.stderr
    done = run(binary, "bench", "serve", "--request-rate", "fast")
    assert done.returncode == 1 and "neither a positive number nor inf" in done.stderr

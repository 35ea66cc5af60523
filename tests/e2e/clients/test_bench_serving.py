"""SGLang's own benchmark client, bench_serving of its wheel, through each of our APIs. SGLANG_WHEEL names the folder with the wheel's content.

SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import pathlib
import subprocess
import sys

import pytest

from kits.server import environment

HERE = pathlib.Path(__file__).resolve().parent
TINY = HERE.parent.parent / "goldens/models/smollm2"
REQUESTS = 12
TEXT_BACKENDS = ["sglang", "sglang-native", "sglang-oai", "sglang-oai-chat", "vllm", "vllm-chat"]
# The tiny model has no template of its own.
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


@pytest.fixture(scope="module")
def server(server_with, tmp_path_factory):
    template = tmp_path_factory.mktemp("template") / "plain.jinja"
    template.write_text(TEMPLATE)
    return server_with("--max-total-tokens", "4096", "--chat-template", str(template), "--enable-metrics", path=TINY)


def bench(server, backend, *flags, tmp_path, data=("--dataset-name", "random-ids", "--random-input-len", 20, "--random-output-len", 5,
                                                   "--random-range-ratio", 1)):
    """The line with the result. No --tokenizer and no --model: it asks the server, whose answer must be a folder with a tokenizer."""
    out = tmp_path / "result.jsonl"
    command = [sys.executable, HERE / "sglang_bench.py", os.environ["SGLANG_WHEEL"], "--backend", backend, "--port", server.port,
               "--num-prompts", REQUESTS, "--max-concurrency", 4, "--output-file", out, *data, *flags]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300,
                          env=environment({"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"}))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(out.read_text().splitlines()[-1])


@pytest.mark.parametrize("backend", TEXT_BACKENDS)
@pytest.mark.parametrize("flags", [(), ("--disable-stream",)])
def test_every_request_is_answered(server, backend, flags, tmp_path):
    result = bench(server, backend, *flags, tmp_path=tmp_path)
    assert result["completed"] == REQUESTS
    assert result["total_output_tokens"] == 5 * REQUESTS
    assert result["mean_e2e_latency_ms"] > 0 and (flags or result["mean_ttft_ms"] > 0)


def test_token_ids_log_probabilities_flush_and_profile(server, tmp_path):
    result = bench(server, "sglang", "--tokenize-prompt", "--return-logprob", "--flush-cache", "--profile", "--warmup-requests", 2,
                   "--profile-output-dir", tmp_path / "profile", tmp_path=tmp_path)
    assert result["completed"] == REQUESTS and result["total_input_tokens"] == 20 * REQUESTS
    assert list((tmp_path / "profile").rglob("*.json")), "no trace"


def test_shared_prefixes(server, tmp_path):
    data = ("--dataset-name", "generated-shared-prefix", "--gsp-num-groups", 3, "--gsp-prompts-per-group", 4, "--gsp-system-prompt-len", 48,
            "--gsp-question-len", 8, "--gsp-output-len", 4)
    result = bench(server, "sglang", tmp_path=tmp_path, data=data)
    assert result["completed"] == 12


def test_request_rate_and_headers(server, tmp_path):
    result = bench(server, "sglang-oai-chat", "--request-rate", 200, "--header", "x-request-id=bench", "--extra-request-body",
                   '{"top_p": 0.9, "seed": 3}', tmp_path=tmp_path)
    assert result["completed"] == REQUESTS


def test_embeddings(server_with, tmp_path):
    server = server_with("--max-total-tokens", "4096", "--is-embedding", path=TINY)
    assert bench(server, "sglang-embedding", tmp_path=tmp_path)["completed"] == REQUESTS

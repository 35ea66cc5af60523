# SPDX-License-Identifier: Apache-2.0
"""openvino-genai on a GGUF file: one JSON line per measurement. Called by bench_peers.py, in the environment that has openvino-genai.

usage: openvino_bench.py MODEL.gguf THREADS CASES       CASES: JSON list of {"work": ..., "batch": ..., "input": ..., "output": ...}
"""
import json
import sys
import time

import numpy as np
import openvino as ov
import openvino_genai as genai


def main():
    model, threads, cases = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = 2
    scheduler.max_num_batched_tokens = 2048
    scheduler.enable_prefix_caching = False
    pipe = genai.ContinuousBatchingPipeline(model, scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads})
    rng = np.random.default_rng(7)

    def tensor(count):
        return ov.Tensor(rng.integers(1000, 20000, (1, count), dtype=np.int64))

    def run(batch, length, tokens):
        """Seconds to the last first token, and from there to the end."""
        config = genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = tokens, True, False
        begin = time.perf_counter()
        handles = [pipe.add_request(i, tensor(length), config) for i in range(batch)]
        waiting, counts, first = set(range(batch)), [0] * batch, None
        decoded = 0
        while pipe.has_non_finished_requests():
            pipe.step()
            now = time.perf_counter()
            for i, handle in enumerate(handles):
                while handle.can_read():
                    got = sum(len(output.generated_ids) for output in handle.read().values())
                    counts[i] += got
                    decoded += got if first is not None else 0
                    waiting.discard(i)
            if first is None and not waiting:
                first = now
        return first - begin, time.perf_counter() - first, decoded

    run(1, 32, 4)
    for case in cases:
        prefill, decode, decoded = run(case["batch"], case["input"], case["output"])
        print(json.dumps({**case, "prefill": case["batch"] * case["input"] / prefill, "decode": decoded / decode if decoded else 0}), flush=True)


if __name__ == "__main__":
    main()

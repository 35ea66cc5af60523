#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a grammar costs a batch: tokens per second of requests that all follow one, over those of the same requests without. In turn, each
pair in the other order than the one before; the median of the ratios.

    python tools/constrained_throughput.py --url http://127.0.0.1:30000 [--batch 16] [--tokens 96] [--rounds 15]
"""
import argparse
import concurrent.futures
import json
import statistics
import time
import urllib.request

PERSON = {"type": "object", "additionalProperties": False, "required": ["name", "age", "tags", "score"],
          "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 120},
                         "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}}, "score": {"type": "number"}}}
SCHEMA = {"type": "array", "minItems": 1000, "items": PERSON}  # no answer ends before its length


def generate(url, number, tokens, constrained):
    sampling = {"max_new_tokens": tokens, "temperature": 0.8, "sampling_seed": number, "ignore_eos": True}
    if constrained:
        sampling["json_schema"] = json.dumps(SCHEMA)
    body = json.dumps({"text": f"List number {number} of people as JSON:", "sampling_params": sampling}).encode()
    request = urllib.request.Request(url + "/generate", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        got = json.load(reply)["meta_info"]["completion_tokens"]
    assert got == tokens, f"{got} tokens instead of {tokens}"


def rate(pool, args, constrained):
    begin = time.monotonic()
    for done in [pool.submit(generate, args.url, i, args.tokens, constrained) for i in range(args.batch)]:
        done.result()
    return args.batch * args.tokens / (time.monotonic() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    ratios = []
    with concurrent.futures.ThreadPoolExecutor(args.batch) as pool:
        for constrained in (True, False):  # grammars compiled, prompts in the prefix cache
            rate(pool, args, constrained)
        for number in range(args.rounds):
            rates = {constrained: rate(pool, args, constrained) for constrained in ((False, True), (True, False))[number % 2]}
            ratios.append(rates[True] / rates[False])
            print(f"free {rates[False]:.0f} tokens/s, constrained {rates[True]:.0f}, ratio {ratios[-1]:.3f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.3f} of {len(ratios)}, quartiles "
          f"{' to '.join(f'{q:.3f}' for q in statistics.quantiles(ratios, n=4)[::2])}")


if __name__ == "__main__":
    main()

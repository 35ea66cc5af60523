#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`sglang bench` and llama.cpp in turn on the same file, threads and lengths: medians, and the median of the ratios.

    npm install --ignore-scripts node-llama-cpp@3.22.1      # in a folder of your own
    python tools/bench_peers.py MODEL.gguf --node-folder FOLDER [--rounds 5] [--input-len 512] [--output-len 32] [--threads 2]
"""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess

TOOLS = pathlib.Path(__file__).resolve().parent


def last_json(command, **options):
    out = subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout
    return json.loads([line for line in out.splitlines() if line.startswith("{")][-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--node-folder", required=True, help="where node_modules with node-llama-cpp is")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--input-len", type=int, default=512)
    parser.add_argument("--output-len", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    folder = pathlib.Path(a.node_folder)
    shutil.copy(TOOLS / "peers/llama_cpp.mjs", folder / "llama_cpp.mjs")
    model = str(pathlib.Path(a.model).resolve())
    sizes = [str(a.input_len), str(a.output_len)]
    ours_command = [str(TOOLS.parent / "build/release/sglang"), "bench", "--model-path", model, "--batch-size", "1", "--input-len", sizes[0],
                    "--output-len", sizes[1], "--threads", str(a.threads), "--json"]
    theirs_command = ["node", "llama_cpp.mjs", model, *sizes, str(a.threads)]
    pairs = []
    for _ in range(a.rounds):
        ours, theirs = last_json(ours_command), last_json(theirs_command, cwd=folder)
        pairs.append((ours["prefill_throughput"], theirs["prefill"], ours["decode_throughput"], theirs["decode"]))
        print("prefill %.0f : %.0f   decode %.1f : %.1f tokens/s" % pairs[-1], flush=True)
    for name, at in (("prefill", 0), ("decode", 2)):
        ours, theirs = [p[at] for p in pairs], [p[at + 1] for p in pairs]
        ratio = statistics.median(x / y for x, y in zip(ours, theirs))
        print(f"{name}: ours {statistics.median(ours):.1f}, llama.cpp {statistics.median(theirs):.1f} tokens/s, median of ratios {ratio:.2f}")


if __name__ == "__main__":
    main()

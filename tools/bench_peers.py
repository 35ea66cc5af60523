#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`sglang bench` and other engines in turn (A B A B) on the same file, threads and lengths: medians, and the median of the ratios.

    python tools/bench_peers.py setup FOLDER                       # installs and builds the peers there, once
    python tools/bench_peers.py run FOLDER MODEL.gguf [--works prefill,decode] [--peers llama.cpp,openvino] [--rounds 5] [--threads 2]
    python tools/bench_peers.py serve FOLDER MODEL.gguf            # 32 requests with a common prefix over HTTP, both servers

Works: prefill (512 and 2048 tokens), decode (batch 1, context 256), batch (8, 16, 32 and 64 at context 256), long (batch 1, context 8192).
llama.cpp is the release inside the npm package node-llama-cpp: its prebuilt libraries, driven by its own llama-bench,
llama-batched-bench and llama-server, which setup compiles from the sources that the package carries. It gets huge pages through glibc
(GLIBC_TUNABLES=glibc.malloc.hugetlb=1) with its own mapping of the file off, as we ask for them ourselves. --isa avx2|avx512 gives it the
variant of that instruction set and forces our table of that name. openvino-genai comes from PyPI and reads the GGUF file itself.
--wrapper COMMAND is put in front of every measured program, e.g. one that gives it a quiet machine. See tools/make_bench_models.py for
files to measure with.
"""
import argparse
import json
import os
import pathlib
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TOOLS = pathlib.Path(__file__).resolve().parent
SGLANG = TOOLS.parent / "build/release/sglang"
LIBRARIES = "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"
CPU_LIBRARY = {"": "sapphirerapids", "avx512": "icelake", "avx2": "haswell"}
OUR_ISA = {"avx512": "avx512", "avx2": "avx2"}
WORKS = {"prefill": [(1, 512, 1), (1, 2048, 1)], "decode": [(1, 256, 64)], "batch": [(b, 256, 32) for b in (8, 16, 32, 64)],
         "long": [(1, 8192, 16)]}


def setup(folder):
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "node-llama-cpp@3.22.1"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "python"], check=True)
    subprocess.run([folder / "python/bin/pip", "install", "-q", "openvino-genai==2026.4.1.0", "gguf==0.19.0"], check=True)
    source, libraries = folder / "llama.cpp", folder / LIBRARIES
    if not source.exists():
        subprocess.run(["git", "clone", "-q", folder / "node_modules/node-llama-cpp/llama/gitRelease.bundle", source], check=True)
    (folder / "bin").mkdir(exist_ok=True)
    objects = folder / "objects"
    objects.mkdir(exist_ok=True)
    for name in ("ui.h", "ui.cpp"):  # the server without its web page
        text = (source / f"tools/ui/{name}.in").read_text()
        for mark, value in (("@N_ASSETS@", "0"), ("@ASSET_ARRAYS@", ""), ("@ASSET_TABLE@", ""), ("@USE_GZIP@", "false")):
            text = text.replace(mark, value)
        (objects / name).write_text("\n".join(line for line in text.splitlines() if not line.startswith("#cmakedefine")))
    includes = [f"-I{source / p}" for p in ("include", "ggml/include", "common", "src", "vendor", "tools/mtmd", "tools/mtmd/models",
                                            "tools/server", "vendor/hash", "")] + [f"-I{objects}"]
    link = [libraries / "libllama-common.so", libraries / "libllama.v0.5.0.so", libraries / "libggml.v0.5.0.so",
            libraries / "libggml-base.so", f"-Wl,-rpath,{libraries}", "-Wl,--allow-shlib-undefined", "-lpthread"]

    def program(name, sources):
        compiled = []
        for path in sources:
            compiled.append(objects / f"{name}-{path.parent.name}-{path.stem}.o")
            if not compiled[-1].exists():
                compiler = ["gcc"] if path.suffix == ".c" else ["g++", "-std=c++17"]
                subprocess.run([*compiler, "-O2", "-DNDEBUG", "-w", *includes, "-c", path, "-o", compiled[-1]], check=True)
        subprocess.run(["g++", *compiled, "-o", folder / "bin" / name, *link], check=True)

    tools = source / "tools"
    program("llama-bench", sorted((tools / "llama-bench").glob("*.cpp")))
    program("llama-batched-bench", sorted((tools / "batched-bench").glob("*.cpp")))
    mtmd = [p for p in sorted((tools / "mtmd").glob("*.cpp")) if p.stem not in ("mtmd-cli", "deprecation-warning")]
    program("llama-server", [*sorted((tools / "server").glob("*.cpp")), *mtmd, *sorted((tools / "mtmd/models").glob("*.cpp")),
                             *sorted((source / "vendor/cpp-httplib").glob("*.cpp")), source / "vendor/hash/hash.cpp",
                             source / "vendor/hash/sha256/sha256.c", objects / "ui.cpp"])


class Peers:
    """Runs one case of one engine and gives its tokens per second: (prefill, decode)."""

    def __init__(self, a):
        self.a, self.folder, self.model = a, a.folder.resolve(), str(pathlib.Path(a.model).resolve())
        self.wrapper = shlex.split(a.wrapper)
        # Only the wanted variant of llama.cpp's CPU code lies where it looks for it: the working directory.
        self.scratch = tempfile.TemporaryDirectory()
        for library in (self.folder / LIBRARIES).iterdir():
            if not library.name.startswith("libggml-cpu-") or library.name == f"libggml-cpu-{CPU_LIBRARY[a.isa]}.so":
                os.symlink(library, pathlib.Path(self.scratch.name) / library.name)
        self.llama_env = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
        self.our_env = {**os.environ, **({"SGLANG_CPU_ISA": OUR_ISA[a.isa]} if a.isa else {})}

    def rows(self, command, **options):
        done = subprocess.run([*self.wrapper, *map(str, command)], capture_output=True, text=True, **options)
        if done.returncode != 0:
            sys.exit(f"{shlex.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def sglang(self, cases):
        # Cases of one work share lengths, so they are one call; the list options are combined.
        batches, inputs = sorted({c[0] for c in cases}), sorted({c[1] for c in cases})
        rows = self.rows([SGLANG, "bench", "--model-path", self.model, "--threads", self.a.threads, "--json", "--skip-roofs", "--batch-size",
                          *batches, "--input-len", *inputs, "--output-len", cases[0][2], *shlex.split(self.a.our_flags)], env=self.our_env)
        found = {(r["batch_size"], r["input_len"]): (r["prefill_tokens_per_s"], r["decode_tokens_per_s"]) for r in rows if "batch_size" in r}
        return [found[c[:2]] for c in cases]

    def llama_cpp(self, cases):
        common = ["-m", self.model, "-t", self.a.threads, "-fa", "on", "-lm", "none"]
        where = {"env": self.llama_env, "cwd": self.scratch.name}
        out = []
        singles = [c for c in cases if c[0] == 1]
        for _, length, tokens in singles:
            tests = ["-p", length, "-n", 0] if tokens == 1 else ["-p", 0, "-n", tokens, "-d", length]
            row = self.rows([self.folder / "bin/llama-bench", *common, "-r", 1, "-o", "jsonl", *tests], **where)[-1]
            out.append((row["avg_ts"], 0) if tokens == 1 else (0, row["avg_ts"]))
        batched = [c for c in cases if c[0] > 1]
        if batched:
            _, length, tokens = batched[0]
            context = max(c[0] for c in batched) * (length + tokens)
            rows = self.rows([self.folder / "bin/llama-batched-bench", *common, "-c", context, "-b", 2048, "-ub", 512, "-npp", length, "-ntg",
                              tokens, "-npl", ",".join(str(c[0]) for c in batched), "--output-format", "jsonl"], **where)
            found = {row["pl"]: (row["speed_pp"], row["speed_tg"]) for row in rows if "pl" in row}
            out += [found[c[0]] for c in batched]
        return out

    def openvino(self, cases):
        listed = json.dumps([{"batch": b, "input": i, "output": o} for b, i, o in cases])
        rows = self.rows([self.folder / "python/bin/python", TOOLS / "peers/openvino_bench.py", self.model, self.a.threads, listed],
                         env=self.llama_env)
        return [(row["prefill"], row["decode"]) for row in rows]


def compare(a):
    peers = Peers(a)
    engines = {"llama.cpp": peers.llama_cpp, "openvino": peers.openvino}
    wanted = a.peers.split(",")
    print(f"{pathlib.Path(a.model).name}, {a.threads} threads, {a.rounds} rounds{', ' + a.isa if a.isa else ''}")
    for work in a.works.split(","):
        cases, at = WORKS[work], 0 if work == "prefill" else 1
        ours, theirs = [], {name: [] for name in wanted}
        for _ in range(a.rounds):
            for name in wanted:
                ours.append(peers.sglang(cases))
                theirs[name].append((engines[name](cases), ours[-1]))
        for i, (batch, length, tokens) in enumerate(cases):
            line = f"{work:<8} batch {batch:<3} prompt {length:<5} ours {statistics.median(o[i][at] for o in ours):9.1f} tokens/s"
            for name in wanted:
                speed = statistics.median(t[i][at] for t, _ in theirs[name])
                ratio = statistics.median(o[i][at] / t[i][at] for t, o in theirs[name])
                line += f"   {name} {speed:9.1f}, ratio {ratio:5.2f}"
            print(line, flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(a):
    """The same load generator against both servers, a fresh server each round."""
    peers = Peers(a)
    load = [SGLANG, "bench", "serve", "--tokenizer", peers.model, "--dataset-name", "generated-shared-prefix", "--gsp-num-groups", "1",
            "--gsp-prompts-per-group", "32", "--gsp-system-prompt-len", "1024", "--gsp-question-len", "32", "--gsp-output-len", "64",
            "--tokenize-prompt", "--backend", "openai", "--json", "--warmup-requests", "0"]

    def measure(command, port, **options):
        server = subprocess.Popen([*peers.wrapper, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        try:
            time.sleep(1)
            done = subprocess.run([*map(str, load), "--port", str(port)], capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"the load failed:\n{done.stderr[-2000:]}")
            return json.loads(done.stdout.splitlines()[-1])
        finally:
            server.terminate()
            server.wait()

    rounds = []
    for _ in range(a.rounds):
        port = free_port()
        ours = measure([SGLANG, "serve", "--model-path", peers.model, "--threads", a.threads, "--port", port, *shlex.split(a.our_flags)], port,
                       env=peers.our_env)
        port = free_port()
        theirs = measure([peers.folder / "bin/llama-server", "-m", peers.model, "-t", a.threads, "--port", port, "-np", a.slots, "-fa", "on",
                          "-c", 1152 * int(a.slots), "-lm", "none", *shlex.split(a.llama_flags)], port, env=peers.llama_env,
                         cwd=peers.scratch.name)
        rounds.append((ours, theirs))
        print("requests/s %.2f : %.2f" % (ours["request_throughput"], theirs["request_throughput"]), flush=True)
    for key in ("request_throughput", "output_throughput", "median_ttft_ms", "median_itl_ms"):
        values = [[r[side][key] for r in rounds] for side in (0, 1)]
        print(f"{key}: ours {statistics.median(values[0]):.2f}, llama-server {statistics.median(values[1]):.2f}, "
              f"median of ratios {statistics.median(x / y for x, y in zip(*values)):.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["setup", "run", "serve"])
    parser.add_argument("folder", type=pathlib.Path, help="where the peers are")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--works", default="prefill,decode")
    parser.add_argument("--peers", default="llama.cpp")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", choices=list(CPU_LIBRARY), default="")
    parser.add_argument("--wrapper", default="", help="a command in front of every measured program")
    parser.add_argument("--our-flags", default="", help="further flags for sglang")
    parser.add_argument("--llama-flags", default="", help="serve: further flags for llama-server")
    parser.add_argument("--slots", default="32", help="serve: requests that llama-server works on at once")
    a = parser.parse_args()
    if a.command == "setup":
        return setup(a.folder)
    if a.model is None or shutil.which(str(SGLANG)) is None:
        sys.exit(f"needs a model and {SGLANG}")
    return compare(a) if a.command == "run" else serve(a)


if __name__ == "__main__":
    main()

"""Runs SGLang's bench_serving as it is in its wheel, which is installed without its dependencies: the packages on the way to it are entered
without their own start-up code, and the few modules that would need torch are replaced by what the benchmark takes from them.

  python sglang_bench.py FOLDER [bench_serving's arguments]     FOLDER has the wheel's content

SPDX-License-Identifier: Apache-2.0
"""
import pathlib
import runpy
import sys
import types

# Packages that are only the way to others.
WAYS = ("sglang", "sglang.srt", "sglang.srt.disaggregation", "sglang.srt.utils")


def module(name, **members):
    made = types.ModuleType(name)
    made.__dict__.update(members)
    sys.modules[name] = made
    return made


def not_here(*_, **__):
    raise RuntimeError("this benchmark's data set is not for tests")


def main():
    folder = pathlib.Path(sys.argv[1])
    for name in WAYS:
        module(name).__path__ = [str(folder.joinpath(*name.split(".")))]
    module("sglang.srt.disaggregation.utils", FAKE_BOOTSTRAP_HOST="2.2.2.2")  # for --fake-prefill
    module("datasets", load_dataset=not_here)
    sys.argv[:2] = ["bench_serving"]
    runpy.run_module("sglang.benchmark.serving", run_name="__main__", alter_sys=True)


main()

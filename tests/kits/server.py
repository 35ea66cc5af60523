"""One `sglang serve` process: a free port, a log file, readiness, an orderly or a brutal end.

SPDX-License-Identifier: Apache-2.0
"""
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import time

import httpx

READY_SECONDS = 180.0  # a slow disk, a busy machine
STOP_SECONDS = 60.0
PORT_TRIES = 5
TAIL_LINES = 40
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LIBC = ctypes.CDLL(None)


class ServerDied(Exception):
    pass


def die_with_parent():
    """In the child: a test run that is killed leaves no server behind."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def environment(extra=None):
    """Ours for a process of the product, without the variables that only tests know."""
    return {**{name: value for name, value in os.environ.items() if name not in ("SGLANG_BINARY", "SGLANG_TEST_MODEL")}, **(extra or {})}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what, seconds=60.0, period=0.02):
    """The first true value of `condition()`; AssertionError when the deadline passes."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(period)


class Server:
    """Started by the constructor; `wait_ready` before use. `flags` are appended to the command line, `env` to the environment."""

    def __init__(self, binary, model, log_path, flags=(), env=None, port=None):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.model = str(model)
        self.log_path = pathlib.Path(log_path)
        command = [str(binary), "serve", "--model-path", self.model, "--host", "127.0.0.1", "--port", str(self.port), *flags]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                            preexec_fn=die_with_parent, env=environment(env))

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def tail(self):
        return "\n".join(self.log().splitlines()[-TAIL_LINES:])

    def wait_ready(self, seconds=READY_SECONDS):
        """/health_generate says 200. ServerDied if the process ends first."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise ServerDied(f"exit code {self.process.returncode}; its log ends with\n{self.tail()}")
            try:
                if httpx.get(self.url + "/health_generate", timeout=10).status_code == 200:
                    return self
            except httpx.TransportError:
                pass  # not listening yet
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                pass
        raise AssertionError(f"not ready within {seconds} s; the log ends with\n{self.tail()}")

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        """SIGKILL for the whole process group; also reaps."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return self.process.wait(STOP_SECONDS)

    def stop(self, seconds=STOP_SECONDS):
        """SIGTERM, then the exit code; whatever is left of the group is killed in any case."""
        try:
            if self.process.poll() is None:
                self.terminate()
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {seconds} s after SIGTERM; the log ends with\n{self.tail()}") from None
        finally:
            self.kill()


def start_server(binary, model, log_path, flags=(), env=None):
    """A ready server on a port of its own. Another process may take the free port first: then another port is tried."""
    for attempt in range(PORT_TRIES):
        server = Server(binary, model, log_path, flags, env)
        try:
            return server.wait_ready()
        except ServerDied:
            if "address already in use" not in server.log().lower() or attempt + 1 == PORT_TRIES:
                raise
            server.log_path.write_text("")
        except BaseException:
            server.kill()
            raise
    raise AssertionError("unreachable")

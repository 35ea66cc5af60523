"""A server without a model that keeps the rules, or breaks one: what proves that a kit would notice.

SPDX-License-Identifier: Apache-2.0
"""
import contextlib
import http.server
import json
import os
import threading
import time

FAULTS = ("abort-is-deaf", "abort-forgets-meta", "two-finals", "no-done", "waits-for-ever", "runs-for-ever", "second-wave-runs",
          "leaks-on-disconnect", "wrong-count", "logprobs-short", "accepts-nonsense", "says-500", "says-nothing", "hangs-up",
          "neighbours-change-answers", "loses-a-token", "aborts-others", "leaks-descriptors")
TOKEN_SECONDS = 0.002


class Engine:
    """Counts what runs and waits; a request takes a slot, then a token every two milliseconds."""

    def __init__(self, slots, waiting_timeout, running_timeout, fault):
        self.slots, self.waiting_timeout, self.running_timeout, self.fault = slots, waiting_timeout, running_timeout, fault
        self.lock = threading.Condition()
        self.running = self.waiting = self.epoch = self.timeouts = 0
        self.aborted, self.leaked = set(), []

    def tokens(self, count, rid=None):
        """Yields ("token", i), at last ("end", finish_reason); closing it early gives the slot back."""
        begin, epoch, leaked, refused = time.monotonic(), self.epoch, False, None
        with self.lock:
            self.waiting += 1
            while self.running >= self.slots and refused is None:
                self.lock.wait(0.01)
                if self.epoch != epoch:
                    refused = {"type": "abort", "message": "Abort in waiting queue"}
                elif self.waiting_timeout and time.monotonic() - begin > self.waiting_timeout and self.fault != "waits-for-ever":
                    refused = timed_out("Request waiting timeout reached.")
            self.waiting -= 1
            self.running += refused is None
        if refused is not None:
            yield "end", refused
            return
        began = time.monotonic()
        try:
            for i in range(count):
                time.sleep(TOKEN_SECONDS)
                if self.epoch != epoch or rid in self.aborted:
                    yield "end", {"type": "abort", "message": "Aborted", "status_code": None, "err_type": None}
                    return
                late = self.running_timeout and time.monotonic() - began > self.running_timeout and self.fault != "runs-for-ever"
                if late and not (self.fault == "second-wave-runs" and self.timeouts >= 6):
                    self.timeouts += 1
                    yield "end", timed_out("Request running timeout reached.")
                    return
                yield "token", i + (self.fault == "neighbours-change-answers" and self.running > 4)
            yield "end", {"type": "length", "length": count}
        except GeneratorExit:
            leaked = self.fault == "leaks-on-disconnect"
            raise
        finally:
            if not leaked:
                with self.lock:
                    self.running -= 1
                    self.lock.notify_all()

    def abort(self, body):
        if self.fault == "abort-is-deaf":
            return
        if "rid" in body and self.fault != "aborts-others":
            self.aborted.add(body["rid"])
        else:
            self.epoch += 1


def timed_out(message):
    return {"type": "abort", "message": message, "status_code": 503, "err_type": None}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    @property
    def engine(self):
        return self.server.engine

    def send(self, status, body):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        engine = self.engine
        if self.path == "/v1/loads":
            counts = {"total_running_reqs": engine.running, "total_waiting_reqs": engine.waiting, "total_used_tokens": 0}
            self.send(200, {"aggregate": counts})
        elif self.path == "/get_load":
            self.send(200, [{"num_reqs": engine.running + engine.waiting, "num_waiting_reqs": engine.waiting}])
        elif self.path == "/openapi.json":
            schema = {"properties": {"stream": {"type": "boolean"}, "text": {"type": "string"}}}
            body = {"content": {"application/json": {"schema": schema}}}
            self.send(200, {"paths": {"/generate": {"post": {"requestBody": body}}}})
        else:
            self.send(404, {"object": "error", "message": "Not Found", "code": 404})

    def do_POST(self):
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/abort_request":
            self.engine.abort(json.loads(content))
            return self.send(200, "")
        if self.path.startswith("/flush_cache"):
            return self.send(200, "Cache flushed.")
        try:
            body = json.loads(content)
            wrong = next((name for name, kind in (("text", str), ("stream", bool)) if not isinstance(body.get(name, kind()), kind)), "")
        except (ValueError, AttributeError, RecursionError):
            body, wrong = {}, "body"
        fault = self.engine.fault
        if wrong and fault == "hangs-up":
            self.close_connection = True
            return None
        if wrong and fault != "accepts-nonsense":
            return self.send(500 if fault == "says-500" else 400, {"error": {"message": "bad" if fault == "says-nothing" else f"{wrong}: bad"}})
        return self.generate(body if isinstance(body, dict) else {})

    def answer(self, body, ids, reason, begin):
        meta = {"id": body.get("rid", "r"), "finish_reason": reason, "prompt_tokens": 5, "completion_tokens": len(ids), "cached_tokens": 0,
                "weight_version": "default"}
        if reason:
            meta["e2e_latency"] = time.monotonic() - begin
        if body.get("return_logprob"):
            meta["output_token_logprobs"] = [[-1.0, i, None] for i in ids]
        if self.engine.fault == "logprobs-short":
            meta["output_token_logprobs"] = []
        if self.engine.fault == "abort-forgets-meta" and reason and reason["type"] == "abort":
            del meta["prompt_tokens"]
        if self.engine.fault == "wrong-count":
            meta["completion_tokens"] += 1
        return {"text": " ".join(map(str, ids)), "output_ids": list(ids), "meta_info": meta}

    def generate(self, body):
        begin, ids, stream = time.monotonic(), [], body.get("stream", False)
        if stream:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
        with contextlib.closing(self.engine.tokens(body.get("sampling_params", {}).get("max_new_tokens", 1), body.get("rid"))) as steps:
            for kind, value in steps:
                reason = value if kind == "end" else None
                if self.engine.fault == "loses-a-token" and value == 3 and self.engine.running > 4:
                    continue
                if kind == "token":
                    ids.append(value)
                    if not stream:
                        self.connection.settimeout(0)
                        try:
                            gone = self.connection.recv(1, 2) == b""  # MSG_PEEK
                        except OSError:
                            gone = False
                        self.connection.settimeout(None)
                        if gone:
                            return
                if stream and (reason or len(ids) % 100 == 1):
                    try:
                        for _ in range(2 if reason and self.engine.fault == "two-finals" else 1):
                            self.wfile.write(b"data: " + json.dumps(self.answer(body, ids, reason, begin)).encode() + b"\n\n")
                    except OSError:
                        return
                elif reason and not stream:
                    code = reason.get("status_code")
                    self.send(code or 200, {"message": reason["message"]} if code else self.answer(body, ids, reason, begin))
        if self.engine.fault == "leaks-descriptors":
            self.engine.leaked.append(open(os.devnull))
        if stream and self.engine.fault != "no-done":
            self.wfile.write(b"data: [DONE]\n\n")


@contextlib.contextmanager
def server(slots=64, waiting_timeout=0.0, running_timeout=0.0, fault=""):
    """The URL of a fake server that breaks the rule `fault`; "" for none."""
    assert fault in ("", *FAULTS)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as fake:
        fake.daemon_threads = True
        fake.engine = Engine(slots, waiting_timeout, running_timeout, fault)
        threading.Thread(target=fake.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{fake.server_address[1]}"
        finally:
            fake.engine.slots = 10**6
            fake.engine.epoch += 1
            fake.shutdown()

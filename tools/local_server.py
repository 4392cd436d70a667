"""`flashmoe serve` on a free port, for the scripts that check and measure it.

Needs nothing but the standard library; who wants the official clients makes them from `url`.
"""
import contextlib
import http.client
import json
import os
import subprocess
import time

KEY = "a-key"


class Refused(Exception):
    """An answer with another status than 200, and what it said."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text[:300]}")
        self.status, self.text = status, text


class LocalServer:
    """A server that runs as long as the `with` block, and must then stop cleanly."""

    def __init__(self, program, model, *options):
        self.process = subprocess.Popen(
            [program, "serve", model, "--port", "0", "--api-key", KEY, *options],
            stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on http://127.0.0.1:"):
            raise RuntimeError(f"the server did not start: {line!r}")
        self.url = line.split()[-1]
        self.host, port = self.url.removeprefix("http://").split(":")
        self.port = int(port)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.kill()

    def connect(self, timeout=60):
        return contextlib.closing(http.client.HTTPConnection(self.host, self.port, timeout=timeout))

    def request(self, method, path, body=None, timeout=60):
        """(status, headers, bytes)"""
        with self.connect(timeout) as connection:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"x-api-key": KEY})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def get(self, path):
        status, _, text = self.request("GET", path)
        if status != 200:
            raise Refused(status, text.decode(errors="replace"))
        return json.loads(text)

    def post(self, path, body, timeout=600):
        """(status, the answer's JSON)"""
        status, _, text = self.request("POST", path, body, timeout)
        return status, json.loads(text)

    def events(self, path, body, timeout=600):
        """Yields (seconds since the request, an event's JSON) while they come."""
        begin = time.monotonic()
        with self.connect(timeout) as connection:
            connection.request("POST", path, json.dumps({**body, "stream": True}),
                               {"x-api-key": KEY})
            answer = connection.getresponse()
            if answer.status != 200:
                raise Refused(answer.status, answer.read().decode(errors="replace"))
            for line in answer:
                if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
                    yield time.monotonic() - begin, json.loads(line[6:])

    def wait_until_idle(self, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            stats = self.get("/stats")
            queue = stats["queue"]
            if queue["waiting"] + queue["prompting"] + queue["answering"] == 0:
                return stats
            time.sleep(0.05)
        raise AssertionError(f"something still runs: {stats['queue']} {stats['sessions']}")

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        self.process.terminate()
        code = self.process.wait(timeout=30)
        assert code == 0, f"the server ended with {code}"

    def kill(self):
        self.process.kill()
        self.process.wait()

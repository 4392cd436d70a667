#!/usr/bin/env python3
"""Mixed traffic, good and bad, against `flashmoe serve` for a while: does anything leak or hang?

    python3 tools/soak_server.py build/release/flashmoe [--requests 10000] [--minutes 20]

Requests begin at an even pace, whether or not earlier ones are
done: chats of all APIs, streamed and not, with tools and schemas, long prompts, conversations that go
on, slow readers, clients that go away before and while they are answered, requests that are refused,
bodies over the limit, garbage, and connections that fall silent. Another process asks for /health
ten times a second, each time on a new connection, and in turn asks a process that does nothing but
answer: what is late there too is the machine's. So is what is late while the machine beneath a virtual one
takes its processors away, which Linux counts.

Prints a line for each kind, the resident memory by the minute, and the percentiles of /health and of the
idle process, with the worst of both. Exit code 0 when every answer was one that its kind allows, nothing
ran or hung at the end, the memory of the last fifth is within 3 % of the second fifth's, and /health was
never over its limit, but where half of that time or more was taken by the machine beneath.
"""
import argparse
import collections
import json
import multiprocessing
import os
import queue
import random
import socket
import sys
import threading
import time

from local_server import KEY, LocalServer

MAX_BODY = 1 << 20
ADD = {"type": "function", "function": {
    "name": "add", "description": "Adds two numbers.",
    "parameters": {"type": "object", "required": ["a", "b"], "additionalProperties": False,
                   "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}}}
PERSON = {"type": "object", "required": ["name", "age"], "additionalProperties": False,
          "properties": {"name": {"type": "string", "maxLength": 20},
                         "age": {"type": "integer", "minimum": 0, "maximum": 120}}}
CHAT = "/v1/chat/completions"


def user(text):
    return [{"role": "user", "content": text}]


class Traffic:
    """Each method but `post` and `raw` is a kind of request: raises if the answer is a wrong one."""

    def __init__(self, server, seed):
        self.server = server
        self.rng = random.Random(seed)
        self.lock = threading.Lock()
        self.conversations = []

    def pick(self, low, high):
        with self.lock:
            return self.rng.randint(low, high)

    def question(self):
        a, b = self.pick(0, 99), self.pick(0, 99)
        return ["What is the capital of France?", f"What is {a} plus {b}?", "Tell me a story.",
                "Explain the tides.", f"Hello {a}, I am {b}."][self.pick(0, 4)]

    def chat_body(self, **more):
        return {"messages": user(self.question()), "max_tokens": self.pick(1, 60),
                "seed": self.pick(0, 10**6), **more}

    def post(self, path, body, allowed=(200,)):
        status, answer = self.server.post(path, body, timeout=120)
        assert status in allowed, (status, answer)
        return answer

    def stream(self, path, body):
        events = [event for _, event in self.server.events(path, body, timeout=120)]
        assert events and "error" not in events[-1], events[-1:]
        return events

    def raw(self, data, reads=True, timeout=60):
        """Sends bytes; what comes back until the server closes."""
        with socket.create_connection((self.server.host, self.server.port), timeout=timeout) as s:
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                back = b""
                while reads and (got := s.recv(65536)):
                    back += got
                return back
            except (ConnectionError, BrokenPipeError):
                return b""  # it would not hear the rest

    def head(self, body_bytes):
        return (f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {KEY}\r\n"
                f"connection: close\r\ncontent-length: {body_bytes}\r\n\r\n").encode()

    # --- good ones ---

    def chat(self):
        answer = self.post(CHAT, self.chat_body())
        assert answer["choices"][0]["finish_reason"] in ("stop", "length")

    def chat_streamed(self):
        events = self.stream(CHAT, self.chat_body())
        assert events[-1]["choices"][0]["finish_reason"] in ("stop", "length")

    def chat_of_three(self):
        answer = self.post(CHAT, self.chat_body(n=3, logprobs=True, top_logprobs=2))
        assert len(answer["choices"]) == 3

    def conversation(self):
        with self.lock:
            old = self.rng.random() < 0.8 and self.conversations
            messages = self.conversations.pop(self.rng.randrange(len(old))) if old else []
        messages = messages + user(self.question())
        answer = self.post(CHAT, {"messages": messages, "max_tokens": 40})
        messages.append(answer["choices"][0]["message"])
        with self.lock:
            if len(messages) < 20:
                self.conversations.append(messages)

    def long_prompt(self):
        story = " ".join(f"{self.pick(0, 99)} apples lie here." for _ in range(self.pick(50, 200)))
        self.post(CHAT, {"messages": user(story), "max_tokens": 5})

    def schema(self):
        answer = self.post(CHAT, self.chat_body(max_tokens=80, temperature=1, response_format={
            "type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}))
        person = json.loads(answer["choices"][0]["message"]["content"])
        assert set(person) == {"name", "age"} and 0 <= person["age"] <= 120, person

    def tools(self):
        answer = self.post(CHAT, self.chat_body(max_tokens=100, tools=[ADD],
                                                tool_choice="required"))
        for call in answer["choices"][0]["message"]["tool_calls"]:
            assert set(json.loads(call["function"]["arguments"])) == {"a", "b"}

    def tools_streamed(self):
        self.stream(CHAT, self.chat_body(max_tokens=100, tools=[ADD]))

    def messages(self):
        answer = self.post("/v1/messages", self.chat_body())
        assert answer["stop_reason"] in ("end_turn", "max_tokens")

    def messages_streamed(self):
        assert self.stream("/v1/messages", self.chat_body())[-1]["type"] == "message_stop"

    def responses_streamed(self):
        events = self.stream("/v1/responses", {"input": self.question(), "max_output_tokens": 30})
        assert events[-1]["type"] in ("response.completed", "response.incomplete"), events[-1]

    def completions(self):
        self.post("/v1/completions", {"prompt": ["Once upon", "One day"], "max_tokens": 8})

    def looks(self):
        for path in ("/stats", "/stats/experts", "/v1/models", "/openapi.json"):
            self.server.get(path)
        assert self.server.request("GET", "/metrics")[0] == 200

    # --- bad ones ---

    def slow_reader(self):
        """Takes its stream a few bytes at a time."""
        body = json.dumps(self.chat_body(stream=True, max_tokens=60)).encode()
        with socket.create_connection((self.server.host, self.server.port), timeout=60) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(self.head(len(body)) + body)
            end = time.monotonic() + 8
            while time.monotonic() < end and s.recv(64):
                time.sleep(0.02)

    def leaves_a_stream(self):
        for i, _ in enumerate(self.server.events(CHAT, self.chat_body(max_tokens=500))):
            if i == 3:
                return

    def leaves_while_it_waits(self):
        body = json.dumps(self.chat_body(max_tokens=2000, logit_bias={"4088": -100})).encode()
        with socket.create_connection((self.server.host, self.server.port), timeout=60) as s:
            s.sendall(self.head(len(body)) + body)
            time.sleep(self.pick(0, 300) / 1000)

    def breaks_off(self):
        """The body ends too early."""
        self.raw(self.head(1000) + b'{"messages": [', reads=self.pick(0, 1) == 1)

    def garbage(self):
        noise = os.urandom(self.pick(1, 3000))
        head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\n".encode()
        back = self.raw([noise, head + noise, head + b"transfer-encoding: chunked\r\n\r\n" + noise,
                         b"GET /" + noise][self.pick(0, 3)])
        assert not back or back.split()[1][:1] == b"4", back[:200]

    def oversize(self):
        if self.pick(0, 1):
            back = self.raw(self.head(MAX_BODY * 40) + b"x" * 1000)
        else:
            pieces = b"10000\r\n" + b"x" * 65536 + b"\r\n"
            head = (f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {KEY}\r\n"
                    "transfer-encoding: chunked\r\n\r\n")
            back = self.raw(head.encode() + pieces * (2 * MAX_BODY // 65536))
        assert not back or b" 413 " in back.split(b"\r\n")[0], back[:200]

    def refused(self):
        bodies = [{"messages": []}, {"messages": user("a"), "temperature": 9},
                  {"messages": user("word " * 9000)}, {"messages": user("a"), "max_tokens": 2,
                   "response_format": {"type": "json_schema",
                                       "json_schema": {"name": "p", "schema": PERSON}}},
                  {"messages": [{"role": "tool", "content": {}}]}, []]
        self.post(CHAT, bodies[self.pick(0, len(bodies) - 1)], (400,))

    def nothing_there(self):
        assert self.server.request("GET", f"/{self.pick(0, 99)}")[0] == 404
        assert self.server.request("GET", CHAT)[0] == 405

    def falls_silent(self):
        """The head never ends; the server hangs up in time."""
        with socket.create_connection((self.server.host, self.server.port), timeout=90) as s:
            s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: loc")
            while s.recv(4096):
                pass


# How many of 100 requests.
MIX = {"chat": 14, "chat_streamed": 14, "chat_of_three": 3, "conversation": 12, "long_prompt": 3,
       "schema": 7, "tools": 6, "tools_streamed": 5, "messages": 4, "messages_streamed": 4,
       "responses_streamed": 4, "completions": 3, "looks": 2, "slow_reader": 3, "leaves_a_stream": 4,
       "leaves_while_it_waits": 3, "breaks_off": 1, "garbage": 3, "oversize": 1, "refused": 2,
       "nothing_there": 1, "falls_silent": 1}


def answer_at_once(listener):
    """A server that has nothing else to do."""
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")


def ask_health(address):
    """Seconds that it took, on a new connection."""
    begin = time.monotonic()
    try:
        with socket.create_connection(address, timeout=10) as s:
            s.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            back = b""
            while piece := s.recv(4096):
                back += piece
        good = b" 200 " in back.split(b"\r\n")[0]
    except OSError:
        good = False
    return time.monotonic() - begin if good else float("inf")


def watch_health(address, times, stop):
    """In a process of its own, so that the traffic's threads do not hold it up.

    Puts (when, seconds of /health, processors' seconds taken meanwhile, seconds of the idle process).
    """
    listener = socket.create_server(("127.0.0.1", 0))
    multiprocessing.Process(target=answer_at_once, args=(listener,), daemon=True).start()
    begin = time.monotonic()
    while not stop.wait(0.05):
        when, before_s = time.monotonic() - begin, stolen_s()
        took = ask_health(address)
        taken = stolen_s() - before_s
        stop.wait(0.05)
        times.put((when, took, taken, ask_health(listener.getsockname())))


def stolen_s():
    """Seconds of processors that the machine beneath this virtual one took, since it started."""
    try:
        with open("/proc/stat") as file:
            return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", help="flashmoe")
    parser.add_argument("--model", default="models/tiny")
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most-at-once", type=int, default=200)
    parser.add_argument("--health-ms", type=float, default=50, help="the limit of /health")
    parser.add_argument("--any-memory", action="store_true",
                        help="do not judge the memory (a build with sanitizers)")
    options = parser.parse_args()

    server = LocalServer(options.program, options.model, "--memory", "1GiB", "--context", "4096",
                         "--parallel", "8", "--prefix-cache", "64MiB", "--max-body", str(MAX_BODY))
    traffic = Traffic(server, options.seed)
    times, stop = multiprocessing.Queue(), multiprocessing.Event()
    health = multiprocessing.Process(target=watch_health,
                                     args=((server.host, server.port), times, stop))
    health.start()
    stolen_before_s = stolen_s()
    counts, failures = collections.Counter(), []
    seconds = collections.defaultdict(list)
    places = threading.Semaphore(options.most_at_once)

    def one(kind):
        begin = time.monotonic()
        try:
            getattr(traffic, kind)()
            counts[kind] += 1
        except Exception as error:  # whatever it is, it belongs into the report
            failures.append(f"{kind}: {type(error).__name__}: {str(error)[:300]}")
        finally:
            seconds[kind].append(time.monotonic() - begin)
            places.release()

    kinds = random.Random(options.seed).choices(list(MIX), MIX.values(), k=options.requests)
    begin = time.monotonic()
    memory, loads, behind_s = [], [], 0.0
    threads = []
    for i, kind in enumerate(kinds):
        due = begin + i * options.minutes * 60 / options.requests
        time.sleep(max(0.0, due - time.monotonic()))
        places.acquire()
        behind_s = max(behind_s, time.monotonic() - due)
        thread = threading.Thread(target=one, args=(kind,), daemon=True)
        thread.start()
        threads = [t for t in threads if t.is_alive()] + [thread]
        if time.monotonic() - begin >= 2 * len(memory):
            memory.append(server.rss_bytes() / 2**20)
            loads.append(os.getloadavg()[0])
    for thread in threads:
        thread.join(120)
    hanging = sum(thread.is_alive() for thread in threads)
    took = time.monotonic() - begin
    stats = server.wait_until_idle(60)
    time.sleep(1)
    stats = server.get("/stats")
    stop.set()
    looks = []
    while True:
        try:
            looks.append(times.get(timeout=1))
        except queue.Empty:
            break
    latencies = [1000 * took for _, took, _, _ in looks]
    idle = [1000 * took for _, _, _, took in looks]
    health.join()

    print(f"{options.requests} requests in {took / 60:.1f} min, at most {behind_s:.1f} s behind the "
          f"pace; load {percentile(loads, 0.5):.1f} (median), {max(loads):.1f} (most)")
    print(f"{'kind':24}{'good':>7}{'median s':>10}{'99 % s':>9}{'most s':>9}")
    for kind in MIX:
        if seconds[kind]:
            print(f"{kind:24}{counts[kind]:7}{percentile(seconds[kind], 0.5):10.2f}"
                  f"{percentile(seconds[kind], 0.99):9.2f}{max(seconds[kind]):9.2f}")
    print("RSS in MiB, by the minute:", *(f"{m:.0f}" for m in memory[::30]), f"{memory[-1]:.0f}")
    fifth = max(1, len(memory) // 5)
    early = percentile(memory[fifth:2 * fifth] or memory, 0.5)
    late = percentile(memory[-fifth:], 0.5)
    print(f"RSS, medians: {early:.1f} MiB in the second fifth, {late:.1f} in the last "
          f"({100 * (late / early - 1):+.1f} %)")
    for name, values in (("/health", latencies), ("an idle process", idle)):
        print(f"{name}, {len(values)} times: " + ", ".join(
            f"{share_name} {percentile(values, share):.1f}" for share_name, share in
            (("50 %", 0.5), ("99 %", 0.99), ("99.9 %", 0.999), ("most", 1.0))) + " ms; over "
            f"{options.health_ms:g} ms: {sum(value > options.health_ms for value in values)}")
    print("the worst of /health, in ms (taken meanwhile by the machine beneath; the idle process just after):",
          "; ".join(f"{1000 * took:.0f} ({1000 * taken:.0f}; {1000 * other:.0f}) at {when:.0f} s"
                    for when, took, taken, other in sorted(looks, key=lambda look: -look[1])[:6]))
    print(f"processors' time taken by the machine beneath: {stolen_s() - stolen_before_s:.1f} s")
    for name in ("queue", "requests", "tokens", "prefix_cache", "http"):
        print(f"{name}: {json.dumps(stats[name])}")
    for failure, count in collections.Counter(failures).most_common(20):
        print(f"WRONG {count} x {failure}")

    wrong = []
    if failures:
        wrong.append(f"{len(failures)} answers were wrong")
    if hanging or stats["sessions"]:
        wrong.append(f"{hanging} requests hang, {len(stats['sessions'])} sessions are left")
    if stats["http"]["connections"] > 2:  # the one that asks, and perhaps /health's
        wrong.append(f"{stats['http']['connections']} connections are left")
    if late > 1.03 * early and not options.any_memory:
        wrong.append("memory grows")
    if any(1000 * took > options.health_ms and taken < took / 2 for _, took, taken, _ in looks):
        wrong.append(f"/health took longer than {options.health_ms:g} ms")
    try:
        server.stop()
    except AssertionError as error:
        wrong.append(str(error))
    print("failed: " + "; ".join(wrong) if wrong else "ok")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

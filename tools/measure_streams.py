#!/usr/bin/env python3
"""Measures answers that run at once against the same ones one after another.

    python3 tools/measure_streams.py build/release/flashmoe MODEL --memory 8GiB [--streams 4 16]

A model by `flashmoe synth` needs a tokenizer first: put any tokenizer.json with at least --ids tokens into its folder.

Prompts are random token ids, each another; answers are greedy, of equal length, and streamed. Prints
for each number of streams: tokens of answers a second in all, from the first request to the last
token; the time to the first token, median and most; the speed of one stream while all answer, and the
slowest's as a share of the fastest's; and, of the time while all answer, the bytes of experts read
for each token, the hit rate and the rows of a step.
"""
import argparse
import json
import random
import statistics
import threading
import time

from local_server import LocalServer


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0],
                                     epilog="Other options are passed on to flashmoe serve.")
    parser.add_argument("program", help="flashmoe")
    parser.add_argument("model")
    parser.add_argument("--memory", default="8GiB")
    parser.add_argument("--streams", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--alone", type=int, default=4, help="answers one after another")
    parser.add_argument("--prompt", type=int, default=32, help="tokens")
    parser.add_argument("--tokens", type=int, default=32, help="of an answer")
    parser.add_argument("--ids", type=int, default=4000, help="token ids are below this")
    parser.add_argument("--forbid", type=int, nargs="*", default=[],
                        help="token ids that no answer may have: those that would end it early")
    parser.add_argument("--seed", type=int, default=0)
    o, serve_options = parser.parse_known_args()
    rng = random.Random(o.seed)
    server = LocalServer(o.program, o.model, "--memory", o.memory, "--context",
                         str(o.prompt + o.tokens + 256), "--prefix-cache", "0", "--parallel",
                         str(max(o.streams)), *serve_options)

    def ask(times, answering, ended):
        body = {"prompt": [rng.randrange(300, o.ids) for _ in range(o.prompt)], "temperature": 0,
                "max_tokens": o.tokens, "logprobs": 0,
                "logit_bias": {str(token): -100 for token in o.forbid}}
        for _, event in server.events("/v1/completions", body):
            if event["choices"] and (told := event["choices"][0].get("logprobs")):
                answering() if not times else None
                times += [time.monotonic()] * len(told["tokens"])
        ended()

    def run(count):
        """Answers at once: the times of their tokens, and /stats while all of them answered."""
        all_times, looks, lock = [[] for _ in range(count)], {}, threading.Lock()
        waiting = [count]

        def answering():
            with lock:
                waiting[0] -= 1
                if waiting[0] == 0:
                    looks["begin"] = server.get("/stats")

        def ended():
            with lock:
                looks.setdefault("end", server.get("/stats"))

        threads = [threading.Thread(target=ask, args=(times, answering, ended))
                   for times in all_times]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return all_times, looks["begin"], looks["end"]

    def row(name, count, at_once):
        begin, first, runs = time.monotonic(), [], []
        for _ in range(1 if at_once else count):
            asked = time.monotonic()
            runs.append(run(count if at_once else 1))
            first += [times[0] - asked for times in runs[-1][0]]
        took = time.monotonic() - begin
        all_times = [times for run_times, _, _ in runs for times in run_times]

        def grown(part, key):
            return sum(after[part][key] - before[part][key] for _, before, after in runs)

        speeds = []
        for run_times, _, _ in runs:
            since = max(times[0] for times in run_times)
            until = min(times[-1] for times in run_times)
            speeds += [sum(since < t <= until for t in times) / (until - since)
                       for times in run_times]
        read_bytes, tokens = grown("experts", "disk_bytes"), grown("tokens", "generated")
        hits, misses = grown("experts", "hits"), grown("experts", "misses")
        print(f"| {name} | {sum(map(len, all_times)) / took:.2f} | {statistics.median(first):.1f} "
              f"| {max(first):.1f} | {statistics.median(speeds):.2f} "
              f"| {100 * min(speeds) / max(speeds):.0f} % | {read_bytes / 2**20 / tokens:.0f} MiB "
              f"| {100 * hits / max(1, hits + misses):.0f} % "
              f"| {grown('step', 'rows') / grown('step', 'steps'):.1f} |", flush=True)

    with server:
        print("| streams | tok/s in all | first token, s | the last one's, s | tok/s of one "
              "| slowest / fastest | read a token | hits | rows a step |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
        run(1)  # caches are no longer empty
        row(f"{o.alone} one after another", o.alone, False)
        for count in o.streams:
            row(f"{count} at once", count, True)
        stats = server.get("/stats")
        print(json.dumps({"memory": stats["memory"], "all_experts": stats["experts"]["all_bytes"]}))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The prefix cache as users meet it: how soon an answer begins, and what a crash leaves.

    python3 tools/check_prefix_cache.py times build/release/flashmoe MODEL --tokens 1000 6000
    python3 tools/check_prefix_cache.py crash build/release/flashmoe [--model MODEL] [--rounds 50]

`times` asks for one token after a prompt of random ids: cold, again (from memory), and again after a
restart (from disk; the system is told to forget the files). Each prompt ends in 8 tokens that
the earlier ones did not have, as the next turn of an agent does. The tokens must be the same each time.

`crash` lets a server write states of prompts, kills it (SIGKILL) at a random moment, and starts it
again on the same folder: every state that had been told of in /stats must be there, none may be
damaged, and answers that go on from them must be what they were without. Exit code 0 if so.
"""
import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time

from local_server import LocalServer


def ids(rng, count, below):
    return [rng.randrange(300, below) for _ in range(count)]


def forget_files(folder):
    """Has the system read them from the disk next time."""
    for name in os.listdir(folder):
        fd = os.open(os.path.join(folder, name), os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def ask(server, prompt, tokens=1):
    """(seconds to the first token, the answer's text, cached tokens)"""
    first, text, cached = None, "", 0
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "logprobs": 0,
            "stream_options": {"include_usage": True}}
    for seconds, event in server.events("/v1/completions", body, timeout=3000):
        if event["choices"] and (event["choices"][0].get("logprobs") or {}).get("tokens"):
            first = first or seconds
            text += "".join(event["choices"][0]["logprobs"]["tokens"])
        if event.get("usage"):
            cached = event["usage"]["prompt_tokens_details"]["cached_tokens"]
    return first, text, cached


def wait_until_written(server, states):
    while server.get("/stats")["prefix_cache"]["disk_states"] < states:
        time.sleep(0.05)


def times(o):
    folder = tempfile.mkdtemp(dir=o.folder)
    options = ["--memory", o.memory, "--cache-dir", folder, "--context",
               str(max(o.tokens) + 512), "--prefix-cache", o.prefix_cache, "--parallel", "1"]
    print("| prompt | cold, s | from memory, s | from disk, s | on disk |")
    print("|---|---:|---:|---:|---:|")
    try:
        for count in o.tokens:
            rng = random.Random(count)
            prompt = ids(rng, count, o.ids)
            ends = [ids(rng, 8, o.ids) for _ in range(3)]
            with LocalServer(o.program, o.model, *options) as server:
                ask(server, ids(rng, 40, o.ids))  # what is read at first use is there
                before = server.get("/stats")["prefix_cache"]["disk_bytes"]
                cold = ask(server, prompt)
                warm = [ask(server, prompt + end)[0] for end in ends]
                check = ask(server, prompt + ends[0])
                wait_until_written(server, 1)
                server.wait_until_idle()
            on_disk = sum(os.path.getsize(os.path.join(folder, n)) for n in os.listdir(folder))
            forget_files(folder)
            with LocalServer(o.program, o.model, *options) as server:
                ask(server, ids(rng, 40, o.ids))
                disk = ask(server, prompt + ids(rng, 8, o.ids))
                same = ask(server, prompt + ends[0])
            assert cold[2] == 0 and disk[2] >= count, (cold, disk)
            assert same[1] == check[1], (same, check)
            print(f"| {count} | {cold[0]:.3f} | {statistics.median(warm):.3f} | {disk[0]:.3f} "
                  f"| {(on_disk - before) / 2**20:.0f} MiB |", flush=True)
    finally:
        shutil.rmtree(folder)


def crash(o):
    rng = random.Random(o.seed)
    folder = tempfile.mkdtemp(dir=o.folder)
    options = ["--memory", "1GiB", "--cache-dir", folder, "--context", "2048", "--parallel", "4",
               "--prefix-cache", "64MiB", "--cache-dir-size", "1GiB"]
    known = {}  # prompts (json) that were told to be on disk -> the answer
    cut_writes = reused = 0
    try:
        for number in range(o.rounds):
            server = LocalServer(o.program, o.model, *options)
            found = server.get("/stats")["prefix_cache"]
            assert found["disk_damaged"] == 0, found
            assert found["disk_states"] >= len(known), (found, len(known))
            for text in rng.sample(sorted(known), min(3, len(known))):
                _, answer, cached = ask(server, json.loads(text) + [400], 4)
                assert cached >= len(json.loads(text)), (cached, len(json.loads(text)))
                assert answer == known[text], (answer, known[text])
                reused += 1
            states = server.get("/stats")["prefix_cache"]["disk_states"]
            prompt = ids(rng, rng.randrange(100, 1200), 4000)
            ask(server, prompt)
            if number % 2 == 0:  # as soon as it is written it is known; then another is begun
                wait_until_written(server, states + 1)
                known[json.dumps(prompt)] = ask(server, prompt + [400], 4)[1]
                ask(server, ids(rng, rng.randrange(100, 1200), 4000))
            time.sleep(rng.random() * o.write_s)
            server.kill()
            cut_writes += any(name.endswith(".partial") for name in os.listdir(folder))
        print(f"{o.rounds} kills, {cut_writes} of them within a write; {len(known)} states known to be on disk were all found again, "
              f"{reused} answers went on from them; none damaged")
    finally:
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", help="where the cache's folder is made (default: the system's)")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("times")
    command.set_defaults(run=times)
    command.add_argument("program", help="flashmoe")
    command.add_argument("model")
    command.add_argument("--tokens", type=int, nargs="+", default=[1000, 6000])
    command.add_argument("--memory", default="2GiB")
    command.add_argument("--prefix-cache", default="1GiB")
    command.add_argument("--ids", type=int, default=4000, help="token ids are below this")
    command = commands.add_parser("crash")
    command.set_defaults(run=crash)
    command.add_argument("program", help="flashmoe")
    command.add_argument("--model", default="models/tiny")
    command.add_argument("--rounds", type=int, default=50)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--write-s", type=float, default=0.01, help="the longest wait for a kill")
    o = parser.parse_args()
    o.run(o)


if __name__ == "__main__":
    sys.exit(main())

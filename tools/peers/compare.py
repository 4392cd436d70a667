#!/usr/bin/env python3
"""Measures flashmoe and its peers side by side: the same shape, bits, threads and machine, in interleaved rounds.

    compare.py --flashmoe build/flashmoe --model MODEL --gguf model.gguf --rounds 5
    compare.py --mode streamed --memory 16GiB --model MODEL80 --gguf model80.gguf

Only one program is loaded at a time. The limits of the machine are measured by flashmoe right before and after each
figure. Decode is bound by bytes: the limit is read bandwidth over the bytes that a token reads in that program's own
format. A prompt is bound by arithmetic: the limit is the int8 rate over the operations of a token. In streamed mode
the limit of all is that of flashmoe, with the disk and its memory budget. Tables show medians over the rounds.
Where the disk cannot hold both models, run first with --model, then with --gguf and --earlier the first run's --out.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

import gguf

HERE = pathlib.Path(__file__).resolve().parent
TINY_MODEL = HERE.parents[1] / "models" / "tiny"
PEERS = ("ik", "ik-repack", "ik-native", "ik-native-repack", "llama", "llama-repack")
GB = 1e9


def run_json(command):
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def bytes_per_token(path):
    """What one generated token reads of the file: everything once, but of the experts only those routed to, and of
    the embedding nothing worth counting."""
    reader = gguf.GGUFReader(path)
    fields = {key.split(".", 1)[-1]: field for key, field in reader.fields.items()}
    share = fields["expert_used_count"].contents() / fields["expert_count"].contents()
    total = 0
    for tensor in reader.tensors:
        if tensor.name == "token_embd.weight":
            continue
        total += int(tensor.n_bytes * (share if "_exps." in tensor.name else 1))
    return total


class Machine:
    """Measures what bounds any program here: memory bandwidth (GB/s) and int8 operations (1e9/s)."""

    def __init__(self, flashmoe, threads):
        self.command = [flashmoe, "bench", "decode", str(TINY_MODEL), "--json", "--repeat", "1", "--tokens", "1",
                        "--context", "1", "--threads", str(threads)]

    def measure(self):
        result = run_json(self.command)
        return statistics.mean(result["memory_gb_s"]), statistics.mean(result["int8_gops_s"])


class Flashmoe:
    name = "flashmoe"

    def __init__(self, args):
        self.args = args

    def measure(self, what):
        a = self.args
        command = [a.flashmoe, "bench", what, a.model, "--json", "--repeat", "1", "--threads", str(a.threads)]
        if what == "decode":
            command += ["--tokens", str(a.tokens), "--context", str(a.context)]
        else:
            command += ["--tokens", str(a.prompt)]
        if a.memory:
            command += ["--memory", a.memory]
        r = run_json(command)
        a.ops_per_token = r.get("ops_per_token", a.ops_per_token)
        return {
            "tok_s": r["tok_s"],
            "limit_tok_s": r["limit_tok_s"],
            "bytes_per_token": r["bytes_per_token"],
            "disk_bytes_per_token": r["disk_bytes_per_token"],
            "memory_gb_s": r["memory_gb_s"],
            "int8_gops_s": r["int8_gops_s"],
            "peak_rss_bytes": r["peak_rss_bytes"],
            "hit_rate": r["hit_rate"],
        }

    def round(self):
        return {what: self.measure(what) for what in self.args.what}


class Peer:
    """A peer has start(), measure(what) -> (tokens per second, other figures), and stop()."""

    def __init__(self, args, machine, name):
        self.args, self.machine, self.name = args, machine, name
        self.repack = name.endswith("-repack")
        self.native = "-native" in name

    def start(self):
        pass

    def stop(self):
        pass

    def round(self):
        self.start()
        try:
            return {what: self.limited(what) for what in self.args.what}
        finally:
            self.stop()

    def limited(self, what):
        a = self.args
        before = self.machine.measure()
        tok_s, others = self.measure(what)
        after = self.machine.measure()
        memory, int8 = zip(before, after)
        result = {"tok_s": tok_s, "memory_gb_s": memory, "int8_gops_s": int8, **others}
        if what == "decode":
            result["bytes_per_token"] = a.gguf_bytes_per_token
            result["limit_tok_s"] = statistics.mean(memory) * GB / a.gguf_bytes_per_token
        elif a.ops_per_token:
            result["limit_tok_s"] = statistics.mean(int8) * GB / a.ops_per_token
        return result


class IkLlama(Peer):
    """ik_llama.cpp through its Python package; the process stays loaded for one round."""

    def start(self):
        a = self.args
        need = max(a.prompt, a.context + a.warm + a.tokens) + 64
        load = "REPACK" if self.repack else "MMAP"
        python = a.ik_native_python if self.native else a.ik_python
        command = [python, HERE / "ik_worker.py", a.gguf, str(a.threads), str(need), load]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=a.log, text=True)
        self.answer()
        # Touches every expert, as flashmoe does before it measures.
        if a.mode == "resident":
            self.ask(f"prefill {a.prompt}")

    def answer(self):
        # The library itself may print to standard output too.
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        sys.exit(f"{self.name} ended early; see {self.args.log.name}")

    def ask(self, request):
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return self.answer()

    def measure(self, what):
        a = self.args
        request = f"prefill {a.prompt}" if what == "prefill" else f"decode {a.context} {a.warm} {a.tokens}"
        r = self.ask(request)
        disk = {"disk_bytes_per_token": r["disk_bytes"] / r["tokens"], "peak_rss_bytes": r["peak_rss_bytes"]}
        return r["tokens"] / r["seconds"], disk

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class LlamaBench(Peer):
    """llama.cpp through its own llama-bench, which loads and warms up by itself for each figure."""

    def measure(self, what):
        a = self.args
        prompt, tokens = (a.prompt, 0) if what == "prefill" else (0, a.tokens)
        depth = a.context + a.warm if what == "decode" else 0
        command = [a.llama_bench, "-m", a.gguf, "-t", str(a.threads), "-p", str(prompt), "-n", str(tokens), "-r", "1",
                   "-d", str(depth), "--load-mode", "mmap", "--repack", "1" if self.repack else "0", "-o", "json"]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=a.log).stdout
        return json.loads(output)[0]["avg_ts"], {}


def median(results, what, key):
    values = [r[what][key] for r in results if key in r[what]]
    # Limits of the machine are pairs: before and after.
    values = [statistics.mean(v) if isinstance(v, (list, tuple)) else v for v in values]
    return statistics.median(values) if values else None


def text(value, scale=1.0, digits=2):
    return "-" if value is None else f"{value / scale:.{digits}f}"


def print_tables(args, results):
    ours = results.get("flashmoe", [])
    for what in args.what:
        print(f"\n{what}, {args.mode}, {args.threads} threads, medians of {args.rounds} rounds\n")
        print("| program | tok/s | limit | fraction | ours / it | memory GB/s | disk MB/token | peak GB |")
        print("|---|---|---|---|---|---|---|---|")
        for name, rounds in results.items():
            speed, our_speed = median(rounds, what, "tok_s"), median(ours, what, "tok_s")
            shared = args.mode == "streamed"
            limit = median(ours if shared else rounds, what, "limit_tok_s")
            limits = [limit if shared else r[what].get("limit_tok_s") for r in rounds]
            fractions = [r[what]["tok_s"] / l for r, l in zip(rounds, limits) if l]
            cells = [
                name,
                text(speed),
                text(limit),
                text(statistics.median(fractions) if fractions else None),
                text(our_speed / speed if our_speed else None),
                text(median(rounds, what, "memory_gb_s"), digits=1),
                text(median(rounds, what, "disk_bytes_per_token"), 1e6, 1),
                text(median(rounds, what, "peak_rss_bytes"), GB, 1),
            ]
            print("| " + " | ".join(cells) + " |")


def read_ahead_kb(path):
    device = os.stat(path).st_dev
    block = pathlib.Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    for folder in (block, block.parent):  # a partition's queue is that of its disk
        if (folder / "queue" / "read_ahead_kb").exists():
            return int((folder / "queue" / "read_ahead_kb").read_text())
    return None


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flashmoe", default="build/flashmoe", help="the program")
    parser.add_argument("--model", help="its model folder (flashmoe synth)")
    parser.add_argument("--gguf", help="the peers' file of the same shape (make_gguf.py)")
    parser.add_argument("--peers", help=f"of {', '.join(PEERS)} (default: ik,ik-repack; streamed: ik)")
    parser.add_argument("--ik-python", default=sys.executable, help="Python that has the wheel of ik_llama_cpp")
    parser.add_argument("--ik-native-python", help="Python that has ik_llama_cpp built for this processor")
    parser.add_argument("--llama-bench", help="llama.cpp's llama-bench")
    parser.add_argument("--mode", choices=["resident", "streamed"], default="resident")
    parser.add_argument("--what", default=None, help="prefill, decode or both (default: both; streamed: decode)")
    parser.add_argument("--memory", help="budget of flashmoe; the peers' page cache has the whole machine")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, help="tokens generated (default: 64; streamed: 16)")
    parser.add_argument("--context", type=int, default=16, help="tokens of the prompt before them")
    parser.add_argument("--warm", type=int, default=8, help="tokens generated before the peer is measured")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the measured prompt")
    parser.add_argument("--earlier", help="--out of a run whose programs are to stand in the tables too")
    parser.add_argument("--out", default="peers.json", help="all figures; the peers' own output goes to OUT.log")
    args = parser.parse_args()
    streamed = args.mode == "streamed"
    args.what = (args.what or ("decode" if streamed else "prefill,decode")).split(",")
    args.tokens = args.tokens or (16 if streamed else 64)
    args.peers = (args.peers or ("ik" if streamed else "ik,ik-repack")).split(",")
    for peer in args.peers:
        if peer not in PEERS:
            parser.error(f"--peers: {peer} is none of {', '.join(PEERS)}")
        if streamed and peer.endswith("-repack"):
            parser.error("repacking needs the whole model in memory: leave it out when streaming")
        if peer.startswith("llama") and not args.llama_bench:
            parser.error(f"--peers {peer} needs --llama-bench")
        if peer.startswith("ik-native") and not args.ik_native_python:
            parser.error(f"--peers {peer} needs --ik-native-python")
    if not args.model and not args.gguf:
        parser.error("name --model, --gguf or both")
    args.ops_per_token = None
    return args


def main():
    args = parse_arguments()
    machine = Machine(args.flashmoe, args.threads)
    programs = [Flashmoe(args)] if args.model else []
    settings = {**vars(args), "read_ahead_kb": read_ahead_kb(args.gguf or args.model)}
    if args.gguf:
        for name in args.peers:
            kind = IkLlama if name.startswith("ik") else LlamaBench
            programs.append(kind(args, machine, name))
        args.gguf_bytes_per_token = bytes_per_token(args.gguf)
    results = json.loads(pathlib.Path(args.earlier).read_text())["rounds"] if args.earlier else {}
    results.update({program.name: [] for program in programs})
    with open(args.out + ".log", "w") as args.log:
        for i in range(args.rounds):
            # flashmoe comes first: its prompt benchmark says how many operations a token takes.
            for program in programs:
                result = program.round()
                results[program.name].append(result)
                figures = ", ".join(f"{what} {text(r['tok_s'])} of {text(r.get('limit_tok_s'))} tok/s"
                                    for what, r in result.items())
                print(f"round {i + 1}: {program.name}: {figures}", flush=True)
                pathlib.Path(args.out).write_text(json.dumps({"settings": settings, "rounds": results}, indent=1))
    print_tables(args, results)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Measures how the time of a token grows with context, experts, size and cache, and draws it beside the law expected of it.

    tools/measure_growth.py measure FLASHMOE RESULTS.json --work FOLDER [--series context size] [--rounds 5]
    tools/measure_growth.py draw RESULTS.json PICTURE.svg

`measure` writes packed models of random weights into FOLDER (layers as Qwen3.5-35B-A3B has them, 4 bits, a small
vocabulary; 12 GB in all, 4 at most for a series), runs `flashmoe bench decode` on them, round after round, and adds to
RESULTS.json. Points of a series and series come by turns. `draw` takes the medians, prints tables and draws them with the
spread; it needs matplotlib. A law is bytes over a rate: those of the weights and of the state over the memory's, and
those of missed experts over the disk's; where experts are streamed, a token takes as long as both together if nothing
is read while something is computed, and as the longer one if all is. Rates change while this runs, so each run is held
against the law with the rates measured around it; the pictures show both at the series' median rates. Of a long context
the benchmark computes the first 512 positions, whose keys and values are repeated.
"""

import argparse
import json
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile

BUFFER = 258 << 20  # bytes: the benchmark's own, for measuring memory, and a little
CONTEXTS = [1 << power for power in range(10, 17)]  # 1k to 64k


def config(layers, experts):
    text = {
        "attention_bias": False, "attn_output_gate": True, "dtype": "bfloat16", "eos_token_id": 1,
        "full_attention_interval": 4, "head_dim": 256, "hidden_act": "silu", "hidden_size": 2048,
        "layer_types": ["full_attention" if i % 4 == 3 else "linear_attention" for i in range(layers)],
        "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 16,
        "linear_num_value_heads": 32, "linear_value_head_dim": 128, "max_position_embeddings": 262144,
        "mlp_only_layers": [], "model_type": "qwen3_5_moe_text", "moe_intermediate_size": 512,
        "num_attention_heads": 16, "num_experts": experts, "num_experts_per_tok": 8, "num_hidden_layers": layers,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "shared_expert_intermediate_size": 512,
        "rope_parameters": {"mrope_interleaved": True, "mrope_section": [11, 11, 10], "partial_rotary_factor": 0.25,
                            "rope_theta": 10000000, "rope_type": "default"},
        "tie_word_embeddings": False, "use_cache": True, "vocab_size": 16384}
    return {"architectures": ["Qwen3_5MoeForConditionalGeneration"], "model_type": "qwen3_5_moe",
            "text_config": text, "tie_word_embeddings": False}


# Of each series: (x, layers, experts, context, share of the experts in memory).
SERIES = {
    "context": [(context, 8, 16, context, 1) for context in CONTEXTS],
    "experts": [(experts, 4, experts, 256, 1) for experts in (16, 32, 64, 128, 256)],
    "size": [(layers, layers, 16, 256, 1) for layers in (4, 8, 16, 24)],
    "streamed": [(layers, layers, 32, 256, 0.5) for layers in (4, 8, 16, 24)],
    "cache": [(share, 8, 64, 256, share) for share in (0.2, 0.4, 0.6, 0.8, 1)],
}


class Bench:
    def __init__(self, program, prefix, work):
        self.program, self.prefix, self.work = program, prefix, pathlib.Path(work)
        self.work.mkdir(parents=True, exist_ok=True)

    def call(self, *arguments):
        result = subprocess.run([*self.prefix, self.program, *map(str, arguments)], capture_output=True, text=True)
        if result.returncode != 0:
            sys.exit(f"flashmoe {' '.join(map(str, arguments))}: {result.stderr.strip()}")
        return result.stdout

    def model(self, layers, experts):
        folder = self.work / f"{layers}-layers-{experts}-experts"
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=self.work) as scratch:
                shape, checkpoint = pathlib.Path(scratch, "shape.json"), pathlib.Path(scratch, "checkpoint")
                shape.write_text(json.dumps(config(layers, experts)))
                self.call("synth", shape, checkpoint, "--bits", 4)
                self.call("pack", checkpoint, folder)
        return folder

    def memory_for(self, model, context, share):
        """A budget with room for so many of the experts."""
        plan = json.loads(self.call("plan", model, "--json", "--memory", "8GiB", "--context", context))["memory"]
        rest = sum(plan[part] for part in ("dense", "state", "staging", "scratch", "process"))
        return rest + int(share * plan["all_experts"]) + BUFFER

    def point(self, layers, experts, context, share):
        model = self.model(layers, experts)
        arguments = ["bench", "decode", model, "--json", "--routing", "uniform", "--context", context,
                     "--repeat", 1]
        if share < 1:
            arguments += ["--memory", self.memory_for(model, context + 1024, share), "--io", "uring", "--tokens", 32]
        else:
            arguments += ["--memory", "6GiB", "--tokens", 96]
        return json.loads(self.call(*arguments))


def kept(result):
    """What the pictures need of a run."""
    keys = ("tok_s", "bytes_per_token", "state_bytes_per_token", "missed_bytes_per_token", "hit_rate", "context",
            "memory_gb_s", "memory_amid_gb_s", "disk_gb_s")
    runs = [{key: run[key] for key in keys if key in run} | {"attention_ms": 1000 * run["stages_s"]["attention"] / run["tokens"]}
            for run in result["runs"]]
    return {"cache_share": result["setting"]["cache_share"], "commit": result["commit"], "machine": result["machine"],
            "runs": runs}


def measure(arguments):
    path = pathlib.Path(arguments.results)
    results = json.loads(path.read_text()) if path.exists() else []
    bench = Bench(arguments.program, shlex.split(arguments.prefix), arguments.work)
    for number in range(arguments.rounds):
        for name in arguments.series:
            for x, layers, experts, context, share in SERIES[name]:
                result = bench.point(layers, experts, context, share)
                results.append({"series": name, "x": x, **kept(result)})
                path.write_text(json.dumps(results, indent=1) + "\n")
                print(f"round {number + 1}  {name:8} {x:8g}  {1000 / result['tok_s']:8.3f} ms a token", flush=True)


def law_ms(run, memory_gb_s, disk_gb_s):
    """Milliseconds of (memory, disk)."""
    in_memory = run["bytes_per_token"] + run["state_bytes_per_token"]
    missed = run["missed_bytes_per_token"]
    return in_memory / memory_gb_s / 1e6, missed / disk_gb_s / 1e6 if missed else 0


def rates_of(run):
    memory = run.get("memory_amid_gb_s") or statistics.mean(run["memory_gb_s"])
    return memory, statistics.mean(run["disk_gb_s"]) if "disk_gb_s" in run else 0


class Point:
    """The runs at one place of a series."""

    def __init__(self, runs, rates):
        laws = [law_ms(run, *rates) for run in runs]
        self.law, self.overlapped = (statistics.median(bound(law) for law in laws) for bound in (sum, max))
        self.ms = sorted(1000 / run["tok_s"] for run in runs)
        # Of the laws with each run's own rates.
        own = [law_ms(run, *rates_of(run)) for run in runs]
        self.ratios, self.overlapped_ratios = (sorted(1000 / run["tok_s"] / bound(law) for run, law in zip(runs, own))
                                               for bound in (sum, max))


def series_of(results, name):
    """({x: Point}, median rates of memory and disk)"""
    runs = {}
    for result in results:
        if result["series"] == name:
            x = round(result["cache_share"], 2) if name == "cache" else result["x"]
            runs.setdefault(x, []).extend(result["runs"])
    memory, disk = zip(*(rates_of(run) for point in runs.values() for run in point))
    disk = [rate for rate in disk if rate]  # where something was read
    rates = statistics.median(memory), statistics.median(disk) if disk else 0
    return {x: Point(runs[x], rates) for x in sorted(runs)}, rates


def slope(xs, ys):
    return statistics.linear_regression(xs, ys).slope if len(set(xs)) > 1 else 0


LABELS = {
    "context": ("Context", "tokens before it", "log"),
    "experts": ("Experts, 8 of them picked", "experts in a layer", "log"),
    "size": ("Size", "layers", "linear"),
    "streamed": ("Size, half of the experts in memory", "layers", "linear"),
    "cache": ("Cache", "share of the experts in memory", "linear"),
}


def draw(arguments):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "font.size": 8, "svg.hashsalt": "growth"})
    import matplotlib.pyplot as plt

    results = json.loads(pathlib.Path(arguments.results).read_text())
    names = [name for name in SERIES if any(result["series"] == name for result in results)]
    rows = 2 if len(names) > 3 else 1
    columns = -(-len(names) // rows)
    figure, axes = plt.subplots(rows, columns, figsize=(3.6 * columns, 2.9 * rows), squeeze=False)
    for axis in axes.flat[len(names):]:
        axis.remove()
    for axis, name in zip(axes.flat, names):
        points, (memory, disk) = series_of(results, name)
        xs, ps = list(points), list(points.values())
        law = [p.law for p in ps]
        if disk:
            axis.plot(xs, law, color="tab:red", label="law: memory, then disk")
            axis.plot(xs, [p.overlapped for p in ps], "--", color="tab:red", label="law: both at once")
        else:
            axis.plot(xs, law, color="tab:red", label="law: bytes / memory")
        low, middle, high = ([p.law * pick(p.ratios) for p in ps] for pick in (min, statistics.median, max))
        spread = [[m - a for m, a in zip(middle, low)], [b - m for m, b in zip(middle, high)]]
        axis.errorbar(xs, middle, spread, fmt="o", markersize=4, color="tab:blue", linewidth=0.8, label="measured")
        title, label, scale = LABELS[name]
        axis.set(title=title, xlabel=label, ylabel="ms a token", xscale=scale, ylim=(0, None))
        if scale == "log":
            axis.set_xticks(xs, [f"{x / 1024:.0f}k" if x >= 1024 else f"{x:.0f}" for x in xs], rotation=45)
            axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6)
        print(f"\n{title}: memory {memory:.1f} GB/s" + (f", disk {disk:.2f} GB/s" if disk else ""))
        print(f"| {label} | runs | ms a token | least to most | of the law | least to most | of both at once |\n" +
              "|---:" * 7 + "|")
        for x, p in points.items():
            print(f"| {x:g} | {len(p.ms)} | {statistics.median(p.ms):.2f} | {p.ms[0]:.2f} to {p.ms[-1]:.2f} | "
                  f"{statistics.median(p.ratios):.2f} | {p.ratios[0]:.2f} to {p.ratios[-1]:.2f} | "
                  f"{statistics.median(p.overlapped_ratios):.2f} |")
        if slope(xs, law):
            print(f"slope {slope(xs, middle):.3g} ms for one more, {slope(xs, middle) / slope(xs, law):.2f} of the law's")
    figure.tight_layout()
    figure.savefig(arguments.picture, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("measure")
    one.add_argument("program")
    one.add_argument("results")
    one.add_argument("--work", required=True, help="where the models are kept")
    one.add_argument("--series", nargs="+", choices=SERIES, default=list(SERIES))
    one.add_argument("--rounds", type=int, default=5)
    one.add_argument("--prefix", default="", help="a command that runs the program, e.g. nice")
    one.set_defaults(call=measure)
    other = commands.add_parser("draw")
    other.add_argument("results")
    other.add_argument("picture")
    other.set_defaults(call=draw)
    arguments = parser.parse_args()
    arguments.call(arguments)


if __name__ == "__main__":
    main()

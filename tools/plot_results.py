#!/usr/bin/env python3
"""Draws the history of `flashmoe bench --results FILE` as a picture.

    python3 -m venv ~/flashmoe-plots && ~/flashmoe-plots/bin/pip install matplotlib
    ~/flashmoe-plots/bin/python tools/plot_results.py results.tsv results.png

One panel for each benchmark, model and setting that was run: above, the figure and the limit
measured beside it; below, the fraction of the limit, which is what counts, since limits change from
minute to minute on shared machines. Runs to discard are hollow and not joined.
"""

import argparse
import collections
import csv
import json

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

# Of the setting, what tells series apart.
SERIES_KEYS = ("routing", "isa", "threads", "memory_bytes", "io", "chunk", "batch", "tokens", "context")


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 2):
            try:
                row["setting"] = json.loads(row["setting"])
                for key in ("figure", "limit", "fraction"):
                    row[key] = float(row[key])
            except (KeyError, TypeError, ValueError) as error:
                raise SystemExit(f"{path}:{number}: not a row of results: {error}")
            yield row


def describe(setting):
    parts = []
    for key in SERIES_KEYS:
        value = setting.get(key)
        if not value:
            continue
        if key == "memory_bytes":
            value = f"{value / 2**30:.1f} GiB"
        parts.append(f"{key} {value}")
    return ", ".join(parts)


def plot(ax_figure, ax_fraction, rows):
    kept = [i for i, row in enumerate(rows) if row["verdict"] == "keep"]
    dropped = [i for i, row in enumerate(rows) if row["verdict"] != "keep"]
    for ax, key, color in ((ax_figure, "figure", "tab:blue"), (ax_fraction, "fraction", "tab:green")):
        ax.plot(kept, [rows[i][key] for i in kept], "o-", color=color, label=key)
        ax.plot(dropped, [rows[i][key] for i in dropped], "o", color=color, fillstyle="none")
        ax.set_xticks(range(len(rows)))
        ax.set_xlim(-0.5, len(rows) - 0.5)
        ax.grid(alpha=0.3)
    limits = [row["limit"] for row in rows]
    ax_figure.plot(range(len(rows)), limits, "_", markersize=14, color="tab:red", label="limit")
    ax_figure.set_ylabel(rows[0]["unit"])
    ax_figure.legend(loc="lower left", fontsize=7)
    ax_fraction.set_ylabel("of the limit")
    ax_fraction.axhline(1, color="tab:red", linewidth=0.8)
    labels = [f"{row['commit']} {row['note'] or ''}".strip()[:40] for row in rows]
    ax_fraction.set_xticklabels(labels, rotation=60, ha="right", fontsize=6)
    ax_figure.tick_params(labelbottom=False)
    ax_figure.set_ylim(0, 1.1 * max(max(row["figure"], row["limit"]) for row in rows) or 1)
    ax_fraction.set_ylim(0, 1.1 * max(1, max(row["fraction"] for row in rows)))
    title = f"{rows[0]['bench']} {rows[0]['model']}\n{describe(rows[0]['setting'])}"
    ax_figure.set_title(f"{title}\n{rows[0]['machine']}", fontsize=7)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", help="the file given to --results")
    parser.add_argument("picture", help="what to write: .png, .svg or .pdf")
    parser.add_argument("--bench", help="only this benchmark")
    arguments = parser.parse_args()
    series = collections.OrderedDict()
    for row in read_rows(arguments.results):
        if arguments.bench in (None, row["bench"]):
            key = (row["machine"], row["bench"], row["model"], describe(row["setting"]))
            series.setdefault(key, []).append(row)
    if not series:
        raise SystemExit(f"{arguments.results}: there are no such results")
    figure, axes = plt.subplots(2 * len(series), 1, figsize=(8, 5 * len(series)), squeeze=False)
    for i, rows in enumerate(series.values()):
        plot(axes[2 * i][0], axes[2 * i + 1][0], rows)
    figure.tight_layout()
    figure.savefig(arguments.picture, dpi=120)


if __name__ == "__main__":
    main()

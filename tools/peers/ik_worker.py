#!/usr/bin/env python3
"""Runs one model in ik_llama.cpp and measures on request, so that the caller can measure the machine in between.

    ik_worker.py MODEL.gguf THREADS CONTEXT MMAP|REPACK

Reads one request a line from standard input, answers with one JSON object a line:
    prefill N       a prompt of N random tokens in an empty context
    decode P W N    N single tokens after a prompt of P and W more that do not count
Each answer has: seconds, tokens, disk_bytes (of this process), peak_rss_bytes. The first line says that the model
is loaded. Parameters are the library's defaults, except threads, context and REPACK (run-time repacking).
"""

import json
import random
import resource
import sys
import time

from ik_llama_cpp import _ctypes_api as api
from ik_llama_cpp import _internals as batches


def disk_bytes():
    with open("/proc/self/io") as f:
        return int(dict(line.split(": ") for line in f)["read_bytes"])


class Model:
    def __init__(self, path, threads, context, repack):
        api.llama_backend_init()
        model_params = api.llama_model_default_params()
        model_params.use_mmap = not repack
        model_params.repack_tensors = repack
        self.model = api.llama_model_load_from_file(path.encode(), model_params)
        if not self.model:
            sys.exit(f"{path}: the peer cannot load it")
        context_params = api.llama_context_default_params()
        context_params.n_ctx = context
        context_params.n_threads = context_params.n_threads_batch = threads
        self.context = api.llama_init_from_model(self.model, context_params)
        if not self.context:
            sys.exit(f"{path}: the peer cannot make a context")
        self.random = random.Random(1)
        self.batch_tokens = api.llama_n_ubatch(self.context)
        # Random tokens give random routes; a greedy answer of random weights may repeat one token for ever. The
        # 256 bytes are the normal tokens of a file of make_gguf.py.
        self.vocabulary = 256

    def evaluate(self, tokens, position):
        for start in range(0, len(tokens), self.batch_tokens):
            part = tokens[start : start + self.batch_tokens]
            batch = batches.make_batch_range(part, pos_start=position + start)
            status = api.llama_decode(self.context, batch)
            api.llama_batch_free(batch)
            if status != 0:
                sys.exit(f"the peer failed with status {status}")
        # Reading a logit waits for the result.
        return api.llama_get_logits_ith(self.context, -1)[0]

    def tokens(self, count):
        return [self.random.randrange(self.vocabulary) for _ in range(count)]

    def prefill(self, count):
        api.llama_kv_cache_clear(self.context)
        tokens = self.tokens(count)
        return count, lambda: self.evaluate(tokens, 0)

    def decode(self, prompt, warm, count):
        api.llama_kv_cache_clear(self.context)
        self.evaluate(self.tokens(prompt), 0)
        tokens = self.tokens(warm + count)
        for i in range(warm):
            self.evaluate(tokens[i : i + 1], prompt + i)

        def measured():
            for i in range(warm, warm + count):
                last = self.evaluate(tokens[i : i + 1], prompt + i)
            return last

        return count, measured


def main():
    model = Model(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "REPACK")
    answer = {"loaded": True}
    print(json.dumps(answer), flush=True)
    for line in sys.stdin:
        name, *numbers = line.split()
        count, measured = getattr(model, name)(*map(int, numbers))
        disk, begin = disk_bytes(), time.monotonic()
        logit = measured()
        seconds = time.monotonic() - begin
        if logit != logit:
            sys.exit("the peer computed NaN")
        answer = {
            "tokens": count,
            "seconds": seconds,
            "disk_bytes": disk_bytes() - disk,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

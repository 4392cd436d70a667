#!/usr/bin/env python3
"""Lets a model answer random prompts under random JSON schemas, through `flashmoe serve`.

    python3 tools/check_schemas_served.py build/release/flashmoe [--model MODEL] [--count 2000] [--thinking]
    python3 tools/check_schemas_served.py build/release/flashmoe --overhead

The schemas are those of check_schemas.py; temperature, seed, `max_tokens`, streaming and, for some, a
tool whose arguments have the schema, are random too. `jsonschema` with its format checkers
validates every answer (pip install jsonschema rfc3339-validator fqdn rfc3987 isoduration jsonpointer).
A refusal must name a keyword, have no finite value, or name a limit of tokens that is too small:
then the same is asked for again with that very limit, which must do.

With --thinking, answers begin with reasoning that random budgets end: the form holds for what follows.

--overhead measures instead what the masks cost: the time of a token with and without a schema, of
one answer at a time, in turn.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import random
import re
import statistics
import sys

import jsonschema

from check_schemas import Schemas
from local_server import LocalServer, Refused

CHAT = "/v1/chat/completions"
WORDS = ("cat moon river seven bread king blue list person order invoice weather small number "
         "France story tool add city tree").split()


def make_request(rng):
    body = {"messages": [{"role": "user", "content":
                          f"Give me {' '.join(rng.sample(WORDS, rng.randint(1, 8)))} as JSON."}],
            "temperature": rng.choice([0, 0.7, 1, 1.5]), "seed": rng.randint(0, 10**6)}
    limit = rng.choice([None, 1, 5, 20, 40, 100, 300])
    if limit is not None:
        body["max_tokens"] = limit
    maker = Schemas(rng)
    tool = rng.random() < 0.15
    if tool:
        maker.names = []
        keys = rng.sample(["city", "n", "flag", "list", "opt"], rng.randint(0, 4))
        schema = {"type": "object", "properties": {key: maker.schema(2) for key in keys},
                  "required": [key for key in keys if rng.random() < 0.6]}
        body["tools"] = [{"type": "function",
                          "function": {"name": "f", "strict": True, "parameters": schema}}]
        body["tool_choice"] = "required"
    else:
        schema = maker.make()
        body["response_format"] = {"type": "json_schema",
                                   "json_schema": {"name": "s", "schema": schema}}
    return {"body": body, "schema": schema, "tool": tool, "stream": rng.random() < 0.3}


def validate(schema, text):
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    value = json.loads(text, parse_constant=refuse)
    jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER).validate(value)


def ask_streamed(server, body):
    """(status, texts that must be valid, finish reason, generated tokens)"""
    content, calls, finish = "", {}, None
    try:
        for _, event in server.events(CHAT, body):
            choice = event["choices"][0]
            content += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls", []):
                calls[call["index"]] = calls.get(call["index"], "") + call["function"]["arguments"]
            finish = choice["finish_reason"] or finish
    except Refused as refused:  # before the stream began
        return refused.status, json.loads(refused.text)["error"]["message"], None, 0
    return 200, list(calls.values()) or [content], finish, 0


def ask(server, request, body):
    if request["stream"]:
        return ask_streamed(server, body)
    status, answer = server.post(CHAT, body)
    if status != 200:
        return status, answer["error"]["message"], None, 0
    choice = answer["choices"][0]
    calls = [call["function"]["arguments"] for call in choice["message"].get("tool_calls") or []]
    return (200, calls or [choice["message"]["content"]], choice["finish_reason"],
            answer["usage"]["completion_tokens"])


def one(server, request):
    """(what became of it, what is wrong or why it was refused, tokens)"""
    body = request["body"]
    status, said, finish, tokens = ask(server, request, body)
    became = "valid"
    if status == 400 and (least := re.search(r"takes at least (\d+) tokens", said)):
        became = "valid at the least limit"
        body = {**body, "max_tokens": int(least.group(1))}
        if int(least.group(1)) > 3500:
            return "refused", "longer than the context", 0
        status, said, finish, tokens = ask(server, request, body)
    if status == 400:
        reason = said[said.rindex(": ") + 2:] if said.startswith("the JSON schema") else said
        return "refused", re.sub(r"'[^' ]*'", "'…'", reason)[:90], 0
    if status != 200:
        return "wrong", f"{status}: {said}", 0
    try:
        for text in said:
            validate(request["schema"], text)
        wanted = ("tool_calls",) if request["tool"] else ("stop",)
        if finish not in wanted:
            raise ValueError(f"finish_reason {finish}")
        if tokens > body.get("max_tokens", 10**9):
            raise ValueError("longer than its limit")
    except Exception as error:
        return "wrong", f"{json.dumps(body)}\n    {said}\n    {str(error)[:300]}", 0
    return became, "", tokens


def overhead(server, rounds):
    """Per token, in ms: the time between the first and the last of about 300."""
    item = {"type": "object", "required": ["name", "size", "tags", "good"],
            "additionalProperties": False,
            "properties": {"name": {"type": "string", "maxLength": 30}, "size": {"type": "number"},
                           "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]},
                                    "maxItems": 5}, "good": {"type": "boolean"}}}
    schema = {"type": "array", "items": item, "minItems": 40}
    plain = {"messages": [{"role": "user", "content": "Tell me a long story."}], "max_tokens": 1200,
             "temperature": 1, "logit_bias": {str(token): -100 for token in range(4087, 4090)}}
    held = {**plain, "response_format": {"type": "json_schema",
                                         "json_schema": {"name": "s", "schema": schema}}}

    def token_ms(body, seed):
        first = last = tokens = 0
        for seconds, event in server.events(CHAT, {**body, "seed": seed, "logprobs": True}):
            told = (event["choices"][0].get("logprobs") or {}) if event["choices"] else {}
            if told.get("content"):
                first, last = first or seconds, seconds
                tokens += len(told["content"])
        return 1000 * (last - first) / (tokens - 1)

    token_ms(plain, 0), token_ms(held, 0)
    pairs = [(token_ms(plain, seed), token_ms(held, seed)) for seed in range(1, rounds + 1)]
    ratios = sorted(b / a for a, b in pairs)
    print(f"a token without a schema {statistics.median(a for a, _ in pairs):.3f} ms, with "
          f"{statistics.median(b for _, b in pairs):.3f} ms; {100 * (statistics.median(ratios) - 1):+.1f} % "
          f"(median of {rounds} pairs, middle half {100 * (ratios[rounds // 4] - 1):+.1f} to "
          f"{100 * (ratios[3 * rounds // 4] - 1):+.1f} %)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", help="flashmoe")
    parser.add_argument("--model", default="models/tiny")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overhead", type=int, nargs="?", const=12, default=0, metavar="PAIRS")
    parser.add_argument("--thinking", action="store_true",
                        help="by a template that opens a section of reasoning")
    options = parser.parse_args()
    places = 1 if options.overhead else 8
    template = os.path.join(os.path.dirname(__file__), "../tests/server/thinking.jinja")
    with LocalServer(options.program, options.model, "--memory", "1GiB", "--context", "4096",
                     "--parallel", str(places),
                     *(["--template", template] if options.thinking else [])) as server:
        if options.overhead:
            overhead(server, options.overhead)
            return
        rng = random.Random(options.seed)
        requests = [make_request(rng) for _ in range(options.count)]
        if options.thinking:
            for request in requests:
                request["body"]["thinking_budget"] = rng.choice([0, 1, 5, 40, 400])
        with concurrent.futures.ThreadPoolExecutor(places) as pool:
            results = list(pool.map(lambda request: one(server, request), requests))
    became = collections.Counter(result[0] for result in results)
    print(", ".join(f"{count} {name}" for name, count in became.most_common())
          + f"; {sum(tokens for _, _, tokens in results)} tokens in answers that were not streamed")
    for reason, count in collections.Counter(
            result[1] for result in results if result[0] == "refused").most_common():
        print(f"  {count:5d}  {reason}")
    for result in [result for result in results if result[0] == "wrong"][:5]:
        print("WRONG", result[1])
    sys.exit(1 if became["wrong"] else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Runs the official openai and anthropic packages, unmodified, against `flashmoe serve`.

    python3 -m venv venv && venv/bin/pip install -r tools/server_requirements.txt
    venv/bin/python tools/check_server.py build/release/flashmoe [--schemathesis SECONDS]

Starts the server with the embedded model on a free port, and prints one line for each check.
With --schemathesis it also lets schemathesis derive requests from /openapi.json: no answer may be
a 5xx, and none may hang. Exit code 0 when all checks passed.
"""
import argparse
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import anthropic
import jsonschema
import openai
from prometheus_client.parser import text_string_to_metric_families

from local_server import KEY, LocalServer

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


class Server(LocalServer):
    def __init__(self, program, model, *options):
        super().__init__(program, model, "--memory", "1GiB", "--context", "4096", *options)

    def openai(self, **options):
        return openai.OpenAI(base_url=self.url + "/v1", api_key=KEY, **options)

    def anthropic(self, **options):
        return anthropic.Anthropic(base_url=self.url, api_key=KEY, **options)


def user(text):
    return [{"role": "user", "content": text}]


FRANCE = user("What is the capital of France?")
ADD = {"type": "function", "function": {
    "name": "add", "description": "Adds two numbers.",
    "parameters": {"type": "object", "required": ["a", "b"], "additionalProperties": False,
                   "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}}}
CALCULATOR = {"type": "function", "function": {  # one of those that the tiny model was trained with
    "name": "calculator", "description": "Evaluates an arithmetic expression",
    "parameters": {"type": "object", "properties": {"expression": {"type": "string"}},
                   "required": ["expression"]}}}
PERSON = {"type": "object", "required": ["name", "age"], "additionalProperties": False,
          "properties": {"name": {"type": "string", "maxLength": 20},
                         "age": {"type": "integer", "minimum": 0, "maximum": 120}}}


# --- openai ---

@check
def openai_chat(server):
    answer = server.openai().chat.completions.create(
        model="tiny", messages=FRANCE, temperature=0, max_tokens=60)
    assert "Paris" in answer.choices[0].message.content, answer
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@check
def openai_chat_streaming(server):
    client = server.openai()
    options = dict(model="tiny", messages=FRANCE, temperature=0, max_tokens=60)
    whole = client.chat.completions.create(**options).choices[0].message.content
    text, usage = "", None
    for chunk in client.chat.completions.create(
            **options, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
    assert text == whole, (text, whole)
    assert usage.completion_tokens > 0


@check
def openai_chat_helpers(server):
    """The library's own accumulation of a stream."""
    with server.openai().chat.completions.stream(
            model="tiny", messages=FRANCE, temperature=0, max_tokens=60) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert "Paris" in final.choices[0].message.content


@check
def openai_sampling(server):
    client = server.openai()
    options = dict(model="tiny", messages=user("Tell me a story."), max_tokens=20, temperature=1.5,
                   top_p=0.95, presence_penalty=0.5, frequency_penalty=0.5, seed=3, n=3)
    first = client.chat.completions.create(**options)
    second = client.chat.completions.create(**options)
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in second.choices]
    assert len(set(texts)) > 1, texts


@check
def openai_stop_and_logprobs(server):
    client = server.openai()
    options = dict(model="tiny", messages=user("Tell me a story."), max_tokens=60, temperature=0)
    whole = client.chat.completions.create(**options).choices[0].message.content
    stop = whole[25:32]
    cut = client.chat.completions.create(**options, stop=[stop]).choices[0].message.content
    assert cut == whole[:whole.index(stop)], (cut, whole)
    answer = client.chat.completions.create(**options, logprobs=True, top_logprobs=2)
    tokens = answer.choices[0].logprobs.content
    assert bytes(b for t in tokens for b in t.bytes).decode() == whole
    assert all(len(t.top_logprobs) == 2 and t.logprob <= 0 for t in tokens)


@check
def openai_structured_output(server):
    client = server.openai()
    for seed in range(5):
        answer = client.chat.completions.create(
            model="tiny", messages=user("Describe a person."), max_tokens=80, seed=seed,
            temperature=1, response_format={
                "type": "json_schema",
                "json_schema": {"name": "person", "schema": PERSON, "strict": True}})
        jsonschema.validate(json.loads(answer.choices[0].message.content), PERSON)
    answer = client.chat.completions.create(
        model="tiny", messages=user("Describe a person."), max_tokens=100, seed=1,
        response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


@check
def openai_parsed_output(server):
    import pydantic

    class Step(pydantic.BaseModel):
        explanation: str
        done: bool

    answer = server.openai().chat.completions.parse(
        model="tiny", messages=user("Explain."), max_tokens=400, seed=2, response_format=Step)
    assert isinstance(answer.choices[0].message.parsed, Step)


@check
def openai_tools(server):
    client = server.openai()
    messages = user("What is 2 plus 3? Use the tool.")
    for choice in ("required", {"type": "function", "function": {"name": "add"}}):
        answer = client.chat.completions.create(
            model="tiny", messages=messages, tools=[ADD], tool_choice=choice, temperature=0,
            max_tokens=100)
        call = answer.choices[0].message.tool_calls[0]
        assert answer.choices[0].finish_reason == "tool_calls"
        jsonschema.validate(json.loads(call.function.arguments), ADD["function"]["parameters"])
    messages.append(answer.choices[0].message)
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "5"})
    answer = client.chat.completions.create(
        model="tiny", messages=messages, tools=[ADD], tool_choice="none", max_tokens=60)
    assert answer.choices[0].message.content and not answer.choices[0].message.tool_calls
    with client.chat.completions.stream(
            model="tiny", messages=messages[:1], tools=[ADD], tool_choice="required",
            temperature=0, max_tokens=100) as stream:
        events = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.delta" in events, set(events)
    assert final.choices[0].message.tool_calls[0].function.name == "add"


@check
def openai_allowed_tools(server):
    choice = {"type": "allowed_tools", "allowed_tools": {
        "mode": "required", "tools": [{"type": "function", "function": {"name": "calculator"}}]}}
    answer = server.openai().chat.completions.create(
        model="tiny", messages=user("What is 2 plus 3?"), tools=[ADD, CALCULATOR],
        tool_choice=choice, temperature=1.5, seed=1, max_tokens=120)
    calls = answer.choices[0].message.tool_calls
    assert calls and all(call.function.name == "calculator" for call in calls), calls


@check
def openai_agent_of_ten_calls(server):
    """Ten rounds of call and result, fed back each time: each goes on from the one before."""
    client = server.openai()
    number = 2
    messages = user(f"Use the calculator for {number} * 2.")
    cached = []
    for round_number in range(10):
        answer = client.chat.completions.create(
            model="tiny", messages=messages, tools=[CALCULATOR], tool_choice="required",
            parallel_tool_calls=False, temperature=0, max_tokens=120)
        message = answer.choices[0].message
        assert len(message.tool_calls) == 1, message
        call = message.tool_calls[0]
        left, right = json.loads(call.function.arguments)["expression"].split("*")
        number = int(left) * int(right)
        messages.append(message)
        messages.append({"role": "tool", "tool_call_id": call.id,
                         "content": json.dumps({"result": str(number)})})
        usage = answer.usage
        cached.append(usage.prompt_tokens_details.cached_tokens)
        # It goes on from where the last answer ended: but for the end of its turn, all was there.
        assert round_number == 0 or cached[-1] >= seen, (cached, seen)
        seen = usage.total_tokens - 1
    last = client.chat.completions.create(
        model="tiny", messages=messages, tools=[CALCULATOR], max_tokens=40)
    assert last.choices[0].message.content or last.choices[0].message.tool_calls
    return f"cached tokens {cached}, the tenth of {usage.prompt_tokens}"


@check
def openai_completions(server):
    client = server.openai()
    answer = client.completions.create(model="tiny", prompt=["Once upon", "One day"],
                                       max_tokens=8, temperature=0, logprobs=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert len(answer.choices[0].logprobs.tokens) == 8
    text = "".join(chunk.choices[0].text for chunk in client.completions.create(
        model="tiny", prompt="Once upon", max_tokens=8, temperature=0, stream=True))
    assert text == answer.choices[0].text


@check
def openai_scores_of_texts(server):
    """As lm-evaluation-harness asks: the probabilities of a prompt's tokens, of several at once."""
    client = server.openai()
    context, endings = "The capital of France is", [" Paris.", " a clever owl."]
    prompts = [server.post("/tokenize", {"text": context + ending})[1]["tokens"]
               for ending in endings]
    answer = client.completions.create(model="tiny", prompt=prompts, max_tokens=1, temperature=0,
                                       logprobs=1, echo=True, seed=1)
    scores = []
    for choice, prompt in zip(answer.choices, prompts):
        told = choice.logprobs
        assert len(told.tokens) == len(told.token_logprobs) == len(told.text_offset) == len(prompt) + 1
        assert told.token_logprobs[0] is None and all(one <= 0 for one in told.token_logprobs[1:])
        begin = next(i for i, at in enumerate(told.text_offset) if at >= len(context))
        scores.append(sum(told.token_logprobs[begin:-1]))
    assert scores[0] > scores[1] + 5, scores
    answer = client.completions.create(
        model="tiny", prompt="One", max_tokens=80, extra_body={"response_format": {
            "type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}})
    jsonschema.validate(json.loads(answer.choices[0].text), PERSON)
    return "scores " + ", ".join(f"{score:.2f}" for score in scores)


@check
def openai_responses(server):
    client = server.openai()
    answer = client.responses.create(model="tiny", input="What is the capital of France?",
                                     temperature=0, max_output_tokens=60)
    assert "Paris" in answer.output_text
    with client.responses.stream(model="tiny", input="What is the capital of France?",
                                 temperature=0, max_output_tokens=60) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_text == answer.output_text
    tool = {"type": "function", **ADD["function"]}
    answer = client.responses.create(model="tiny", input="What is 2 plus 3?", tools=[tool],
                                     tool_choice="required", max_output_tokens=100)
    call = next(item for item in answer.output if item.type == "function_call")
    history = user("What is 2 plus 3?") + [item.model_dump() for item in answer.output] + [
        {"type": "function_call_output", "call_id": call.call_id, "output": "5"}]
    answer = client.responses.create(model="tiny", input=history, max_output_tokens=40)
    assert answer.status in ("completed", "incomplete") and answer.output_text


@check
def openai_models(server):
    client = server.openai()
    name = client.models.list().data[0].id
    assert client.models.retrieve(name).id == name


@check
def openai_errors(server):
    client = server.openai(max_retries=0)

    def expect(kind, call):
        try:
            call()
        except kind as error:
            assert error.body and error.body["message"], error
            return
        raise AssertionError(f"no {kind.__name__}")

    chat = client.chat.completions.create
    expect(openai.BadRequestError, lambda: chat(model="t", messages=FRANCE, temperature=9))
    expect(openai.BadRequestError, lambda: chat(model="t", messages=[]))
    expect(openai.BadRequestError, lambda: chat(
        model="t", messages=FRANCE, max_tokens=2, response_format={
            "type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}}))
    expect(openai.BadRequestError, lambda: chat(model="t", messages=user("word " * 9000)))
    expect(openai.NotFoundError, lambda: client.models.retrieve("no-such"))
    expect(openai.AuthenticationError, lambda: openai.OpenAI(
        base_url=server.url + "/v1", api_key="wrong", max_retries=0).models.list())


@check
def openai_timeout_and_cancellation(server):
    client = server.openai(max_retries=0)
    bias = {str(token): -100 for token in range(4087, 4090)}  # the model may not stop
    long = dict(model="tiny", messages=user("Tell me a story."), max_tokens=3000, logit_bias=bias)
    try:
        client.with_options(timeout=0.3).chat.completions.create(**long)
        raise AssertionError("no timeout")
    except openai.APITimeoutError:
        pass
    server.wait_until_idle()
    stream = client.chat.completions.create(**long, stream=True)
    for _, _ in zip(range(5), stream):
        pass
    stream.close()
    server.wait_until_idle()


@check
def openai_many_at_once(server):
    client = server.openai()
    options = dict(model="tiny", max_tokens=40, temperature=0)
    prompts = [f"What is {a} plus {b}?" for a, b in zip(range(12), range(3, 15))]
    alone = [client.chat.completions.create(messages=user(p), **options).choices[0].message.content
             for p in prompts]
    together = [None] * len(prompts)

    def ask(i):
        together[i] = client.chat.completions.create(
            messages=user(prompts[i]), **options).choices[0].message.content

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


# --- anthropic ---

GREEDY = {"temperature": 0}  # not among the library's own parameters any more

@check
def anthropic_messages(server):
    client = server.anthropic()
    answer = client.messages.create(model="tiny", max_tokens=60, messages=FRANCE, extra_body=GREEDY,
                                    system="Be brief.")
    assert answer.content[0].type == "text" and answer.stop_reason == "end_turn", answer
    with client.messages.stream(model="tiny", max_tokens=60, messages=FRANCE, extra_body=GREEDY,
                                system="Be brief.") as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == answer.content[0].text == final.content[0].text
    assert final.usage.output_tokens == answer.usage.output_tokens
    count = client.messages.count_tokens(model="tiny", messages=FRANCE, system="Be brief.")
    usage = answer.usage
    assert count.input_tokens == usage.input_tokens + usage.cache_read_input_tokens


@check
def anthropic_tools(server):
    client = server.anthropic()
    tool = {"name": "add", "description": "Adds.",
            "input_schema": ADD["function"]["parameters"]}
    messages = user("What is 2 plus 3? Use the tool.")
    for _ in range(3):
        answer = client.messages.create(model="tiny", max_tokens=100, messages=messages,
                                        tools=[tool], tool_choice={"type": "any"}, extra_body=GREEDY)
        assert answer.stop_reason == "tool_use"
        uses = [block for block in answer.content if block.type == "tool_use"]
        for use in uses:
            jsonschema.validate(use.input, tool["input_schema"])
        messages.append({"role": "assistant", "content": answer.content})
        messages.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": use.id, "content": "5"} for use in uses]})
    with client.messages.stream(model="tiny", max_tokens=100, messages=messages[:1], tools=[tool],
                                tool_choice={"type": "tool", "name": "add"}) as stream:
        final = stream.get_final_message()
    assert final.content[-1].name == "add"
    jsonschema.validate(final.content[-1].input, tool["input_schema"])


@check
def anthropic_stop_prefill_thinking(server):
    client = server.anthropic()
    whole = client.messages.create(model="tiny", max_tokens=60, extra_body=GREEDY,
                                   messages=user("Tell me a story.")).content[0].text
    stop = whole[20:26]
    cut = client.messages.create(model="tiny", max_tokens=60, extra_body=GREEDY,
                                 messages=user("Tell me a story."), stop_sequences=[stop])
    assert cut.stop_reason == "stop_sequence" and cut.stop_sequence == stop
    assert cut.content[0].text == whole[:whole.index(stop)]
    begun = client.messages.create(
        model="tiny", max_tokens=20, extra_body=GREEDY,
        messages=FRANCE + [{"role": "assistant", "content": "The capital of France is"}])
    assert "Paris" in begun.content[0].text, begun
    client.messages.create(model="tiny", max_tokens=60, messages=FRANCE,
                           thinking={"type": "enabled", "budget_tokens": 1024})


@check
def anthropic_errors(server):
    client = server.anthropic(max_retries=0)
    try:
        client.messages.create(model="t", max_tokens=5, messages=FRANCE, extra_body={"temperature": 9})
        raise AssertionError("no error")
    except anthropic.BadRequestError as error:
        assert error.body["error"]["type"] == "invalid_request_error", error.body
    try:
        anthropic.Anthropic(base_url=server.url, api_key="wrong", max_retries=0).messages.create(
            model="t", max_tokens=5, messages=FRANCE)
        raise AssertionError("no error")
    except anthropic.AuthenticationError as error:
        assert error.body["error"]["type"] == "authentication_error"


# --- both, and neither ---

@check
def every_route_wants_the_key(server):
    open_to_all = {"/", "/health", "/openapi.json"}
    paths = server.get("/openapi.json")["paths"]
    for path, methods in paths.items():
        path = path.replace("{id}", "tiny")
        for method in ("get", "post", "put", "delete"):
            statuses = []
            for headers in ({}, {"x-api-key": KEY}, {"Authorization": f"Bearer {KEY}"},
                            {"x-api-key": "wrong"}):
                connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
                connection.request(method.upper(), path, "{}" if method == "post" else None, headers)
                answer = connection.getresponse()
                statuses.append(answer.status)
                answer.read()
                if method not in methods:
                    assert answer.status == 405 and answer.headers["allow"], (method, path, answer.status)
                connection.close()
            if method in methods:
                wanted = path not in open_to_all
                assert (statuses[0] == 401) == (statuses[3] == 401) == wanted, (path, statuses)
                assert 401 not in statuses[1:3], (path, statuses)
    return f"{len(paths)} paths"


@check
def metrics_are_prometheus(server):
    status, headers, text = server.request("GET", "/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(text.decode()))
    for family in families:
        assert family.type in ("counter", "gauge") and family.documentation, family
        for sample in family.samples:
            assert sample.value >= 0
            assert sample.name.endswith("_total") == (family.type == "counter"), sample
    assert len({family.name for family in families}) == len(families) > 20
    return f"{len(families)} families"


def thinking(program, model):
    """Reasoning and its budget, in each API's own form, by a template that begins with it."""
    template = os.path.join(os.path.dirname(__file__), "../tests/server/thinking.jinja")
    with Server(program, model, "--template", template) as server:
        schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
        client = server.openai()
        for budget in (0, 8, 20):
            answer = client.chat.completions.create(
                model="tiny", messages=FRANCE, max_tokens=120, seed=budget, response_format=schema,
                extra_body={"thinking_budget": budget})
            message = answer.choices[0].message
            jsonschema.validate(json.loads(message.content), PERSON)
            used = answer.usage.completion_tokens_details.reasoning_tokens
            assert used <= budget + 1 and (used > 0) == (budget > 0), (budget, used)
            assert bool(getattr(message, "reasoning_content", None)) == (budget > 0), message
        answer = client.responses.create(
            model="tiny", input="What is 2 plus 3?", max_output_tokens=120,
            extra_body={"thinking_budget": 10},
            text={"format": {"type": "json_schema", "name": "person", "schema": PERSON}})
        assert [item.type for item in answer.output] == ["reasoning", "message"]
        jsonschema.validate(json.loads(answer.output_text), PERSON)
        options = dict(model="tiny", max_tokens=120, messages=FRANCE,
                       thinking={"type": "enabled", "budget_tokens": 10})
        with server.anthropic().messages.stream(**options) as stream:
            for _ in stream:
                pass
            final = stream.get_final_message()
        assert final.content[0].type == "thinking" and final.content[0].thinking, final
        options["thinking"] = {"type": "disabled"}
        final = server.anthropic().messages.create(**options)
        assert [block.type for block in final.content] == ["text"], final


def retries(program, model):
    """A queue that is full is told, and the libraries' own retries get through."""
    server = Server(program, model, "--parallel", "1", "--max-queue", "1")
    try:
        bias = {str(token): -100 for token in range(4087, 4090)}
        client = server.openai(max_retries=0)
        streams = [client.chat.completions.create(
            model="tiny", messages=FRANCE, max_tokens=3000, logit_bias=bias, stream=True)
            for _ in range(2)]  # one runs, one waits
        next(iter(streams[0]))
        try:
            client.chat.completions.create(model="t", messages=FRANCE)
            raise AssertionError("no error")
        except openai.RateLimitError as error:
            assert error.response.headers["retry-after"]
        for stream in streams:
            threading.Timer(0.5, stream.close).start()
        server.openai(max_retries=5).chat.completions.create(
            model="tiny", messages=FRANCE, max_tokens=5)
    finally:
        server.stop()


def hostile(server):
    """What is no HTTP, or too much of it, leaves the server well."""
    random.seed(1)
    for i in range(200):
        with socket.create_connection((server.host, server.port), timeout=10) as s:
            garbage = random.randbytes(random.randrange(1, 2000))
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            s.sendall([garbage, head + garbage, head + b"Transfer-Encoding: chunked\r\n\r\n" + garbage,
                       head + b"Content-Length: 100\r\n\r\n" + garbage[:50]][i % 4])
            if i % 3:
                s.shutdown(socket.SHUT_WR)
    def post(body, chunked):
        connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
        connection.request("POST", "/tokenize", body, {"x-api-key": KEY}, encode_chunked=chunked)
        return connection.getresponse().status

    assert post(b"x" * (33 << 20), False) == 413
    assert post((b"x" * (1 << 20) for _ in range(40)), True) == 413
    begin = time.monotonic()
    assert server.get("/health")["status"] == "ok"
    return f"/health in {1000 * (time.monotonic() - begin):.1f} ms"


def schemathesis(server, seconds):
    """Requests derived from the description: no 5xx, no hang, answers and statuses as described."""
    program = os.path.join(os.path.dirname(sys.executable), "schemathesis")
    with tempfile.TemporaryDirectory() as folder:  # it leaves notes where it runs
        result = subprocess.run(
            [os.path.abspath(program), "run", server.url + "/openapi.json",
             "--header", f"x-api-key: {KEY}", "--checks", "not_a_server_error,"
             "status_code_conformance,content_type_conformance,response_schema_conformance",
             "--request-timeout", "30", "--max-time", str(seconds), "--continue-on-failure"],
            capture_output=True, text=True, timeout=seconds + 120, cwd=folder)
    print(result.stdout[-6000:])
    assert result.returncode == 0, result.stderr[-2000:]


def run(name, call):
    begin = time.monotonic()
    try:
        said = call()
    except Exception:
        traceback.print_exc()
        print(f"FAILED  {name}", flush=True)
        return False
    print(f"ok      {name:40} {time.monotonic() - begin:6.1f} s  {said or ''}", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", help="flashmoe")
    parser.add_argument("--model", default="models/tiny", help="the embedded model's folder")
    parser.add_argument("--only", default="", help="checks whose names contain this")
    parser.add_argument("--schemathesis", type=int, default=0, metavar="SECONDS")
    arguments = parser.parse_args()
    server = Server(arguments.program, arguments.model)
    passed = True
    for function in CHECKS:
        if arguments.only in function.__name__:
            passed &= run(function.__name__, lambda: function(server))
    if arguments.only in "hostile":
        passed &= run("hostile", lambda: hostile(server))
    for function in (retries, thinking):
        if arguments.only in function.__name__:
            passed &= run(function.__name__, lambda: function(arguments.program, arguments.model))
    if arguments.schemathesis:
        passed &= run("schemathesis", lambda: schemathesis(server, arguments.schemathesis))
    passed &= run("clean stop", server.stop)
    print(f"openai {openai.__version__}, anthropic {anthropic.__version__}")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()

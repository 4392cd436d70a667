"""Holds random answers to random JSON schemas and validates every one of them independently.

    python tools/check_schemas.py build/release/tests/text/grammar_walk models/tiny/tokenizer.json \
        [--count 2000] [--seed 0] [--tools] [--keep FILE.jsonl]

The answers are random walks through the token masks (no model), under random limits on their tokens,
so they go where no model would. Each must be whole, valid JSON and valid under its schema as
`jsonschema` with its format checkers sees it (pip install jsonschema rfc3339-validator fqdn rfc3987
isoduration jsonpointer). With --tools the schemas are those of tools' arguments, in both forms.
Schemas that are refused are counted and must name a keyword or have no finite value.
"""
import argparse
import json
import random
import subprocess
import sys

import jsonschema

PATTERNS = [r"^[a-z]{2,5}$", r"^\d{3}-\d{4}$", r"foo|bar", r"^(?:a|bc)+\"?$", r"^[^x\d]{1,4}$", r"\\\\n",
            r"^\S+@\w+\.(com|org)$", r"^é?[\u0061-\u0066]*$", r"^.{0,6}$", r"^(a[bc]?)*d$", r"[A-Z]\W"]
FORMATS = ["date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri",
           "json-pointer"]
KEYS = ["name", "id", "a", "ab", "abc", "value", "x y", "é", "na\"me", "tags", "tägs", "_", "0", "\\n"]
VALUES = [0, 1, -7, 2.5, 1e-7, 1e20, "a", "é\n\"", "", True, False, None, [], {}, [1, "x"], {"k": None}]


class Schemas:
    def __init__(self, rng):
        self.r = rng
        self.defs = {}
        self.depth = 0

    def chance(self, p):
        return self.r.random() < p

    def make(self):
        r = self.r
        names = [f"d{i}" for i in range(r.randint(0, 3))]
        self.names = names
        body = self.schema(0)
        for name in names:
            self.defs[name] = self.schema(2)
        if names:
            if isinstance(body, bool):
                body = {}
            body["$defs"] = self.defs
        return body

    def schema(self, depth):
        r = self.r
        kinds = ["string", "string", "integer", "number", "boolean", "null", "enum", "const"]
        if depth < 4:
            kinds += ["object"] * 5 + ["array"] * 3 + ["anyOf", "oneOf", "allOf", "types", "any"]
        if self.names:
            kinds += ["ref"] * 2
        made = getattr(self, "make_" + r.choice(kinds))(depth)
        if isinstance(made, dict) and self.chance(0.1):
            made["description"] = "words"
        return made

    def make_string(self, depth):
        r = self.r
        s = {"type": "string"}
        kind = r.randint(0, 5)
        if kind == 0:
            s["pattern"] = r.choice(PATTERNS)
        elif kind == 1:
            s["format"] = r.choice(FORMATS)
        if kind in (2, 3) or self.chance(0.1):
            low = r.choice([0, 0, 1, 3, 20])
            if self.chance(0.7):
                s["minLength"] = low
            if self.chance(0.7):
                s["maxLength"] = low + r.choice([0, 1, 5, 40])
        return s

    def limits(self, s, whole):
        r = self.r
        number = (lambda: r.choice([r.randint(-20, 20), r.randint(-10**6, 10**6), 0, 10**12])) if whole or self.chance(0.4) \
            else (lambda: r.choice([round(r.uniform(-3, 3), r.randint(0, 6)), r.uniform(-1e5, 1e5), 0.5, -1e-5, 1e9]))
        low, high = sorted([number(), number()])
        if self.chance(0.5):
            s[r.choice(["minimum", "exclusiveMinimum"])] = low
        if self.chance(0.5):
            s[r.choice(["maximum", "exclusiveMaximum"])] = high
        return s

    def make_integer(self, depth):
        s = self.limits({"type": "integer"}, True)
        if self.chance(0.25):
            s["multipleOf"] = self.r.choice([1, 2, 3, 7, 10, 25, 60])
        return s

    def make_number(self, depth):
        return self.limits({"type": "number"}, False)

    def make_boolean(self, depth):
        return {"type": "boolean"}

    def make_null(self, depth):
        return {"type": "null"}

    def make_enum(self, depth):
        return {"enum": self.r.sample(VALUES, self.r.randint(1, 5))}

    def make_const(self, depth):
        return {"const": self.r.choice(VALUES)}

    def make_any(self, depth):
        return self.r.choice([{}, True, {"type": "object"}, {"type": "array"}])

    def make_ref(self, depth):
        return {"$ref": "#/$defs/" + self.r.choice(self.names)}

    def make_types(self, depth):
        types = self.r.sample(["string", "integer", "number", "boolean", "null", "array", "object"], self.r.randint(1, 3))
        s = {"type": types}
        if "string" in types and self.chance(0.5):
            s["maxLength"] = 5
        if ("number" in types or "integer" in types) and self.chance(0.5):
            s["minimum"] = -3
        return s

    def make_object(self, depth):
        r = self.r
        s = {"type": "object"}
        keys = r.sample(KEYS, r.randint(0, 5))
        if keys or self.chance(0.5):
            s["properties"] = {k: self.schema(depth + 1) for k in keys}
        required = [k for k in keys if self.chance(0.6)]
        if self.chance(0.05):
            required.append("missing")
        if required or self.chance(0.2):
            s["required"] = required
        kind = r.randint(0, 4)
        if kind <= 1:
            s["additionalProperties"] = False
        elif kind == 2:
            s["additionalProperties"] = self.schema(depth + 2)
        if self.chance(0.08):
            s["minProperties"] = r.randint(0, 2)
        if self.chance(0.08):
            s["maxProperties"] = len(keys) + r.randint(0, 3)
        return s

    def make_array(self, depth):
        r = self.r
        s = {"type": "array"}
        if self.chance(0.8):
            s["items"] = self.schema(depth + 1)
        if self.chance(0.25):
            s["prefixItems"] = [self.schema(depth + 1) for _ in range(r.randint(1, 3))]
        low = r.choice([0, 0, 1, 2, 4])
        if self.chance(0.5):
            s["minItems"] = low
        if self.chance(0.5):
            s["maxItems"] = low + r.randint(0, 4)
        return s

    def make_anyOf(self, depth):
        s = {"anyOf": [self.schema(depth + 1) for _ in range(self.r.randint(1, 3))]}
        if self.chance(0.2):
            s["type"] = self.r.choice(["object", "string", "integer"])
        return s

    def make_oneOf(self, depth):
        r = self.r
        if self.chance(0.5):
            return {"oneOf": [{"type": "object", "properties": {"kind": {"const": k}, "v": self.schema(depth + 1)},
                               "required": ["kind"], "additionalProperties": False}
                              for k in r.sample(["a", "b", "c"], r.randint(1, 3))]}
        return {"oneOf": r.sample([{"type": "string"}, {"type": "integer"}, {"type": "null"}, self.make_array(depth + 1),
                                   self.make_object(depth + 1)], r.randint(1, 4))}

    def make_allOf(self, depth):
        r = self.r
        parts = [self.make_object(depth + 1) for _ in range(r.randint(1, 2))]
        for part in parts:
            if self.chance(0.7):
                part["additionalProperties"] = True
        if self.names and self.chance(0.3):
            parts.append(self.make_ref(depth))
        if self.chance(0.3):
            return {"allOf": [self.limits({"type": "integer"}, True), self.limits({"type": "number"}, False)]}
        return {"allOf": parts}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("walk")
    parser.add_argument("tokenizer")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tools", action="store_true")
    parser.add_argument("--keep")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    lines, schemas = [], []
    for number in range(options.count):
        schema = Schemas(rng).make()
        line = {"seed": number, "limit": rng.choice([0, 0, 1, 3, 10, 40, 200]), "prefer": rng.choice([0, 0, 20, 60, 90])}
        if options.tools:
            keys = rng.sample(["city", "n", "flag", "list", "opt"], rng.randint(0, 4))
            maker = Schemas(rng)
            maker.names = []
            schema = {"type": "object", "properties": {k: maker.schema(2) for k in keys},
                      "required": [k for k in keys if rng.random() < 0.6]}
            line["tools"] = [{"name": "f", "strict": True, "parameters": schema}, {"name": "g"}]
            line["format"] = rng.choice(["xml", "json"])
            line["choice"] = rng.choice(["auto", "required"])
            line["parallel"] = rng.random() < 0.5
        else:
            line["schema"] = schema
        lines.append(line)
        schemas.append(schema)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    if options.keep:
        open(options.keep, "w").write(text)
    run = subprocess.run([options.walk, options.tokenizer], input=text, capture_output=True, text=True)
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    if run.returncode != 0 or len(answers) != len(lines):
        sys.exit(f"grammar_walk ended with {run.returncode} after {len(answers)} lines: {run.stderr[-500:]}\n{lines[len(answers)] if len(answers) < len(lines) else ''}")
    refused, valid, wrong, calls, reasons = 0, 0, 0, 0, {}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER

    def check(schema, text):
        value = json.loads(text, parse_constant=lambda c: (_ for _ in ()).throw(ValueError(c)))
        jsonschema.Draft202012Validator(schema, format_checker=checker).validate(value)

    for line, schema, answer in zip(lines, schemas, answers):
        if "error" in answer:
            refused += 1
            reason = answer["error"].split(": ", 1)[-1][:60]
            reasons[reason] = reasons.get(reason, 0) + 1
            continue
        try:
            if "failure" in answer:
                raise ValueError(answer["failure"])
            if answer["tokens"] > answer["shortest"] + line["limit"]:
                raise ValueError("longer than its limit")
            if options.tools:
                for call in answer["calls"]:
                    calls += 1
                    if call["name"] == "f":
                        check(schema, call["arguments"])
                    else:
                        json.loads(call["arguments"])
                if line["choice"] == "required" and (not answer["calls"] or answer["content"].strip()):
                    raise ValueError("no call, or something else")
                if "<tool_call>" in answer["content"]:
                    raise ValueError("a call in the content")
            else:
                check(schema, answer["text"])
            valid += 1
        except Exception as error:
            wrong += 1
            if wrong <= 5:
                print(json.dumps(line), "\n ", answer.get("text"), "\n ", str(error).split("\n")[0], "\n")
    print(f"{valid} valid, {wrong} wrong, {refused} refused" + (f", {calls} calls" if options.tools else ""))
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:25]:
        print(f"  {count:5d}  {reason}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Makes the goldens of the chat templates with jinja2, set up as transformers sets it up.

Usage: golden_templates.py TEMPLATE_FOLDER  (in an environment with transformers and jinja2)

Writes into tests/golden/templates:
  features.json  small templates, one per feature of the language, with jinja2's whole output or the
                 fact that it raises. They are in golden_template_features.py.
  rendered.json  for each template of TEMPLATE_FOLDER and each conversation of conversations.json,
                 the FNV-1a hash of the output, or "raises". The templates themselves are other
                 people's and not part of the repository.
Time stands still at 2025-02-03 14:05:06.
"""
import datetime
import json
import pathlib
import sys

from transformers.utils import chat_template_utils

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from golden_template_features import FEATURES, VARS  # noqa: E402

GOLDEN = pathlib.Path(__file__).parent.parent / "tests" / "golden" / "templates"


class FrozenTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2025, 2, 3, 14, 5, 6)


chat_template_utils.datetime = FrozenTime


def render(source, variables):
    """The output, or None if jinja2 raises, with the reason."""
    try:
        return chat_template_utils._compile_jinja_template(source).render(**variables), None
    except Exception as error:  # whatever it is, there is no output
        return None, f"{type(error).__name__}: {error}"


def fnv1a(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def features():
    out = []
    for name, template in FEATURES:
        output, reason = render(template, json.loads(json.dumps(VARS)))
        if output is not None and " at 0x" in output:
            print(f"left out, its output holds an address: {name}")
            continue
        entry = {"name": name, "template": template}
        if reason is None:
            entry["output"] = output
        else:
            entry["raises"] = reason
        out.append(entry)
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in out)
    variables = json.dumps(VARS, ensure_ascii=False)
    (GOLDEN / "features.json").write_text(f'{{"variables": {variables},\n"features": [\n{lines}\n]}}\n')
    return out


def rendered(folder, dump):
    conversations = json.loads((GOLDEN / "conversations.json").read_text())
    table = {}
    for path in sorted(folder.glob("*.jinja")):
        row = {}
        for name, variables in conversations.items():
            output, reason = render(path.read_text(), json.loads(json.dumps(variables)))
            row[name] = "raises" if output is None else fnv1a(output)
            if dump:
                (dump / f"{path.stem}.{name}").write_text(output if reason is None else f"RAISES {reason}")
        table[path.name] = row
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in table.items())
    (GOLDEN / "rendered.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    made = features()
    print(len(made), "features,", sum("raises" in entry for entry in made), "of them raise")
    if len(sys.argv) > 1:
        rendered(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None)

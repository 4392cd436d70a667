#!/usr/bin/env python3
"""Uses `flashmoe chat` as people do, in a pseudo-terminal: keys, commands, Ctrl-C, tools.

    python3 -m venv venv && venv/bin/pip install pexpect
    venv/bin/python tools/check_chat.py build/release/flashmoe [--show]

Models: the embedded one, and a server of this script's own that says what a check needs (endless
answers, calls of tools). HOME is an empty folder. Prints a line for each check, with --show also
all that the terminal got. Exit code 0 when all passed.
"""
import argparse
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import pexpect

from local_server import KEY, LocalServer

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


class ScriptedServer(http.server.ThreadingHTTPServer):
    """Answers chats with what `script` says: a list of texts, of (tool, arguments), or "endless"."""

    def __init__(self, script):
        self.script, self.requests = list(script), []
        super().__init__(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answers(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        found = self.path == "/v1/models"
        self.send_response(200 if found else 404)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"data": [{"id": "scripted"}]} if found else
                                    {"error": {"message": "nothing here"}}).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(body)
        step = self.server.script.pop(0)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()

        def send(delta, finish=None):
            chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

        try:
            if step == "endless":
                while True:
                    send({"content": "more and "})
                    time.sleep(0.02)
            elif isinstance(step, tuple):
                send({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {
                    "name": step[0], "arguments": json.dumps(step[1])}}]})
                send({}, "tool_calls")
            else:
                send({"content": step})
                send({}, "stop")
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            pass  # it was stopped


class Terminal:
    """flashmoe chat in a pseudo-terminal, with a home of its own unless one is given."""

    def __init__(self, chat, *options, home=None, term="xterm-256color"):
        self.home = home or tempfile.mkdtemp(dir=chat.folder)
        environment = {**os.environ, "HOME": self.home, "TERM": term}
        environment.pop("XDG_DATA_HOME", None)
        self.child = pexpect.spawn(
            chat.program, ["chat", *options], env=environment, encoding="utf-8", timeout=20,
            dimensions=(40, 100), logfile=None)
        self.child.logfile_read = self
        self.seen, self.shows = "", chat.shows
        self.ready()

    def write(self, text):
        self.seen += text
        if self.shows:
            sys.stdout.write(text)

    def flush(self):
        pass

    def ready(self, prompt="> "):
        """Waits for the prompt; what came before it."""
        self.child.expect(re.compile(r"(^|\n|\r|\x1b\[[0-9]*[a-zA-Z])" + re.escape(prompt) + r"$"))
        return self.child.before.replace("\r", "")

    def say(self, line, prompt="> "):
        self.child.send(line + "\r")
        return self.ready(prompt)

    def leave(self):
        self.child.send("/quit\r")
        self.child.expect(pexpect.EOF)
        self.child.close()
        assert self.child.exitstatus == 0, self.child.exitstatus

    def sessions(self):
        """Of each conversation that is kept, the newest last: its messages."""
        folder = pathlib.Path(self.home, ".local/share/flashmoe/sessions")
        return [[json.loads(line) for line in path.read_text().splitlines()]
                for path in sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)]

    def expect_said(self, lines):
        """What the user said in the newest; a redrawn prompt may come before the last is kept."""
        deadline = time.monotonic() + 10
        while True:
            sessions = self.sessions()
            said = [m["content"] for m in sessions[-1] if m.get("role") == "user"] if sessions else []
            if said == lines:
                return
            assert time.monotonic() < deadline, (said, lines)
            time.sleep(0.05)


class Chat:
    def __init__(self, program, shows, folder):
        self.program, self.shows, self.folder = program, shows, folder

    def pipe(self, text, *options, home=None):
        environment = {**os.environ, "HOME": home or tempfile.mkdtemp(dir=self.folder)}
        environment.pop("XDG_DATA_HOME", None)
        return subprocess.run([self.program, "chat", *options], input=text, text=True,
                              capture_output=True, timeout=60, env=environment)


@check
def answers_and_leaves(chat):
    t = Terminal(chat)
    assert "Paris" in t.say("What is the capital of France?")
    t.leave()
    assert "flashmoe chat --resume" in t.seen


@check
def edits_lines_and_remembers_them(chat):
    t = Terminal(chat)
    t.say("/set max_tokens 8")
    t.say("xello there\x01\x04H")  # to the beginning, delete the x
    t.expect_said(["Hello there"])
    t.say("wrong\x15right")  # delete the line
    t.say("two words\x17word")  # delete the last word
    t.say("\x1b[A\x1b[A!")  # up twice
    t.say("ab\x1b[D-")  # left
    t.expect_said(["Hello there", "right", "two word", "right!", "a-b"])
    t.leave()
    again = Terminal(chat, home=t.home)
    again.say("/set max_tokens 8")
    again.say("\x1b[A\x1b[A\x1b[A")  # beyond this chat's own lines
    again.expect_said(["a-b"])
    again.leave()


@check
def takes_several_lines(chat):
    t = Terminal(chat)
    t.say("/set max_tokens 8")
    t.say("one \\", prompt="... ")
    t.say("two")
    t.say('"""three', prompt="... ")
    t.say("", prompt="... ")
    t.say('four"""')
    t.expect_said(["one \ntwo", "three\n\nfour"])
    t.leave()


@check
def has_every_command(chat):
    t = Terminal(chat)
    listed = re.findall(r"^  (/[a-z]+)", t.say("/help"), re.M)
    assert listed == ["/help", "/new", "/save", "/load", "/sessions", "/system", "/model", "/set",
                      "/stats", "/quit"], listed
    assert "no system message" in t.say("/system")
    t.say("/system Be brief.")
    assert "Be brief." in t.say("/system")
    t.say("/set temperature 0")
    assert re.search(r"temperature +0", t.say("/set"))
    assert "temperature" in t.say("/set temperature hot")
    t.say("/set max_tokens 12")
    t.say("Hello")
    file = os.path.join(t.home, "kept.jsonl")
    assert "kept.jsonl" in t.say("/save " + file) and os.path.exists(file)
    assert "Hello" in t.say("/sessions")
    assert "last answer" in t.say("/stats")
    t.say("/new")
    t.say("Another")
    assert "Hello" in t.say("/load " + file)
    assert "no conversation" in t.say("/load none")
    assert "tiny" in t.say("/model")
    speed = t.say("/stats")
    assert "no such" in t.say("/model nosuch")  # and the one in use stays
    t.say("Still there?")
    assert "hits" in speed and "hits" in t.say("/stats")
    assert "/help" in t.say("/unknown")
    t.say("/system -")
    assert "no system message" in t.say("/system")
    t.leave()
    assert t.sessions()[0][1] == {"role": "system", "content": "Be brief."}, t.sessions()[0]


@check
def ctrl_c_stops_the_answer_alone(chat):
    server = ScriptedServer(["endless", "short"])
    t = Terminal(chat, "--url", server.url)
    t.child.send("go\r")
    t.child.expect_exact("more and more and")
    t.child.send("\x03")
    assert "stopped" in t.ready()
    t.child.send("half a line\x03")
    t.ready()
    assert "short" in t.say("go on")
    kept = server.requests[1]["messages"]
    assert kept[1]["role"] == "assistant" and kept[1]["content"].startswith("more and"), kept
    assert kept[2]["content"] == "go on", kept
    t.leave()
    # Also where the model is in this process.
    t = Terminal(chat)
    t.child.send('Tell me a story. "Tell me a story." Tell me a very long story.\r')
    t.child.expect("[A-Z][a-z]+ [a-z]+")
    t.child.send("\x03")
    t.ready()
    assert "Paris" in t.say("What is the capital of France?")
    t.child.send("\x04")
    t.child.expect(pexpect.EOF)


@check
def dumb_terminals_and_pipes_get_plain_text(chat):
    t = Terminal(chat, term="dumb")
    assert "Paris" in t.say("What is the capital of France?")
    t.leave()
    assert "\x1b" not in t.seen, t.seen
    piped = chat.pipe("What is the capital of France?\n/set\nHello")
    assert piped.returncode == 0, piped
    assert "Paris" in piped.stdout and "\x1b" not in piped.stdout and "> " not in piped.stdout
    assert "temperature" in piped.stdout


@check
def conversations_are_resumed(chat):
    t = Terminal(chat)
    t.say("/set max_tokens 12")
    t.say("My name is Ann.")
    t.leave()
    name = re.search(r"--resume (\S+)", t.seen).group(1)
    listed = subprocess.run([chat.program, "chat", "--sessions"], text=True, capture_output=True,
                            env={**os.environ, "HOME": t.home, "XDG_DATA_HOME": ""})
    assert name in listed.stdout and "My name is Ann." in listed.stdout, listed
    again = Terminal(chat, "--resume", name, home=t.home)
    assert "My name is Ann." in again.seen, again.seen
    again.say("/set max_tokens 12")
    again.say("And yours?")
    again.leave()
    assert len(again.sessions()) == 1
    again.expect_said(["My name is Ann.", "And yours?"])
    wrong = chat.pipe("", "--resume", "none", home=t.home)
    assert wrong.returncode != 0 and "none" in wrong.stderr, wrong


@check
def talks_to_a_server(chat):
    with LocalServer(chat.program, "models/tiny", "--memory", "1GiB") as server:
        t = Terminal(chat, "--url", server.url, "--api-key", KEY)
        assert "Paris" in t.say("What is the capital of France?")
        assert "hits" in t.say("/stats")
        t.leave()
        assert "key" in chat.pipe("hi\n", "--url", server.url, "--api-key", "wrong").stderr
    gone = chat.pipe("hi\n", "--url", server.url)
    assert gone.returncode == 1 and server.url.split("//")[1] in gone.stderr, gone


@check
def the_shell_asks_first(chat):
    server = ScriptedServer([
        ("shell", {"command": "echo from the $((1 + 1))nd"}), "It ran.",
        ("shell", {"command": "touch never"}), "It did not.",
        ("shell", {"command": "yes word"}), ("shell", {"command": "sleep 100"})])
    t = Terminal(chat, "--url", server.url, "--shell")
    question = t.say("run it", prompt="Run this? [y/N] ")
    assert "echo from the $((1 + 1))nd" in question, question
    shown = t.say("y")
    assert "from the 2nd" in shown and "It ran." in shown, shown
    assert server.requests[1]["messages"][-1]["content"].startswith("from the 2nd")
    assert server.requests[0]["tools"][0]["function"]["name"] == "shell"
    t.say("another", prompt="Run this? [y/N] ")
    assert "did not allow" in t.say("")
    t.say("much", prompt="Run this? [y/N] ")
    t.child.send("y\r")  # endless output: what is beyond the limit is dropped, Ctrl-C ends it
    time.sleep(1)
    t.child.send("\x03")
    shown = t.ready()
    assert "only the first" in shown and "stopped" in shown, shown[-300:]
    t.say("wait", prompt="Run this? [y/N] ")
    t.child.send("y\r")
    time.sleep(0.3)
    t.child.send("\x03")
    assert "stopped" in t.ready()
    t.leave()
    assert not os.path.exists("never")


@check
def tools_of_a_file(chat):
    file = os.path.join(chat.folder, "tools.json")
    with open(file, "w") as out:
        json.dump([{"name": "count", "description": "Counts letters.", "ask": False,
                    "parameters": {"type": "object", "properties": {"word": {"type": "string"}},
                                   "required": ["word"]},
                    "command": ["sh", "-c", "printf %s \"$1\" | wc -c", "sh", "{word}"]},
                   {"name": "slow", "command": ["sleep", "100"], "timeout_s": 0.5, "ask": False},
                   {"name": "asks", "command": ["echo", "asked"]}], out)
    server = ScriptedServer([("count", {"word": "four; echo no"}), ("slow", {}), ("asks", {}),
                             "Done."])
    t = Terminal(chat, "--url", server.url, "--tools", file)
    t.say("go", prompt="Run this? [y/N] ")
    assert "Done." in t.say("y")
    results = [m["content"].strip() for m in server.requests[-1]["messages"] if m["role"] == "tool"]
    assert results[0] == "13" and "0.5 seconds" in results[1] and results[2] == "asked", results
    t.leave()
    with open(file, "w") as out:
        out.write("[{]")
    wrong = chat.pipe("", "--url", server.url, "--tools", file)
    assert wrong.returncode != 0 and "tools.json" in wrong.stderr, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", help="flashmoe")
    parser.add_argument("--only", default="", help="checks whose names contain this")
    parser.add_argument("--show", action="store_true", help="what the terminal gets")
    options = parser.parse_args()
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        for function in CHECKS:
            if options.only not in function.__name__:
                continue
            begin = time.monotonic()
            try:
                function(Chat(os.path.abspath(options.program), options.show, folder))
                print(f"ok      {function.__name__:44} {time.monotonic() - begin:5.1f} s",
                      flush=True)
            except Exception:
                traceback.print_exc()
                print(f"FAILED  {function.__name__}", flush=True)
                passed = False
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()

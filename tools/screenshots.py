#!/usr/bin/env python3
"""Takes the pictures of docs/: the page (wide, on a phone, in the dark) and the chat in a terminal.

    tools/screenshots.py [--flashmoe build/release/flashmoe] [--out docs/images]

Starts `flashmoe serve` with the embedded model on a free port, asks it something in headless
Chromium, and types the same into `flashmoe chat` on a pseudo-terminal. Needs Debian's chromium, and
the Python packages playwright and pyte.
"""

import argparse
import fcntl
import html
import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time

import pyte
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parent.parent
QUESTIONS = ["Explain quantum computing", "What is 12 + 30?"]
COLUMNS, ROWS = 88, 26


def start_server(flashmoe, folder):
    server = subprocess.Popen(
        [flashmoe, "serve", str(ROOT / "models/tiny"), "--port", "0", "--memory", "1GiB"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "HOME": folder})
    for line in server.stdout:
        found = re.search(r"http://\S+", line)
        if found:
            return server, found.group()
    sys.exit("flashmoe serve ended without saying where it listens")


def ask(page, question):
    page.fill("#prompt", question)
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#send').textContent === 'Send' && "
                           "document.querySelectorAll('.turn.assistant').length > 0", timeout=120_000)


def page_pictures(url, out):
    views = {
        "page-wide": dict(viewport={"width": 1280, "height": 800}),
        "page-phone": dict(viewport={"width": 390, "height": 780}, device_scale_factor=2,
                           is_mobile=True, has_touch=True),
        "page-dark": dict(viewport={"width": 1280, "height": 800}, color_scheme="dark"),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, options in views.items():
            context = browser.new_context(**options)
            page = context.new_page()
            problems = []
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(url)
            page.wait_for_function("document.querySelector('#model').textContent !== 'connecting…'")
            # Between two readings of the engine, so that the map shows what the last answer did.
            reading = "/stats" if name == "page-phone" else "/stats/experts"
            for question in QUESTIONS:
                ask(page, question)
                page.wait_for_event("response", lambda response: response.url.endswith(reading))
            page.wait_for_timeout(100)
            page.screenshot(path=out / f"{name}.png")
            if name == "page-phone":
                page.click("#view")
                page.wait_for_timeout(1500)
                page.screenshot(path=out / "page-phone-engine.png")
            context.close()
            if problems:
                sys.exit(f"{name}: {problems}")
        browser.close()


def run_chat(flashmoe, folder):
    """Types the questions into flashmoe chat; what then stands on the terminal."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", HOME=folder, XDG_DATA_HOME=folder)
        os.execv(flashmoe, [flashmoe, "chat", str(ROOT / "models/tiny"), "--memory", "1GiB"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def wait_for_prompt():
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 0.5)[0]:
                if screen.display[screen.cursor.y].rstrip() == ">":
                    return
                continue
            try:
                stream.feed(os.read(terminal, 65536))
            except OSError:
                sys.exit("flashmoe chat ended early:\n" + "\n".join(screen.display))
        sys.exit("flashmoe chat gives no prompt:\n" + "\n".join(screen.display))

    wait_for_prompt()
    for question in QUESTIONS:
        os.write(terminal, question.encode() + b"\n")
        time.sleep(0.5)
        wait_for_prompt()
    os.write(terminal, b"\x04")
    os.waitpid(pid, 0)
    return screen


def colour(name, fallback):
    if name == "default":
        return fallback
    return "#" + name if re.fullmatch("[0-9a-f]{6}", name) else {"brown": "#c7a75a"}.get(name, name)


def screen_html(screen):
    lines = []
    for y in range(screen.lines):
        line = ""
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            style = f"color:{colour(cell.fg, '#ddd')};background:{colour(cell.bg, '#1b1b1b')}"
            style += ";font-weight:bold" if cell.bold else ""
            style += ";font-style:italic" if cell.italics else ""
            line += f'<span style="{style}">{html.escape(cell.data)}</span>'
        lines.append(line)
    return ('<body style="margin:0;background:#1b1b1b"><pre style="display:inline-block;padding:16px;'
            'margin:0;font:15px/1.35 DejaVu Sans Mono,monospace">' + "\n".join(lines) + "</pre></body>")


def terminal_picture(screen, out):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.set_content(screen_html(screen))
        page.locator("pre").screenshot(path=out / "chat.png")
        browser.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--flashmoe", default=ROOT / "build/release/flashmoe", type=pathlib.Path)
    parser.add_argument("--out", default=ROOT / "docs/images", type=pathlib.Path)
    arguments = parser.parse_args()
    flashmoe = str(arguments.flashmoe.resolve())
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server, url = start_server(flashmoe, folder)
        try:
            page_pictures(url, arguments.out)
        finally:
            server.terminate()
            server.wait()
        terminal_picture(run_chat(flashmoe, folder), arguments.out)
    print("\n".join(sorted(str(path) for path in arguments.out.glob("*.png"))))


if __name__ == "__main__":
    main()

"""Runs the shell blocks of README.md against the running system whose addresses are in the environment.

Each block is named by its first line below, with how it is run; a block that is not named fails, so that none is forgotten.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
NOT_FOUND = 4


def run(lines, folder, expect=(0,)):
    """Runs lines as one script; its output. `./run` there says where the system is, as the real one does."""
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(lines)], cwd=folder, capture_output=True, text=True, timeout=240)
    print(done.stdout, end="")
    if done.returncode not in expect:
        sys.exit(f"README: exit code {done.returncode} of\n" + "\n".join(lines) + "\n" + done.stdout + done.stderr)
    return done.stdout


def place_an_order(lines, folder):
    text = run(lines, folder)
    for wanted in ["HTTP/1.1 202", "location: /v1/orders/", '"sku":"sample-coffee"', '"data":[{']:
        if wanted.lower() not in text.lower():
            sys.exit(f"README: placing an order does not print {wanted}:\n{text}")


def operate(lines, folder):
    """`ops` itself is the program under test; the letters it names are examples and need not be there."""
    program = f'ops() {{ {BINARIES / "ops"} "$@"; }}'
    for line in lines[1:]:
        run([program, line], folder, expect=(0, NOT_FOUND))


def look_inside(lines, folder):
    ask = 'curl -s "$TOKEN_URL" -d grant_type=client_credentials -d client_id=ada -d client_secret=x -d scope=orders:read'
    token = f"""TOKEN=$({ask} | python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')"""
    text = run([f'ops() {{ {BINARIES / "ops"} "$@"; }}', token, *lines], folder)
    if "FAIL" in text or '"data":' not in text:
        sys.exit(f"README: the doctor is not content, or no orders are listed:\n{text}")


def judge(lines, folder):
    """The measurements take minutes; what they are called with must be understood, and the checker must be content."""
    for name, words in re.findall(r"cargo run --release --bin (\w+) -- (.*?)\s*(?:#.*)?$", "\n".join(lines), re.M):
        command = words.split() if name == "it" else [*words.split(), "--help"]
        run([f"{BINARIES / name} {' '.join(command)}"], folder)


BLOCKS = {
    "./run     #": None,  # this very test stands on what ./run starts, and is part of ./test
    'eval "$(./run status -o env)"': place_an_order,
    "ops() { cargo run": operate,
    "ops doctor": look_inside,
    "eval \"$(./run status -o env | sed 's/^/export /')\"": judge,
}


def main():
    text = (ROOT / "README.md").read_text()
    blocks = [block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)]
    used = set()
    with tempfile.TemporaryDirectory() as folder:
        status = pathlib.Path(folder) / "run"
        status.write_text("#!/bin/sh\nenv | grep -E '^[A-Z_]*(_URL|_BOOTSTRAP|OIDC_[A-Z]*)='\n")
        status.chmod(0o755)
        for lines in blocks:
            name = next((name for name in sorted(BLOCKS, key=len, reverse=True) if lines[0].startswith(name)), None)
            if name is None:
                sys.exit(f"README: nobody says how to run the block that begins with {lines[0]!r} (it/python/readme.py)")
            used.add(name)
            if BLOCKS[name]:
                BLOCKS[name](lines, folder)
    if used != set(BLOCKS):
        sys.exit(f"README: blocks that are gone: {set(BLOCKS) - used}")
    print(f"README: {len(blocks)} blocks are true")
    diffs()


def diffs():
    """Each recipe of CONTRIBUTING.md shows a real diff, as far as this clone has the history."""
    blocks = re.findall(r"^```sh\n(git show (\w+) -- .*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)
    if len(blocks) < 6:
        sys.exit("CONTRIBUTING: a recipe has lost its diff")
    for command, commit in blocks:
        known = subprocess.run(["git", "cat-file", "-e", f"{commit}^{{commit}}"], cwd=ROOT, capture_output=True).returncode == 0
        if known and len(subprocess.run(command.split(), cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()) < 5:
            sys.exit(f"CONTRIBUTING: nothing is shown by {command}")
    print(f"CONTRIBUTING: {len(blocks)} diffs are there")


main()

# SPDX-License-Identifier: Apache-2.0
"""Runs the scripts of this folder, which use the stock @kubernetes/client-node."""
import fcntl
import json
import pathlib
import queue
import subprocess
import threading

HERE = pathlib.Path(__file__).resolve().parent


def install():
    """`npm ci`, when what is installed is not what package-lock.json says."""
    want = (HERE / "package-lock.json").read_text()
    done = HERE / "node_modules" / ".isoplane-lock.json"
    with open(HERE / "package.json") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and done.read_text() == want:
            return
        r = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=HERE, text=True,
                           capture_output=True, timeout=300)
        assert r.returncode == 0, f"npm ci: {r.stdout}{r.stderr}"
        done.write_text(want)


def run(script, *args, timeout=120, **kw):
    install()
    return subprocess.run(["node", HERE / script, *map(str, args)], cwd=HERE, text=True, capture_output=True,
                          timeout=timeout, **kw)


class Script:
    """One that runs on and prints a line of JSON an event."""

    def __init__(self, script, *args):
        install()
        self.lines = queue.Queue()
        self.seen = []
        self.proc = subprocess.Popen(["node", HERE / script, *map(str, args)], cwd=HERE, text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.proc.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def next(self, timeout=30):
        try:
            e = self.lines.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"nothing came after {self.seen[-5:]}") from None
        self.seen.append(e)
        return e

    def ask(self):
        self.proc.stdin.write("?\n")
        self.proc.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.stdin.close()
        self.proc.terminate()
        self.proc.wait(10)
        self.proc.stdout.close()

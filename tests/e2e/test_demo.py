# SPDX-License-Identifier: Apache-2.0
"""The README's first command, from a fresh clone, as a new user runs it."""
import os
import shutil
import subprocess
import tempfile

from boxes import TOP, free_port


def test_demo_in_a_fresh_clone():
    base = tempfile.mkdtemp(prefix="isoplane-demo-")
    clone = os.path.join(base, "clone")
    env = dict(os.environ, ISOPLANE_DIR=os.path.join(base, "data"),
               ISOPLANE_LISTEN=f"127.0.0.1:{free_port()}")
    env.pop("KUBECONFIG", None)

    def demo(*args, timeout=900):
        return subprocess.run(["tools/demo", *args], cwd=clone, env=env, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    subprocess.run(["git", "clone", "-q", str(TOP), clone], check=True)
    try:
        first = demo()
        assert first.returncode == 0, first.stdout[-6000:]
        for text in ("virtualmachine.kubevirt.io/demo", "hello from a container named web", "isomorphic",
                     "everything running"):
            assert text in first.stdout, first.stdout[-6000:]
        second = demo()
        assert second.returncode == 0, second.stdout[-6000:]
        assert "everything runs already: nothing changed" in second.stdout
    finally:
        stopped = demo("--stop", timeout=180)
        assert stopped.returncode == 0, stopped.stdout[-3000:]
        assert not os.path.exists(env["ISOPLANE_DIR"])
        shutil.rmtree(base, ignore_errors=True)

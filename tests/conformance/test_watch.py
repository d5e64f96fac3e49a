# SPDX-License-Identifier: Apache-2.0
"""Watches, as upstream's server answers them."""
import pytest


def cms(ns, name=""):
    return f"/api/v1/namespaces/{ns}/configmaps" + (f"/{name}" if name else "")


def create(api, ns, name, **more):
    return api.ok("POST", cms(ns), {"metadata": {"name": name} | more})


@pytest.mark.parametrize("word, watches", [
    ("1", True), ("true", True), ("True", True), ("", True), ("yes", True), ("0", False), ("false", False),
    ("False", False)])
def test_words_for_true(api, ns, word, watches):
    """What a boolean parameter may be: the Python client says True."""
    create(api, ns, "a")
    with api.watch(f"{cms(ns)}?watch={word}&timeoutSeconds=1") as w:
        o = w.next()
    assert (o.get("type"), o.get("kind")) == (("ADDED", None) if watches else (None, "ConfigMapList"))

# SPDX-License-Identifier: Apache-2.0
"""Fixtures: an API server (apiserver.py) for the session or for one test, a namespace."""
import os
import re

import pytest

from apiserver import Server


@pytest.fixture(scope="session")
def api():
    s = Server()
    yield s
    s.close()


@pytest.fixture
def fresh():
    """A server of one's own, to be killed."""
    s = Server()
    yield s
    s.close()


@pytest.fixture
def ns(api, request):
    """A namespace of one's own, with its default ServiceAccount."""
    name = re.sub(r"[^a-z0-9-]", "-", request.node.name.lower())[:50].strip("-") + "-" + \
        os.urandom(3).hex()
    api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    api.ok("POST", f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
    return name

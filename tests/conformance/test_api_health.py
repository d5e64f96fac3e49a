# SPDX-License-Identifier: Apache-2.0
"""Health, version, and what an issuer publishes."""


def test_health(api):
    r = api.get("/healthz")
    assert (r.status, r.body) == (200, b"ok")
    assert r.headers["Content-Type"].startswith("text/plain")
    assert r.headers["X-Content-Type-Options"] == "nosniff"
    text = api.get("/livez?verbose").body.decode()
    assert "[+]ping ok\n" in text and text.endswith("livez check passed\n")
    assert "[+]etcd excluded: ok" in api.get("/readyz?verbose&exclude=etcd").body.decode()
    assert 'no matches for "foo"' in api.get("/livez?verbose&exclude=foo").body.decode()
    assert api.get("/livez/ping").body == b"ok"
    assert api.get("/livez/nope").status == 404


def test_version(api):
    v = api.get("/version").json
    assert (v["major"], v["minor"], v["platform"]) == ("1", "36", "linux/amd64")
    d = api.get("/.well-known/openid-configuration").json
    assert d["id_token_signing_alg_values_supported"] == ["ES256"]

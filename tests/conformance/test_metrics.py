# SPDX-License-Identifier: Apache-2.0
"""/metrics and its like, in the text format and under the names that upstream's dashboards read."""
import re


def series(text, name):
    """{labels as a dict's items: value} of one metric."""
    out = {}
    for m in re.finditer(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.M):
        labels = tuple(sorted(re.findall(r'(\w+)="([^"]*)"', m.group(1) or "")))
        out[labels] = float(m.group(2))
    return out


def find(text, name, **labels):
    return sum(v for k, v in series(text, name).items() if labels.items() <= dict(k).items())


def scrape(api):
    r = api.get("/metrics")
    assert r.status == 200
    assert r.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    return r.body.decode()


def test_requests_are_counted(api):
    before = scrape(api)
    for i in range(3):
        api.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": f"metrics-{i}"}})
    api.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "metrics-0"}})
    api.get("/api/v1/namespaces/default/configmaps/metrics-0")
    api.get("/api/v1/configmaps")
    after = scrape(api)

    def grew(name, **labels):
        return find(after, name, **labels) - find(before, name, **labels)

    maps = {"resource": "configmaps", "group": "", "version": "v1", "component": "apiserver"}
    assert grew("apiserver_request_total", verb="POST", code="201", scope="resource", **maps) == 3
    assert grew("apiserver_request_total", verb="POST", code="409", **maps) == 1
    assert grew("apiserver_request_total", verb="GET", code="200", scope="resource", **maps) == 1
    assert grew("apiserver_request_total", verb="LIST", scope="cluster", **maps) == 1
    assert grew("apiserver_request_duration_seconds_count", verb="POST", **maps) == 4
    assert grew("apiserver_request_duration_seconds_bucket", verb="POST", le="+Inf", **maps) == 4
    assert grew("apiserver_storage_objects", resource="configmaps") == 3


def test_buckets_grow(api):
    text = scrape(api)
    by_series = {}
    for labels, n in series(text, "apiserver_request_duration_seconds_bucket").items():
        d = dict(labels)
        le = float(d.pop("le").replace("+Inf", "inf"))
        by_series.setdefault(tuple(sorted(d.items())), []).append((le, n))
    assert by_series
    for rows in by_series.values():
        counts = [n for _, n in sorted(rows)]
        assert counts == sorted(counts) and len(counts) == 24


def test_what_runs_now(api):
    text = scrape(api)
    # this very request
    assert find(text, "apiserver_current_inflight_requests", request_kind="readOnly") >= 1
    # the most of the last second
    assert find(text, "apiserver_current_inflight_requests", request_kind="mutating") <= 200
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
                 "process_start_time_seconds"):
        assert find(text, name) > 0


def test_others(api):
    assert b'kubernetes_healthcheck{name="etcd",type="readyz"} 1' in api.get("/metrics/slis").body
    assert b"apiserver statusz" in api.get("/statusz").body
    assert b"data-dir:" in api.get("/flagz").body


def test_unknown_names_make_no_series(api):
    """A stranger cannot make the server remember what it asked for."""
    before = len(series(scrape(api), "apiserver_request_total"))
    for i in range(50):
        api.get(f"/api/v1/namespaces/x/nothing-{i}")
        api.get(f"/nothing/{i}")
    assert len(series(scrape(api), "apiserver_request_total")) <= before + 3

# SPDX-License-Identifier: Apache-2.0
"""x-kubernetes-validations: what a CRD is refused for, and rules on custom resources."""
import json
import time

import pytest

GROUP = "cel.example.com"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
INT = {"type": "integer"}
STR = {"type": "string", "maxLength": 20}
BASE = "spec.validation.openAPIV3Schema"
DEAR = ("exceeds budget by factor of %s (try simplifying the rule, or adding maxItems, "
        "maxProperties, and maxLength where arrays, maps, and strings are declared)")


def rule(text, **more):
    return {"rule": text, **more}


def ruled(schema, *rules):
    return {**schema, "x-kubernetes-validations": list(rules)}


def crd(plural, props, spec_rules=(), root_rules=()):
    spec = {"type": "object", "properties": props}
    root = {"type": "object", "properties": {"spec": ruled(spec, *spec_rules) if spec_rules else spec}}
    if root_rules:
        root = ruled(root, *root_rules)
    kind = plural.capitalize()
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{GROUP}"},
            "spec": {"group": GROUP, "scope": "Namespaced",
                     "names": {"plural": plural, "singular": plural, "kind": kind,
                               "listKind": kind + "List"},
                     "versions": [{"name": "v1", "served": True, "storage": True,
                                   "schema": {"openAPIV3Schema": root}}]}}


def causes(r):
    return sorted((c["field"], c["message"]) for c in r.json["details"]["causes"])


class Kind:
    def __init__(self, api, ns, plural, *args, **kw):
        self.api, self.kind = api, plural.capitalize()
        self.crd = f"{CRDS}/{plural}.{GROUP}"
        self.path = f"/apis/{GROUP}/v1/namespaces/{ns}/{plural}"
        # one of that name, of the test before, may still be on its way out
        end = time.monotonic() + 10
        while (r := api.post(CRDS, crd(plural, *args, **kw))).status == 409:
            assert time.monotonic() < end, r.body
            time.sleep(0.05)
        assert r.status == 201, r.body
        deadline = time.monotonic() + 10
        while self.create({}, dry=True).status == 404:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def create(self, spec, name="n1", dry=False):
        return self.api.post(self.path + ("?dryRun=All" if dry else ""), {
            "apiVersion": f"{GROUP}/v1", "kind": self.kind, "metadata": {"name": name},
            "spec": spec})

    def patch(self, spec):
        return self.api.request("PATCH", self.path + "/n1", json.dumps({"spec": spec}),
                                headers={"Content-Type": "application/merge-patch+json"})


@pytest.fixture
def rules(api, ns):
    k = Kind(api, ns, "celrules", {
        "i": ruled(INT, rule("self > 3"), rule("self < 100", message="too big",
                                               reason="FieldValueForbidden")),
        "tr": ruled(INT, rule("self >= oldSelf", message="no going back")),
        "opt": ruled(STR, rule("oldSelf.hasValue() || self == 'new'", optionalOldSelf=True)),
        "o": ruled({"type": "object", "properties": {"x": INT, "y": INT, "s": STR}},
                   rule("!has(self.x) || self.x<self.y", fieldPath=".x"),
                   rule("!has(self.s) || self.s != 'bad'", messageExpression="'s is ' + self.s")),
        "l": {"type": "array", "maxItems": 5, "x-kubernetes-list-type": "map",
              "x-kubernetes-list-map-keys": ["n"], "items": ruled(
                  {"type": "object", "required": ["n"], "properties": {"n": STR, "v": INT}},
                  rule("!has(self.v) || self.v >= oldSelf.v", message="v shrinks"))},
        "m": {"type": "object", "maxProperties": 5,
              "additionalProperties": ruled(INT, rule("self % 2 == 0"))},
        "ios": ruled({"x-kubernetes-int-or-string": True}, rule("self + 1 == 6 || self == '50%'")),
        "esc": ruled({"type": "object", "properties": {"a-b": STR, "for": STR}},
                     rule("!has(self.a__dash__b) || self.a__dash__b == self.__for__")),
    }, [rule("!has(self.i) || !has(self.tr) || self.i != self.tr")],
        [rule("self.metadata.name.startsWith('n')")])
    yield k
    api.request("DELETE", k.crd)


def test_create(rules):
    for spec, want in [
            ({"i": 5, "tr": 1, "opt": "new"}, None),
            ({"i": 1}, [("spec.i", "Invalid value: 1: failed rule: self > 3")]),
            ({"i": 200}, [("spec.i", "Forbidden: too big")]),
            ({"opt": "a"}, [("spec.opt", "Invalid value: \"a\": failed rule: "
                             "oldSelf.hasValue() || self == 'new'")]),
            ({"o": {"x": 1}}, [("spec.o", "Invalid value: \"object\": no such key: y evaluating "
                                "rule: !has(self.x) || self.x<self.y")]),
            ({"o": {"x": 5, "y": 2}}, [("spec.o.x", "Invalid value: failed rule: "
                                        "!has(self.x) || self.x<self.y")]),
            ({"o": {"s": "bad"}}, [("spec.o", "Invalid value: s is bad")]),
            ({"m": {"k": 1, "l": 2}}, [("spec.m[k]",
                                        "Invalid value: 1: failed rule: self % 2 == 0")]),
            ({"ios": 5}, None), ({"ios": "50%"}, None),
            ({"ios": "x"}, [("spec.ios", "Invalid value: \"\": 'no such overload': call arguments "
                             "did not match a supported operator, function or macro signature "
                             "for rule: self + 1 == 6 || self == '50%'")]),
            ({"esc": {"a-b": "x", "for": "x"}}, None),
            ({"esc": {"a-b": "x", "for": "y"}}, [
                ("spec.esc", "Invalid value: failed rule: !has(self.a__dash__b) || "
                 "self.a__dash__b == self.__for__")]),
            ({"i": "x", "m": {"k": 1}}, [
                ("<nil>", "Invalid value: null: some validation rules were not checked because "
                 "the object was invalid; correct the existing errors to complete validation"),
                ("spec.i", "Invalid value: \"string\": spec.i in body must be of type integer: "
                 "\"string\"")])]:
        r = rules.create(spec, dry=True)
        assert r.status == (422 if want else 201), (spec, r.body)
        assert not want or causes(r) == want
    assert causes(rules.create({}, "x", True)) == [
        ("<nil>", "Invalid value: failed rule: self.metadata.name.startsWith('n')")]


def test_transitions(rules):
    assert rules.create({"tr": 6, "l": [{"n": "a", "v": 3}, {"n": "b", "v": 4}]}).status == 201
    assert causes(rules.patch({"tr": 4})) == [("spec.tr", "Invalid value: 4: no going back")]
    assert rules.patch({"tr": 8}).status == 200
    assert causes(rules.patch({"l": [{"n": "b", "v": 1}, {"n": "a", "v": 3}]})) == [
        ("spec.l[0]", "Invalid value: v shrinks")]
    assert rules.patch({"l": [{"n": "c", "v": 1}, {"n": "a", "v": 4}]}).status == 200
    assert rules.patch({"opt": "anything"}).status == 422
    assert rules.patch({"opt": "new"}).status == 200
    assert rules.patch({"opt": "anything"}).status == 200


def test_ratcheting(rules, api):
    """What did not change is not held against a new rule; a warning says so."""
    assert rules.create({"i": 5, "tr": 1, "m": {"k": 2}}).status == 201
    c = api.get(rules.crd).json
    props = c["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    props["i"]["x-kubernetes-validations"] = [rule("self > 50")]
    assert api.request("PUT", rules.crd, json.dumps(c)).status == 200
    deadline = time.monotonic() + 10
    while rules.create({"i": 6}, "n2", True).status != 422:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    r = rules.patch({"opt": "new"})
    assert r.status == 200
    assert r.warnings == ["spec.i: Invalid value: 5: failed rule: self > 50"]
    assert causes(rules.patch({"i": 6})) == [("spec.i", "Invalid value: 6: failed rule: self > 50")]
    assert rules.patch({"i": 60}).status == 200


X = {"s": STR, "i": INT, "u": {"type": "string"},
     "l": {"type": "array", "items": {"type": "string"}}}


@pytest.mark.parametrize("r,member,want", [
    (rule("self.nope == 1"), "rule", "compilation failed: ERROR: <input>:1:5: undefined field "
     "'nope'\n | self.nope == 1\n | ....^"),
    (rule("self.s.x == 1"), "rule", "compilation failed: ERROR: <input>:1:7: type 'string' does "
     "not support field selection\n | self.s.x == 1\n | ......^"),
    (rule("self.i + 'a' == 1"), "rule", "compilation failed: ERROR: <input>:1:8: found no matching "
     "overload for '_+_' applied to '(int, string)'\n | self.i + 'a' == 1\n | .......^"),
    (rule("self.i"), "rule", "cel expression must evaluate to a bool"),
    (rule("int('x') == 1"), "rule", "program instantiation failed: type conversion error from "
     "'string' to 'int'"),
    (rule("true", messageExpression="1"), "messageExpression",
     "messageExpression must evaluate to a string"),
])
def test_not_compiled(api, r, member, want):
    value = json.dumps({"Rule": r["rule"], "Message": "", "MessageExpression":
                        r.get("messageExpression", ""), "Reason": None, "FieldPath": "",
                        "OptionalOldSelf": None}, separators=(",", ":"))
    got = api.post(CRDS + "?dryRun=All", crd("celc", X, [r]))
    assert got.status == 422, got.body
    assert causes(got) == [(f"{BASE}.properties[spec].x-kubernetes-validations[0].{member}",
                            f"Invalid value: {value}: {want}")]


@pytest.mark.parametrize("r,member,want", [
    (rule(""), "rule", "Required value: rule is not specified"),
    (rule("true", message=" "), "message", "Invalid value: \" \": must be non-empty if specified"),
    (rule("true", message="a\nb"), "message",
     "Invalid value: \"a\\nb\": must not contain line breaks"),
    (rule("true\n&& true"), "message",
     "Required value: message must be specified if rule contains line breaks"),
    (rule("true", fieldPath=".nope"), "fieldPath", "Invalid value: \".nope\": must be a valid path"),
    (rule("true", optionalOldSelf=True), "optionalOldSelf",
     "Invalid value: true: may not be set if oldSelf is not used in rule"),
])
def test_refused(api, r, member, want):
    got = api.post(CRDS + "?dryRun=All", crd("celc", X, [r]))
    assert got.status == 422, got.body
    assert causes(got) == [(f"{BASE}.properties[spec].x-kubernetes-validations[0].{member}", want)]


def test_costs(api):
    at = f"{BASE}.properties[spec].x-kubernetes-validations[0].rule"
    got = api.post(CRDS + "?dryRun=All", crd("celc", X, [
        rule("self.l.all(x, self.l.all(y, x == y))")]))
    assert got.status == 422
    assert causes(got) == [
        (BASE, "Forbidden: x-kubernetes-validations estimated rule cost total for entire "
         "OpenAPIv3 schema " + DEAR % "more than 100x"),
        (at, "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire "
         "OpenAPIv3 schema"),
        (at, "Forbidden: estimated rule cost " + DEAR % "more than 100x")]
    got = api.post(CRDS + "?dryRun=All", crd("celc", {"l": {
        "type": "array", "maxItems": 3, "items": ruled(STR, rule("self == oldSelf"))}}))
    assert causes(got) == [
        (f"{BASE}.properties[spec].properties[l].items.x-kubernetes-validations[0].rule",
         "Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion "
         f"of the schema within {BASE}.properties[spec].properties[l]")]

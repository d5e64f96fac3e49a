# SPDX-License-Identifier: Apache-2.0
"""ValidatingAdmissionPolicy and MutatingAdmissionPolicy, and match conditions of webhooks."""

import pytest

from apiserver import poll
from hooks import Hooks

AR = "/apis/admissionregistration.k8s.io/v1/"
KINDS = {"v": "validatingadmissionpolicies", "vb": "validatingadmissionpolicybindings",
         "m": "mutatingadmissionpolicies", "mb": "mutatingadmissionpolicybindings"}


def rules(*resources, ops=("CREATE", "UPDATE"), groups=("",), versions=("v1",), **kw):
    return {"resourceRules": [{"apiGroups": list(groups), "apiVersions": list(versions),
                               "operations": list(ops), "resources": list(resources)} | kw]}


class Setup:
    def __init__(self, api, ns):
        self.api, self.ns, self.made, self.n = api, ns, [], 0
        self.base = f"/api/v1/namespaces/{ns}"

    def make(self, kind, name, spec, code=201):
        r = self.api.post(AR + KINDS[kind], {"metadata": {"name": name}, "spec": spec})
        assert r.status == code, r.body
        if code == 201:
            self.made.append((KINDS[kind], name))
        return r.json

    def bind(self, kind, policy, **spec):
        self.n += 1
        match = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.ns}}}
        self.make(kind, f"{policy}-b{self.n}", {"policyName": policy, "matchResources": match} | (
            {"validationActions": ["Deny"]} if kind == "vb" else {}) | spec)
        return f"{policy}-b{self.n}"

    def validating(self, validations, bind=True, match=None, binding=None, **spec):
        name = f"{self.ns}-v{len(self.made)}"
        self.make("v", name, {"matchConstraints": match or rules("configmaps"),
                              "validations": validations} | spec)
        return name, self.bind("vb", name, **(binding or {})) if bind else None

    def mutating(self, *mutations, match=None, binding=None, **spec):
        name = f"{self.ns}-m{len(self.made)}"
        self.make("m", name, {"matchConstraints": match or rules("configmaps"),
                              "mutations": list(mutations), "reinvocationPolicy": "Never"} | spec)
        return name, self.bind("mb", name, **(binding or {}))

    def cm(self, name="c", query="", data=None, **meta):
        body = {"metadata": {"name": name} | meta}
        if data is not None:
            body["data"] = data
        return self.api.post(self.base + "/configmaps" + query, body)

    def until(self, code, name="bad", **kw):
        """Policies count a moment after they are made."""
        return poll(lambda: (x := self.cm(name, "?dryRun=All", **kw)).status == code and x)


@pytest.fixture
def setup(api, ns):
    s = Setup(api, ns)
    yield s
    for kind, name in s.made:
        api.delete(AR + kind + "/" + name)


NOT_BAD = {"expression": 'object.metadata.name != "bad"'}


def test_deny(setup):
    p, b = setup.validating([NOT_BAD])
    r = setup.until(422)
    text = (f"ValidatingAdmissionPolicy '{p}' with binding '{b}' denied request: failed expression: "
            'object.metadata.name != "bad"')
    assert r.json["message"] == 'configmaps "bad" is forbidden: ' + text
    assert (r.json["reason"], r.json["code"]) == ("Invalid", 422)
    assert r.json["details"] == {"name": "bad", "kind": "configmaps", "causes": [{"message": text}]}
    assert setup.cm("good").status == 201


@pytest.mark.parametrize("validation,code,reason,text", [
    ({"reason": "Forbidden", "message": " mm "}, 403, "Forbidden", "mm"),
    ({"reason": "RequestEntityTooLarge"}, 413, "RequestEntityTooLarge",
     'failed expression: object.metadata.name != "bad"'),
    ({"messageExpression": "'name ' + object.metadata.name"}, 422, "Invalid", "name bad"),
    ({"messageExpression": "'x' + object.nope", "message": "plain"}, 422, "Invalid", "plain"),
    ({"messageExpression": "' '"}, 422, "Invalid",
     'failed expression: object.metadata.name != "bad"'),
    ({"expression": "object.data.x == 'y'"}, 422, "Invalid",
     "expression 'object.data.x == 'y'' resulted in error: no such key: data"),
])
def test_messages_and_reasons(setup, validation, code, reason, text):
    p, b = setup.validating([NOT_BAD | validation])
    r = setup.until(code)
    assert r.json["reason"] == reason
    assert r.json["message"] == (f"configmaps \"bad\" is forbidden: ValidatingAdmissionPolicy '{p}' "
                                 f"with binding '{b}' denied request: {text}")


def test_actions(setup):
    p, b = setup.validating([NOT_BAD | {"message": "mm"}],
                            binding={"validationActions": ["Warn", "Audit"]})
    r = poll(lambda: (x := setup.cm("bad", "?dryRun=All")).warnings and x)
    assert r.status == 201
    assert r.warnings == [f"Validation failed for ValidatingAdmissionPolicy '{p}' with binding "
                          f"'{b}': mm"]


def test_failure_policy_ignore(setup):
    setup.validating([{"expression": "object.data.x == 'y'"}, NOT_BAD], failurePolicy="Ignore")
    setup.until(422)
    assert setup.cm("good").status == 201


def test_variables_and_other_objects(setup):
    setup.validating(
        [{"expression": "variables.ok", "messageExpression": "variables.text"}],
        variables=[{"name": "size", "expression": "has(object.data) ? size(object.data) : 0"},
                   {"name": "ok", "expression": "variables.size < 2"},
                   {"name": "text", "expression":
                    "'has ' + string(variables.size) + ' in ' + namespaceObject.metadata.name + ' '"
                    " + request.operation"}])
    r = setup.until(422, data={"a": "1", "b": "2"})
    assert r.json["message"].endswith(f"denied request: has 2 in {setup.ns} CREATE")
    assert setup.cm("good", data={"a": "1"}).status == 201


def test_old_object_and_operations(setup):
    setup.validating([{"expression": "oldObject == null || object.data.x == oldObject.data.x",
                       "message": "x stays"}])
    setup.validating([NOT_BAD])
    setup.until(422)
    assert setup.cm("a", data={"x": "1"}).status == 201
    r = setup.api.patch(setup.base + "/configmaps/a", {"data": {"x": "2"}})
    assert r.status == 422 and r.json["message"].endswith("denied request: x stays")
    assert setup.api.patch(setup.base + "/configmaps/a", {"data": {"y": "2"}}).status == 200
    assert setup.api.delete(setup.base + "/configmaps/a").status == 200


def test_authorizer(setup):
    setup.validating([
        {"expression": "authorizer.group('').resource('pods').namespace(request.namespace)"
         ".check('create').allowed() || object.metadata.name != 'bad'", "message": "no pods"},
        {"expression": "authorizer.requestResource.check('zap').allowed()", "message": "no zap"},
        {"expression": "authorizer.serviceAccount(request.namespace, 'default').group('')"
         ".resource('pods').check('create').allowed() || object.metadata.name != 'bad'",
         "message": "no account"}])
    r = setup.until(422)
    assert r.json["message"].endswith("denied request: no account"), "admin may do the rest"


def test_match_conditions_and_exclusions(setup):
    setup.validating([{"expression": "false", "message": "never"}],
                     match=rules("configmaps") | {"excludeResourceRules": [
                         rules("configmaps", resourceNames=["spared"])["resourceRules"][0]]},
                     matchConditions=[{"name": "not-good", "expression":
                                       "object.metadata.name != 'good'"}])
    setup.until(422)
    assert setup.cm("good").status == 201
    assert setup.cm("spared").status == 201


def test_match_condition_errors(setup):
    p, b = setup.validating([{"expression": "true"}], matchConditions=[
        {"name": "e", "expression": "object.nope == 1"}])
    r = setup.until(422)
    assert r.json["message"].endswith(
        "denied request: expression 'object.nope == 1' resulted in error: no such key: nope")


def test_params(setup):
    api, base = setup.api, setup.base
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    p, b = setup.validating(
        [{"expression": "object.metadata.name != params.data.word", "messageExpression":
          "'not ' + params.data.word"}], paramKind=kind, match=rules("secrets"),
        binding={"paramRef": {"name": "words", "parameterNotFoundAction": "Deny"}})

    def secret(name):
        return api.post(base + "/secrets?dryRun=All", {"metadata": {"name": name}})

    r = poll(lambda: (x := secret("bad")).status == 422 and x)
    assert r.json["message"].endswith(
        f"with binding '{b}' denied request: failed to configure binding: no params found for "
        "policy binding with `Deny` parameterNotFoundAction")
    api.ok("POST", base + "/configmaps", {"metadata": {"name": "words"}, "data": {"word": "bad"}})
    r = poll(lambda: (x := secret("bad")).json.get("message", "").endswith("not bad") and x)
    assert secret("good").status == 201


def test_params_by_selector(setup):
    api, base = setup.api, setup.base
    setup.validating(
        [{"expression": "object.metadata.name != params.data.word"}],
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"}, match=rules("secrets"),
        binding={"paramRef": {"selector": {"matchLabels": {"words": "yes"}},
                              "parameterNotFoundAction": "Allow"}})
    for i, word in enumerate(("bad", "worse")):
        api.ok("POST", base + "/configmaps", {
            "metadata": {"name": f"w{i}", "labels": {"words": "yes"}}, "data": {"word": word}})

    def secret(name):
        return api.post(base + "/secrets?dryRun=All", {"metadata": {"name": name}}).status

    poll(lambda: secret("bad") == 422 and secret("worse") == 422)
    assert secret("good") == 201


def test_custom_params(setup):
    api = setup.api
    group = setup.ns.replace("-", "")[:20] + ".ex.io"
    api.ok("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
        "metadata": {"name": f"limits.{group}"}, "spec": {
            "group": group, "scope": "Cluster", "names": {"plural": "limits", "kind": "Limit"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {
                "openAPIV3Schema": {"type": "object", "properties": {
                    "max": {"type": "integer"}}}}}]}})
    limits = f"/apis/{group}/v1/limits"
    poll(lambda: api.get(limits).status == 200)
    api.ok("POST", limits, {"apiVersion": f"{group}/v1", "kind": "Limit",
                            "metadata": {"name": "l"}, "max": 1})
    setup.validating([{"expression": "size(object.data) <= params.max"}],
                     paramKind={"apiVersion": f"{group}/v1", "kind": "Limit"},
                     binding={"paramRef": {"name": "l", "parameterNotFoundAction": "Deny"}})
    poll(lambda: (setup.cm("bad", "?dryRun=All", data={"a": "1", "b": "2"}).json.get("message") or
                  "").endswith("failed expression: size(object.data) <= params.max"), 20)
    assert setup.cm("good", data={"a": "1"}).status == 201
    api.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/limits.{group}")


def test_without_binding_nothing_happens(setup):
    setup.validating([{"expression": "false"}], bind=False)
    setup.validating([NOT_BAD])
    setup.until(422)
    assert setup.cm("good").status == 201


def test_type_checking(setup):
    p, _ = setup.validating([{"expression": "object.nope == 1"}], bind=False)
    st = poll(lambda: setup.api.get(AR + KINDS["v"] + "/" + p).json.get("status"))
    assert st["observedGeneration"] == 1
    w = st["typeChecking"]["expressionWarnings"]
    assert [x["fieldRef"] for x in w] == ["spec.validations[0].expression"]
    assert w[0]["warning"].startswith(
        "/v1, Kind=ConfigMap: ERROR: <input>:1:7: undefined field 'nope'")


# ---- mutation

def apply(text):
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}


def json_patch(text):
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": text}}


def changed(setup, key, name="x"):
    """The ConfigMap as soon as the policy gives it that key."""
    def ask():
        o = setup.cm(name, "?dryRun=All", data={"a": "1"}).json
        return o if key in o.get("data", {}) else None
    return poll(ask)


def test_apply_configuration(setup):
    setup.mutating(apply('Object{data: {"b": object.data.a + "!"}, metadata: Object.metadata{'
                         'labels: {"l": "v"}}}'))
    o = changed(setup, "b")
    assert o["data"] == {"a": "1", "b": "1!"} and o["metadata"]["labels"] == {"l": "v"}


def test_json_patch(setup):
    setup.mutating(json_patch(
        '[JSONPatch{op: "test", path: "/data/a", value: "1"}, '
        'JSONPatch{op: "add", path: "/data/b", value: "2"}, '
        'JSONPatch{op: "add", path: "/metadata/annotations", value: {"x/y": "3"}}, '
        'JSONPatch{op: "remove", path: "/metadata/annotations/" + jsonpatch.escapeKey("x/y")}, '
        'JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey("v/w"), '
        'value: "4"}]'))
    o = changed(setup, "b")
    assert o["data"] == {"a": "1", "b": "2"}
    assert o["metadata"]["annotations"] == {"v/w": "4"}
    # a test that fails means that there is nothing to do
    assert setup.cm("y", data={"a": "2"}).json["data"] == {"a": "2"}


def test_lists_are_merged_by_key(setup):
    setup.mutating(apply('Object{spec: Object.spec{initContainers: [Object.spec.initContainers{'
                         'name: "side", image: "i", restartPolicy: "Always"}]}}'),
                   match=rules("pods", ops=["CREATE"]))
    pod = {"metadata": {"name": "p"}, "spec": {
        "initContainers": [{"name": "own", "image": "i"}],
        "containers": [{"name": "c", "image": "i"}]}}
    p = poll(lambda: (x := setup.api.post(setup.base + "/pods?dryRun=All", pod).json) and
             len(x["spec"]["initContainers"]) == 2 and x)
    side = [c for c in p["spec"]["initContainers"] if c["name"] == "side"][0]
    assert side["restartPolicy"] == "Always" and side["terminationMessagePolicy"] == "File"
    # plugins of the server see what a policy added
    assert side["volumeMounts"][0]["mountPath"].startswith("/var/run/secrets")


def test_mutation_with_params_and_conditions(setup):
    setup.api.ok("POST", setup.base + "/configmaps", {"metadata": {"name": "p"},
                                                      "data": {"key": "k"}})
    setup.mutating(
        apply('Object{data: {variables.key: "v"}}'), paramKind={"apiVersion": "v1",
                                                                "kind": "ConfigMap"},
        variables=[{"name": "key", "expression": "params.data.key"}],
        matchConditions=[{"name": "x", "expression": "object.metadata.name == 'x'"}],
        binding={"paramRef": {"name": "p", "parameterNotFoundAction": "Deny"}})
    assert changed(setup, "k")["data"] == {"a": "1", "k": "v"}
    assert setup.cm("y", data={"a": "1"}).json["data"] == {"a": "1"}


def test_mutation_order_and_second_pass(setup):
    setup.mutating(apply('Object{data: {"one": has(object.data.two) ? "saw two" : "first"}}'),
                   reinvocationPolicy="IfNeeded")
    setup.mutating(apply('Object{data: {"two": "2"}}'))
    assert changed(setup, "two")["data"] == {"a": "1", "one": "saw two", "two": "2"}


def test_mutation_errors(setup):
    p, b = setup.mutating(apply('Object{data: {"b": object.data.nope}}'))
    r = poll(lambda: (x := setup.cm("x", "?dryRun=All", data={"a": "1"})).status >= 400 and x)
    text = (f"policy '{p}' with binding '{b}' denied request: expression 'Object{{data: {{\"b\": "
            "object.data.nope}}' resulted in error: no such key: nope")
    assert r.json["message"] == text
    assert r.json["details"]["causes"] == [{"message": text}]
    assert (r.status, r.json["reason"]) == (403, "Invalid")


def test_mutation_is_before_webhooks(setup):
    hooks = Hooks()
    hooks.paths["/x"] = lambda *_: {"allowed": True}
    setup.mutating(apply('Object{data: {"b": "2"}}'))
    changed(setup, "b")
    setup.made.append(("mutatingwebhookconfigurations", setup.ns))
    setup.api.ok("POST", AR + "mutatingwebhookconfigurations", {
        "metadata": {"name": setup.ns}, "webhooks": [{
            "name": "a.b.c", "clientConfig": hooks.client("/x"), "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "rules": rules("configmaps")["resourceRules"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": setup.ns}}}]})
    poll(lambda: setup.cm("x", "?dryRun=All", data={"a": "1"}) and hooks.asked)
    assert hooks.requests()[0]["object"]["data"] == {"a": "1", "b": "2"}
    hooks.close()


# ---- match conditions of webhooks

def test_webhook_match_conditions(setup):
    hooks = Hooks()
    hooks.paths["/x"] = lambda *_: {"allowed": False}
    hook = {"name": "a.b.c", "clientConfig": hooks.client("/x"), "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "rules": rules("configmaps")["resourceRules"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": setup.ns}}}
    setup.made.append(("validatingwebhookconfigurations", setup.ns))
    setup.api.ok("POST", AR + "validatingwebhookconfigurations", {
        "metadata": {"name": setup.ns}, "webhooks": [hook | {"matchConditions": [
            {"name": "bad-only", "expression": "object.metadata.name == 'bad'"},
            {"name": "user", "expression": "request.userInfo.username != 'nobody'"}]}]})
    setup.until(400)
    assert setup.cm("good").status == 201
    r = setup.api.post(AR + "validatingwebhookconfigurations", {
        "metadata": {"name": "bad"}, "webhooks": [hook | {"matchConditions": [
            {"name": "n", "expression": "1"}]}]})
    assert r.status == 422
    assert r.json["message"].endswith("webhooks[0].matchConditions[0].expression: Invalid value: "
                                      '"1": must evaluate to bool but got int')
    hooks.close()


# ---- bad policies

VALID = {"matchConstraints": rules("configmaps"), "validations": [{"expression": "true"}]}


@pytest.mark.parametrize("change,text", [
    ({"validations": []},
     "[spec.validations: Required value: validations or auditAnnotations must contain at least one "
     "item, spec.auditAnnotations: Required value: validations or auditAnnotations must contain at "
     "least one item]"),
    ({"validations": [{"expression": "1"}]}, 'spec.validations[0].expression: Invalid value: "1": '
     "must evaluate to bool but got int"),
    ({"validations": [{"expression": ""}]}, "spec.validations[0].expression: Required value: "
     "expression is not specified"),
    ({"validations": [{"expression": "true", "reason": "Unauthorized"}]},
     'spec.validations[0].reason: Unsupported value: "Unauthorized": supported values: '
     '"Forbidden", "Invalid", "RequestEntityTooLarge"'),
    ({"validations": [{"expression": "true", "message": "a\nb"}]},
     'spec.validations[0].message: Invalid value: "a\\nb": must not contain line breaks'),
    ({"validations": [{"expression": "true", "messageExpression": "1"}]},
     'spec.validations[0].messageExpression: Invalid value: "1": must evaluate to string but got '
     "int"),
    ({"failurePolicy": "X"}, 'spec.failurePolicy: Unsupported value: "X": supported values: '
     '"Fail", "Ignore"'),
    ({"matchConstraints": {"resourceRules": []}},
     "spec.matchConstraints.resourceRules: Required value"),
    ({"variables": [{"name": "in", "expression": "1"}]},
     'spec.variables[0].name: Invalid value: "in": must be a valid CEL identifier'),
    ({"paramKind": {"apiVersion": "v1"}}, "spec.paramKind.kind: Required value"),
    ({"auditAnnotations": [{"key": "k", "valueExpression": "1"}]},
     'spec.auditAnnotations[0].valueExpression: Invalid value: "1": must evaluate to one of '
     "[string null_type] but got int"),
])
def test_bad_policies(setup, change, text):
    r = setup.make("v", "bad", VALID | change, 422)
    assert r["message"] == ("ValidatingAdmissionPolicy.admissionregistration.k8s.io \"bad\" is "
                            "invalid: " + text)


@pytest.mark.parametrize("spec,text", [
    ({"validationActions": ["Deny"]}, "spec.policyName: Required value"),
    ({"policyName": "p", "validationActions": ["Deny", "Warn"]},
     'spec.validationActions: Invalid value: ["Deny","Warn"]: must not contain both Deny and Warn '
     "(repeating the same validation failure information in the API response and headers serves no "
     "purpose)"),
    ({"policyName": "p"},
     "spec.validationActions: Required value: at least one validation action is required"),
    ({"policyName": "p", "validationActions": ["X"]},
     'spec.validationActions[0]: Unsupported value: "X": supported values: "Audit", "Deny", '
     '"Warn"'),
    ({"policyName": "p", "validationActions": ["Deny"], "paramRef": {
        "parameterNotFoundAction": "Deny"}},
     "spec.paramRef: Required value: one of name or selector must be specified"),
    ({"policyName": "p", "validationActions": ["Deny"], "paramRef": {"name": "n"}},
     "spec.paramRef.parameterNotFoundAction: Required value"),
])
def test_bad_bindings(setup, spec, text):
    r = setup.make("vb", "bad", spec, 422)
    assert r["message"] == ("ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io \"bad\" "
                            "is invalid: " + text)


@pytest.mark.parametrize("change,text", [
    ({"mutations": []}, "spec.mutations: Required value: mutations must contain at least one item"),
    ({"mutations": [apply("true")]}, "spec.mutations[0].applyConfiguration.expression: Invalid "
     'value: "true": must evaluate to Object but got bool'),
    ({"mutations": [json_patch("[]")]}, "spec.mutations[0].jsonPatch.expression: Invalid value: "
     '"[]": must evaluate to list(JSONPatch) but got list(dyn)'),
    ({"mutations": [{"patchType": "JSONPatch"}]}, "spec.mutations[0].jsonPatch: Required value: "
     "must be specified when patchType is JSONPatch"),
    ({"reinvocationPolicy": "X"}, 'spec.reinvocationPolicy: Unsupported value: "X": supported '
     'values: "IfNeeded", "Never"'),
    ({"matchConstraints": rules("configmaps", ops=["DELETE"])},
     'spec.matchConstraints.resourceRules.operations: Unsupported value: "DELETE": supported '
     'values: "*", "CONNECT", "CREATE", "UPDATE"'),
])
def test_bad_mutating_policies(setup, change, text):
    good = {"matchConstraints": rules("configmaps"), "reinvocationPolicy": "Never",
            "mutations": [apply("Object{}")]}
    r = setup.make("m", "bad", good | change, 422)
    assert r["message"] == ("MutatingAdmissionPolicy.admissionregistration.k8s.io \"bad\" is "
                            "invalid: " + text)


def test_defaults(setup):
    setup.make("v", "dflt", VALID)
    spec = setup.api.get(AR + KINDS["v"] + "/dflt").json["spec"]
    assert spec == {
        "failurePolicy": "Fail", "validations": [{"expression": "true"}],
        "matchConstraints": {"matchPolicy": "Equivalent", "namespaceSelector": {},
                             "objectSelector": {}, "resourceRules": [
            rules("configmaps")["resourceRules"][0] | {"scope": "*"}]}}

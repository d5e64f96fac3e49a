// SPDX-License-Identifier: Apache-2.0
// What users of @kubernetes/client-node do with objects. usage: node objects.mjs KUBECONFIG NAMESPACE
import assert from 'node:assert/strict';
import test from 'node:test';
import {
	ApiException, AppsV1Api, AuthorizationV1Api, BatchV1Api, CoreV1Api, CustomObjectsApi, KubeConfig,
	KubernetesObjectApi, NetworkingV1Api, PatchStrategy, PolicyV1Api, RbacAuthorizationV1Api, VersionApi,
	setHeaderOptions,
} from '@kubernetes/client-node';

const [, , kubeconfig, namespace] = process.argv;
const kc = new KubeConfig();
kc.loadFromFile(kubeconfig);
const core = kc.makeApiClient(CoreV1Api);
const apps = kc.makeApiClient(AppsV1Api);

const template = {
	metadata: { labels: { a: 'b' } },
	spec: { containers: [{ name: 'c', image: 'busybox:1' }] },
};
const selector = { matchLabels: { a: 'b' } };

function as(strategy) {
	return setHeaderOptions('Content-Type', strategy);
}

// The Status that an exception carries.
async function refused(code, reason, promise) {
	const e = await promise.then(() => assert.fail(`not refused: ${code} ${reason}`), (x) => x);
	assert.ok(e instanceof ApiException, String(e));
	const status = JSON.parse(e.body);
	assert.deepEqual([e.code, status.code, status.reason, status.kind], [code, code, reason, 'Status']);
	return status;
}

test('typed objects', async () => {
	const body = { metadata: { name: 'cm', labels: { x: 'y' } }, data: { k: 'v' } };
	const made = await core.createNamespacedConfigMap({ namespace, body });
	assert.ok(made.metadata.creationTimestamp instanceof Date && made.metadata.uid);
	const read = await core.readNamespacedConfigMap({ name: 'cm', namespace });
	assert.deepEqual(read, made);
	read.data.k = 'w';
	const now = await core.replaceNamespacedConfigMap({ name: 'cm', namespace, body: read });
	assert.deepEqual(now.data, { k: 'w' });
	let s = await refused(409, 'Conflict', core.replaceNamespacedConfigMap({ name: 'cm', namespace, body: read }));
	assert.match(s.message, /the object has been modified/);
	s = await refused(409, 'AlreadyExists', core.createNamespacedConfigMap({ namespace, body }));
	assert.deepEqual(s.details, { name: 'cm', kind: 'configmaps' });
	s = await refused(422, 'Invalid', core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'A_' } } }));
	assert.equal(s.details.causes[0].field, 'metadata.name');
	const gone = await core.deleteNamespacedConfigMap({ name: 'cm', namespace });
	assert.deepEqual([gone.status, gone.details.name], ['Success', 'cm']);
	await refused(404, 'NotFound', core.readNamespacedConfigMap({ name: 'cm', namespace }));
});

test('kinds of several groups', async () => {
	const once = { ...template, spec: { ...template.spec, restartPolicy: 'Never' } };
	const d = await apps.createNamespacedDeployment({
		namespace, body: { metadata: { name: 'd' }, spec: { selector, template } } });
	assert.deepEqual([d.spec.replicas, d.spec.strategy.rollingUpdate.maxSurge], [1, '25%']);
	const j = await kc.makeApiClient(BatchV1Api).createNamespacedJob({
		namespace, body: { metadata: { name: 'j' }, spec: { template: once } } });
	assert.equal(j.spec.completions, 1);
	const p = await kc.makeApiClient(PolicyV1Api).createNamespacedPodDisruptionBudget({
		namespace, body: { metadata: { name: 'p' }, spec: { selector, minAvailable: 1 } } });
	assert.equal(p.spec.minAvailable, 1);
	const n = await kc.makeApiClient(NetworkingV1Api).createNamespacedNetworkPolicy({
		namespace, body: { metadata: { name: 'n' }, spec: { podSelector: {} } } });
	assert.deepEqual(n.spec.policyTypes, ['Ingress']);
	const r = await kc.makeApiClient(RbacAuthorizationV1Api).createNamespacedRole({
		namespace, body: { metadata: { name: 'r' }, rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }] } });
	assert.deepEqual(r.rules[0].verbs, ['get']);
	const review = await kc.makeApiClient(AuthorizationV1Api).createSelfSubjectAccessReview({
		body: { spec: { resourceAttributes: { namespace, verb: 'delete', resource: 'pods' } } } });
	assert.equal(review.status.allowed, true);
	assert.match((await kc.makeApiClient(VersionApi).getCode()).gitVersion, /^v1\.36\./);
});

test('patches', async () => {
	const at = { name: 'p', namespace };
	await apps.createNamespacedDeployment({
		namespace, body: { metadata: { name: 'p' }, spec: { selector, template } } });
	const two = { spec: { template: { spec: { containers: [{ name: 'd', image: 'x:1' }] } } } };
	const names = (o) => o.spec.template.spec.containers.map((c) => c.name);
	let o = await apps.patchNamespacedDeployment({ ...at, body: two }, as(PatchStrategy.StrategicMergePatch));
	assert.deepEqual(names(o), ['d', 'c']);
	o = await apps.patchNamespacedDeployment({ ...at, body: two }, as(PatchStrategy.MergePatch));
	assert.deepEqual(names(o), ['d']);
	o = await apps.patchNamespacedDeployment({
		...at, body: [{ op: 'replace', path: '/spec/replicas', value: 5 }] }, as(PatchStrategy.JsonPatch));
	assert.equal(o.spec.replicas, 5);
	const scale = await apps.readNamespacedDeploymentScale(at);
	scale.spec.replicas = 3;
	assert.equal((await apps.replaceNamespacedDeploymentScale({ ...at, body: scale })).spec.replicas, 3);
	o = await apps.patchNamespacedDeploymentStatus(
		{ ...at, body: { status: { replicas: 3 }, spec: { replicas: 9 } } }, as(PatchStrategy.MergePatch));
	assert.deepEqual([o.status.replicas, o.spec.replicas], [3, 3]);
});

test('pages, selectors, collections', async () => {
	for (let i = 0; i < 5; i++)
		await core.createNamespacedSecret({
			namespace, body: { metadata: { name: `s${i}`, labels: { odd: String(i % 2) } } } });
	const seen = [];
	let token;
	do {
		const page = await core.listNamespacedSecret({ namespace, limit: 2, _continue: token });
		seen.push(...page.items.map((s) => s.metadata.name));
		token = page.metadata._continue;
	} while (token);
	assert.deepEqual(seen, ['s0', 's1', 's2', 's3', 's4']);
	const odd = await core.listNamespacedSecret({
		namespace, labelSelector: 'odd=1', fieldSelector: 'metadata.name!=s1' });
	assert.deepEqual(odd.items.map((s) => s.metadata.name), ['s3']);
	await core.deleteCollectionNamespacedSecret({ namespace, labelSelector: 'odd=0', dryRun: 'All' });
	await core.deleteCollectionNamespacedSecret({ namespace, labelSelector: 'odd=1' });
	assert.equal((await core.listNamespacedSecret({ namespace })).items.length, 3);
});

// Any kind, found by discovery.
test('objects by kind, server-side apply', async () => {
	const client = KubernetesObjectApi.makeApiClient(kc);
	const config = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'any', namespace } };
	const apply = (manager, data, force) => client.patch(
		{ ...config, data }, undefined, undefined, manager, force, PatchStrategy.ServerSideApply);
	let o = await apply('one', { a: '1', b: '1' });
	assert.deepEqual(o.metadata.managedFields.map((m) => [m.manager, m.operation]), [['one', 'Apply']]);
	const s = await refused(409, 'Conflict', apply('two', { a: '2' }, false));
	assert.equal(s.message, 'Apply failed with 1 conflict: conflict with "one": .data.a');
	o = await apply('two', { a: '2' }, true);
	assert.deepEqual(o.data, { a: '2', b: '1' });
	o = await apply('one', {});
	assert.deepEqual(o.data, { a: '2' });
	const found = await client.read(config);
	found.data.c = '3';
	assert.deepEqual((await client.replace(found)).data, { a: '2', c: '3' });
	const listed = await client.list('v1', 'ConfigMap', namespace);
	assert.deepEqual(listed.items.map((i) => i.metadata.name), ['any']);
	await client.delete(config);
	await refused(404, 'NotFound', client.read(config));
});

test('custom resources', async () => {
	const where = { group: 'ex.io', version: 'v1', namespace, plural: 'jswidgets' };
	const custom = kc.makeApiClient(CustomObjectsApi);
	const widget = { apiVersion: 'ex.io/v1', kind: 'JsWidget', metadata: { name: 'w' }, spec: { color: 'red' } };
	let o = await custom.createNamespacedCustomObject({ ...where, body: widget });
	assert.deepEqual(o.spec, { color: 'red', size: 1 });
	o = await custom.patchNamespacedCustomObject(
		{ ...where, name: 'w', body: { spec: { color: 'blue' } } }, as(PatchStrategy.MergePatch));
	assert.deepEqual(o.spec, { color: 'blue', size: 1 });
	await refused(415, 'UnsupportedMediaType', custom.patchNamespacedCustomObject(
		{ ...where, name: 'w', body: { spec: {} } }, as(PatchStrategy.StrategicMergePatch)));
	await refused(422, 'Invalid', custom.createNamespacedCustomObject(
		{ ...where, body: { ...widget, metadata: { name: 'v' }, spec: { size: 'big' } } }));
	const listed = await custom.listNamespacedCustomObject(where);
	assert.deepEqual([listed.kind, listed.items.length], ['JsWidgetList', 1]);
	await custom.deleteNamespacedCustomObject({ ...where, name: 'w' });
});

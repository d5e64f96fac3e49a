// SPDX-License-Identifier: Apache-2.0
// The informer of @kubernetes/client-node, started again after errors as its documentation shows. Prints
// a line of JSON an event. usage: node informer.mjs KUBECONFIG NAMESPACE [LABEL-SELECTOR]
import { CoreV1Api, KubeConfig, makeInformer } from '@kubernetes/client-node';

const [, , kubeconfig, namespace, selector] = process.argv;
const kc = new KubeConfig();
kc.loadFromFile(kubeconfig);
const core = kc.makeApiClient(CoreV1Api);
const informer = makeInformer(
	kc, `/api/v1/namespaces/${namespace}/configmaps`,
	() => core.listNamespacedConfigMap({ namespace, labelSelector: selector }), selector);

function say(event, o) {
	console.log(JSON.stringify({ event, ...o }));
}

for (const event of ['add', 'update', 'delete'])
	informer.on(event, (o) => say(event, { name: o.metadata.name, data: o.data }));
informer.on('connect', () => say('connect', { revision: informer.latestResourceVersion() }));
informer.on('error', (e) => {
	say('error', { code: e.code ?? e.statusCode });
	setTimeout(() => informer.start(), 100);
});
// a line asks for what it holds
process.stdin.on('data', () =>
	say('state', { names: informer.list().map((o) => o.metadata.name).sort() }));
process.stdin.on('end', () => process.exit(0));
await informer.start();

// SPDX-License-Identifier: Apache-2.0
// One Watch of @kubernetes/client-node, to its end. Prints a line of JSON an event.
// usage: node watch.mjs KUBECONFIG PATH QUERY-AS-JSON
import { KubeConfig, Watch } from '@kubernetes/client-node';

const [, , kubeconfig, path, query] = process.argv;
const kc = new KubeConfig();
kc.loadFromFile(kubeconfig);
await new Watch(kc).watch(
	path, JSON.parse(query),
	(type, object) => console.log(JSON.stringify({ type, object })),
	(e) => {
		console.log(JSON.stringify({ type: 'done', code: e?.statusCode, error: e ? String(e) : null }));
		process.exit(0);
	});

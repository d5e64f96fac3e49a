// SPDX-License-Identifier: Apache-2.0
// Streams into Pods by @kubernetes/client-node: exec, attach, port-forward, logs.
// usage: node streams.mjs KUBECONFIG NAMESPACE, where the Pods "p" (sleeps), "echo" (repeats its standard
// input), "web" (serves "served" on port 80) and "count" (says "line N" each fifth of a second) run
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { PassThrough, Readable, Writable } from 'node:stream';
import test from 'node:test';
import { Attach, CoreV1Api, Exec, KubeConfig, Log, PortForward } from '@kubernetes/client-node';

const [, , kubeconfig, namespace] = process.argv;
const kc = new KubeConfig();
kc.loadFromFile(kubeconfig);

class Collect extends Writable {
	chunks = [];

	_write(chunk, _, done) {
		this.chunks.push(chunk);
		this.emit('more');
		done();
	}

	get text() {
		return Buffer.concat(this.chunks).toString();
	}

	// Resolves once the text matches.
	until(pattern, ms = 20000) {
		return new Promise((resolve, reject) => {
			const timer = setTimeout(() => reject(new Error(`no ${pattern} in ${this.text}`)), ms);
			const look = () => {
				if (!pattern.test(this.text))
					return;
				clearTimeout(timer);
				resolve(this.text);
			};
			this.on('more', look);
			look();
		});
	}
}

// What a command said, and the Status at its end.
async function run(command, input = null, tty = false) {
	const out = new Collect(), err = new Collect();
	const status = await new Promise((resolve, reject) => {
		new Exec(kc).exec(namespace, 'p', 'main', command, out, tty ? null : err, input, tty, resolve).catch(reject);
	});
	return { out: out.text, err: err.text, status };
}

test('exec', async () => {
	let r = await run(['sh', '-c', 'echo out; echo err >&2']);
	assert.deepEqual([r.out, r.err, r.status.status], ['out\n', 'err\n', 'Success']);
	r = await run(['sh', '-c', 'exit 7']);
	assert.deepEqual([r.status.status, r.status.reason], ['Failure', 'NonZeroExitCode']);
	assert.deepEqual(r.status.details.causes, [{ reason: 'ExitCode', message: '7' }]);
	r = await run(['sh', '-c', 'test -t 0 && echo terminal'], null, true);
	assert.equal(r.out, 'terminal\r\n');
});

test('standard input to its end', async () => {
	const data = randomBytes(3 << 20);
	const r = await run(['sha256sum'], Readable.from([data]));
	assert.equal(r.out.split(' ')[0], createHash('sha256').update(data).digest('hex'));
});

test('exec into nothing', async () => {
	const to = new Collect();
	await assert.rejects(new Exec(kc).exec(namespace, 'nobody', 'main', ['true'], to, to, null, false));
});

test('attach', async () => {
	const out = new Collect(), input = new PassThrough();
	const ws = await new Attach(kc).attach(namespace, 'echo', 'main', out, null, input, false);
	input.write('hello\n');
	await out.until(/got hello\n/);
	ws.close();
});

test('port-forward', async () => {
	for (let i = 0; i < 3; i++) {
		const out = new Collect(), err = new Collect(), input = new PassThrough();
		const ws = await new PortForward(kc).portForward(namespace, 'web', [80], out, err, input);
		input.write('GET / HTTP/1.0\r\n\r\n');
		assert.match(await out.until(/served\n/), /^HTTP\/1\.[01] 200 OK\r\n/);
		ws.close();
	}
});

test('logs that are followed', async () => {
	const out = new Collect();
	const request = await new Log(kc).log(namespace, 'count', 'main', out, { follow: true, tailLines: 1 });
	const first = Number(/^line (\d+)\n/.exec(await out.until(/line \d+\n/))[1]);
	assert.match(await out.until(new RegExp(`line ${first + 2}\\n`)),
		new RegExp(`^line ${first}\nline ${first + 1}\nline ${first + 2}\n`));
	request.abort();
	const core = kc.makeApiClient(CoreV1Api);
	const text = await core.readNamespacedPodLog({ name: 'count', namespace, tailLines: 2, timestamps: true });
	assert.match(text, /^(\d{4}-\d\d-\d\dT\S+Z line \d+\n){2}$/);
});

// sockets that are still open would keep the process
test.after(() => setTimeout(() => process.exit(), 200));

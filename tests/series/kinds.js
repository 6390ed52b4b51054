// SPDX-License-Identifier: GPL-2.0-only
// Small services in node for record.sh: kinds.js KIND; begins at a line of input, and goes on until it is ended.
const http = require('http');
const kept = new Map();
let n = 0;

const kinds = {
	// sessions that nobody ends
	leak() { kept.set(n, Buffer.allocUnsafeSlow(5000 + n % 1000)); },
	// at most 600 of them
	lru() {
		kept.set(n, Buffer.allocUnsafeSlow(5000 + n % 1000));
		if (kept.size > 600) kept.delete(n - 600);
	},
	// a server that nobody has asked before: modules are loaded, code is compiled, pools fill
	warm() {
		const { port } = server.address();
		http.get({ port, path: '/' + n % 20, agent }, (reply) => reply.resume());
	},
};

const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
const server = http.createServer((request, reply) => {
	const zlib = require('zlib'), crypto = require('crypto');
	const text = JSON.stringify({ url: request.url, time: Date.now(), words: Array(200).fill(request.url) });
	reply.setHeader('x-hash', crypto.createHash('sha256').update(text).digest('hex'));
	reply.end(zlib.gzipSync(text));
});

server.listen(0, '127.0.0.1', () => console.log('ready'));
process.stdin.once('data', () => setInterval(() => { kinds[process.argv[2]](); n++; }, 10));

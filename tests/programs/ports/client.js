// SPDX-License-Identifier: GPL-2.0-only
/*
 * client.js HOW URL REQUESTS: an HTTP client, one request after the other.
 *
 *	agent	a new keep-alive agent for each request, destroyed after it: no connection is ever used again
 *	shared	one keep-alive agent
 *
 * Input and output as those of client.py.
 */
'use strict';
const http = require('http');
const readline = require('readline');

const [how, url, requests] = process.argv.slice(2);
const kept = new http.Agent({ keepAlive: true });

function get(agent) {
	return new Promise((resolve, reject) => {
		http.get(url, { agent }, (reply) => {
			reply.resume();
			reply.on('end', () => setImmediate(resolve));	// the agent has its socket back by then
			reply.on('error', reject);
		}).on('error', reject);
	});
}

async function withAgentPerRequest() {
	const agent = new http.Agent({ keepAlive: true });
	try {
		await get(agent);
	} finally {
		agent.destroy();
	}
}

async function main() {
	const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
	const run = { agent: withAgentPerRequest, shared: () => get(kept) }[how];
	const errors = new Set();
	let ok = 0, exhausted = 0, other = 0, first = '';

	console.log('ready');
	await lines.next();
	for (let i = 0; i < Number(requests); i++) {
		const began = Date.now();
		try {
			await run();
			ok++;
		} catch (error) {
			if (error.code === 'EADDRNOTAVAIL') exhausted++;
			else other++;
			if (exhausted) first ||= `first ${began / 1000} ${Date.now() / 1000}`;
			errors.add(`${error.code} ${error.message}`);
		}
	}
	for (const error of errors) console.log('error ' + error);
	if (first) console.log(first);
	console.log(`done ${ok} ${exhausted} ${other}`);
	await lines.next();
	process.exit(0);
}

main();

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * JavaScript that is compiled, moved and thrown away all the time: 600 functions made at run time, called in random order,
 * under full collections that compact. Each of them allocates through a C++ frame. SECONDS of the environment ends it.
 */
'use strict';
const vm = require('vm');

const FUNCTIONS = 600;
const functions = [];
for (let group = 0; group < FUNCTIONS; group += 100) {
	let source = '';
	for (let i = group; i < group + 100; i++)
		source += `function made_${i}(next) { const o = { list: [${i}], s: 'x' }; return next(Buffer.alloc(${5000 + i}), o); }\n`;
	source += '[' + Array.from({ length: 100 }, (_, i) => `made_${group + i}`).join(',') + ']';
	functions.push(...vm.runInThisContext(source, { filename: `made_${group}.js` }));
}

let seed = 12345;
function random(n) {
	seed ^= seed << 13;
	seed ^= seed >>> 17;
	seed ^= seed << 5;
	return (seed >>> 0) % n;
}

let junk = [];
function turn() {
	for (let i = 0; i < 40; i++) {
		functions[random(FUNCTIONS)]((buffer, o) => { junk.push(o); return buffer; });
		for (let j = 0; j < 100; j++)
			junk.push({ j, s: 'k' + j, f: () => j });
	}
	if (junk.length > 100000)
		junk = junk.filter((_, i) => i % 3 === 0);
	if (global.gc && random(10) === 0)
		gc();
	setImmediate(turn);
}
console.log('ready');
turn();
setTimeout(() => process.exit(0), Number(process.env.SECONDS || 20) * 1000);

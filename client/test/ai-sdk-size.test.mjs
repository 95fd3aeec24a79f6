import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import test from 'node:test';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** Bundles the transport without the core. */
async function bundle(options) {
	const { outputFiles } = await build({
		absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
		entryPoints: ['ai-sdk.js'],
		external: ['./lib/*'],
		bundle: true,
		format: 'esm',
		write: false,
		...options,
	});
	return outputFiles[0].text;
}

test('the transport is smaller than 3 KB', async () => {
	const { length } = gzipSync(await bundle({ minify: true }), { level: 9 });
	assert.ok(length < 3 * 1024, `it has ${length} bytes`);
});

test('the transport loads nothing but the core', async () => {
	const imported = [...(await bundle()).matchAll(/\bimport\b[^'"]*["']([^"']+)["']/g)].map(([, path]) => path);
	assert.ok(imported.length > 0);
	for (const path of imported) assert.match(path, /^\.\/lib\/[a-z]+\.js$/);
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './site.mjs';

/** The Caddy of `cmd/caddy`, which has the module and the sandbox. */
export const binary = process.env.ILLUMICHAT_CADDY;

/** Finds a port that nobody listens on. */
async function freePort() {
	const server = createServer();
	await once(server.listen(0, '127.0.0.1'), 'listening');
	const { port } = server.address();
	server.close();
	return port;
}

/**
 * Starts a Caddy that asks the sandbox, and between both something that counts the requests.
 *
 * @param {import('node:test').TestContext} t
 * @param {string} options of the directive
 */
export async function startCaddy(t, options = 'resume') {
	const [site, sandbox] = [await freePort(), await freePort()];
	const requests = [];
	const counter = createServer((req, res) => {
		const seen = { canceled: false };
		requests.push(seen);
		const forward = request({ port: sandbox, path: req.url, method: req.method, headers: req.headers }, (response) => {
			res.writeHead(response.statusCode, response.headers);
			response.pipe(res);
		});
		forward.on('error', () => res.destroy());
		res.on('close', () => {
			seen.canceled = !res.writableFinished;
			forward.destroy();
		});
		req.pipe(forward);
	});
	await once(counter.listen(0, '127.0.0.1'), 'listening');

	const directory = await mkdtemp(join(tmpdir(), 'illumichat-'));
	const config = join(directory, 'Caddyfile');
	await writeFile(config, `
{
	admin off
	persist_config off
}
http://127.0.0.1:${site} {
	illumichat /chat {
		token ic_sandbox000000000000000000000000000000000
		assistants asst_demo
		endpoint http://127.0.0.1:${counter.address().port}/api/chat
		${options}
	}
}
http://127.0.0.1:${sandbox} {
	illumichat_sandbox /api/chat {
		pace 10ms
	}
}
`);
	const caddy = spawn(binary, ['run', '--config', config, '--adapter', 'caddyfile'], {
		stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory },
	});
	let log = '';
	caddy.stderr.on('data', (data) => log += data);
	const exited = once(caddy, 'exit');
	t.after(async () => {
		caddy.kill();
		await exited;
		counter.closeAllConnections();
		counter.close();
		await rm(directory, { recursive: true });
	});
	await until(() => {
		if (caddy.exitCode !== null) throw new Error(`Caddy has ended: ${log}`);
		return log.includes('serving initial configuration');
	}, () => `Caddy runs: ${log}`);
	return { url: `http://127.0.0.1:${site}/chat`, requests };
}

import assert from 'node:assert/strict';
import test from 'node:test';
import { startSite } from './site.mjs';
import { ask, newPage, readAll } from './sdk.mjs';

/** Answers with events, and returns the chunks, each of which is valid. */
async function chunksOf(t, events, finishReason = 'stop') {
	const site = await startSite(t);
	const { transport } = await newPage(undefined, { url: site.url });
	const asked = ask(transport());
	const answer = (await site.question()).send(...events).finish(finishReason);
	return { id: answer.id, chunks: await readAll(await asked) };
}

const call = (toolName, args, toolCallId) => ({ type: 'tool-call', toolName, args, toolCallId });
const result = (toolName, output, toolCallId) => ({ type: 'tool-result', toolName, result: output, toolCallId });
const upstream = { dynamic: true, providerExecuted: true };
const only = (chunks, prefix) => chunks.filter(({ type }) => type.startsWith(prefix));

test('the text is in blocks around the tools, which are the upstream\'s own', async (t) => {
	const { id, chunks } = await chunksOf(t, ['Let me look.', call('search', { q: 'a' }), result('search', [1]), 'Found.']);
	const toolCallId = chunks[5].toolCallId;
	assert.deepEqual(chunks, [
		{ type: 'start', messageId: id },
		{ type: 'start-step' },
		{ type: 'text-start', id: 'text-1' },
		{ type: 'text-delta', id: 'text-1', delta: 'Let me look.' },
		{ type: 'text-end', id: 'text-1' },
		{ type: 'tool-input-available', toolCallId, toolName: 'search', input: { q: 'a' }, ...upstream },
		{ type: 'tool-output-available', toolCallId, output: [1], ...upstream },
		{ type: 'text-start', id: 'text-3' },
		{ type: 'text-delta', id: 'text-3', delta: 'Found.' },
		{ type: 'text-end', id: 'text-3' },
		{ type: 'finish-step' },
		{ type: 'finish', finishReason: 'stop', messageMetadata: { finishReason: 'stop' } },
	]);
});

test('a result goes to the call with its id, and without an id to the first call of its tool', async (t) => {
	const { chunks } = await chunksOf(t, [
		call('search', 'a', 'x'), call('search', 'b', 'y'), result('search', 'B', 'y'), result('search', 'A', 'x'),
		call('fetch', 'c'), call('fetch', 'd'), call('other', 'e'), result('other', 'E'), result('fetch', 'C'), result('fetch', 'D'),
	]);
	const inputs = new Map(only(chunks, 'tool-input').map(({ toolCallId, input }) => [toolCallId, input]));
	assert.equal(inputs.size, 5, 'each call has an id of its own');
	assert.deepEqual([...inputs].slice(0, 2), [['x', 'a'], ['y', 'b']]);
	assert.deepEqual(
		only(chunks, 'tool-output').map(({ toolCallId, output }) => inputs.get(toolCallId) + output),
		['bB', 'aA', 'eE', 'cC', 'dD'],
	);
});

test('a result without a call gets one', async (t) => {
	const { chunks } = await chunksOf(t, [result('search', 1)]);
	const [input, output] = only(chunks, 'tool-');
	assert.deepEqual([input.type, input.toolName, output.type], ['tool-input-available', 'search', 'tool-output-available']);
	assert.equal(input.toolCallId, output.toolCallId);
});

test('a tool without a result is an error when the answer ends', async (t) => {
	const { chunks } = await chunksOf(t, [call('search', {}, 'x'), call('fetch', {}, 'y'), result('fetch', 1, 'y'), 'Sorry.']);
	assert.deepEqual(only(chunks, 'tool-output-error'), [{ type: 'tool-output-error', toolCallId: 'x', errorText: 'the tool gave no result', ...upstream }]);
	assert.equal(chunks.at(-2).type, 'finish-step');
});

test('a finish of tool-calls ends a step, and the answer goes on', async (t) => {
	const { chunks } = await chunksOf(t, ['Wait.', call('search', {}), { type: 'finish', finishReason: 'tool-calls' }, result('search', 1), 'Found.']);
	assert.deepEqual(chunks.map(({ type }) => type), [
		'start', 'start-step', 'text-start', 'text-delta', 'text-end', 'tool-input-available', 'finish-step',
		'tool-output-available', 'start-step', 'text-start', 'text-delta', 'text-end', 'finish-step', 'finish',
	]);
	assert.equal(chunks.at(-1).finishReason, 'stop');
});

for (const [raw, reason] of [
	['stop', 'stop'], ['length', 'length'], ['content-filter', 'content-filter'], ['content_filter', 'content-filter'],
	['tool-calls', 'tool-calls'], ['unknown', 'other'], ['a new one', 'other'], [7, 'other'], [undefined, 'other'],
]) {
	test(`a finish of ${raw} is the SDK's ${reason}, and the metadata has the raw one`, async (t) => {
		const { chunks } = await chunksOf(t, ['Hello'], raw ?? null);
		assert.deepEqual(chunks.at(-1), { type: 'finish', finishReason: reason, messageMetadata: { finishReason: raw ?? null } });
	});
}

test('an event of another type is a transient data part, and what is no event is left out', async (t) => {
	const source = { type: 'source', url: 'https://example.org' };
	const { chunks } = await chunksOf(t, [source, 'Hello', { type: 7 }, { type: 'text-delta', textDelta: 8 }, { type: 'text-delta' }, {}, { type: '' }]);
	assert.deepEqual(only(chunks, 'data-').slice(0, 1), [{ type: 'data-source', data: source, transient: true }]);
	assert.deepEqual(only(chunks, 'text-delta'), [{ type: 'text-delta', id: 'text-1', delta: 'Hello' }]);
});

test('no event can make a chunk that the SDK refuses', async (t) => {
	const odd = [undefined, null, 0, 7, '', 'a', [], {}, true];
	const events = odd.flatMap((value) => [
		{ type: value }, { type: 'text-delta', textDelta: value }, { type: 'error', error: value },
		...odd.map((other) => ({ type: 'tool-call', toolName: value, toolCallId: other, args: other })),
		...odd.map((other) => ({ type: 'tool-result', toolName: other, toolCallId: value, result: other })),
		...['start', 'step-start', 'reasoning', 'data-x', 'abort', 'error-x', 'tool-input-start', 'file'].map((type) => ({ type, value })),
	]);
	const { chunks } = await chunksOf(t, events);
	assert.equal(chunks.at(-1).type, 'finish');
	const called = new Set(only(chunks, 'tool-input').map(({ toolCallId }) => toolCallId));
	assert.ok(only(chunks, 'tool-output').every(({ toolCallId }) => called.has(toolCallId)), 'each result has a call');
});

test('the same answer gives the same chunks to everybody who reads it', async (t) => {
	const site = await startSite(t);
	const page = await newPage(undefined, { url: site.url });
	const asked = ask(page.transport());
	const answer = (await site.question()).send('Hello', call('search', {}), { type: 'source' }).open();
	const stream = await asked;
	const again = await (await page.reload()).transport().reconnectToStream({ chatId: 'one' });
	answer.send('day').finish();
	assert.deepEqual(await readAll(again), await readAll(stream));
});

test('a reader that comes late gets the text so far in one piece', async (t) => {
	const site = await startSite(t);
	const { transport } = await newPage(undefined, { url: site.url });
	const asked = ask(transport());
	const answer = (await site.question()).send('a', 'b');
	const first = (await asked).getReader();
	answer.send('c');
	for (let text = ''; text !== 'abc';) text += (await first.read()).value.delta ?? '';
	const late = (await transport().reconnectToStream({ chatId: 'one' })).getReader();
	const seen = [];
	while (seen.at(-1)?.type !== 'text-delta') seen.push((await late.read()).value);
	assert.equal(seen.at(-1).delta, 'abc');
	answer.finish();
});

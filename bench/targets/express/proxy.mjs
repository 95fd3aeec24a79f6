// The proxy that the API's guide would have every site write, in its own words: it passes what comes, and looks at nothing.
import express from 'express';

const { ADDRESS, UPSTREAM, ILLUMICHAT_API_TOKEN } = process.env;
const [host, port] = ADDRESS.split(':');

const site = express();
site.use(express.json());
site.post('/api/chat-proxy', async (req, res) => {
	const { assistantId, chatId, messages } = req.body;
	const answer = await fetch(`http://${UPSTREAM}/api/chat`, {
		method: 'POST',
		headers: { 'Authorization': `Bearer ${ILLUMICHAT_API_TOKEN}`, 'Content-Type': 'application/json' },
		body: JSON.stringify({ assistantId, chatId, messages }),
	});
	res.set({ 'Cache-Control': 'no-cache', 'Content-Type': 'text/event-stream' });
	for await (const piece of answer.body) res.write(piece);
	res.end();
});
site.listen(Number(port), host, 4096);

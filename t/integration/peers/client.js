// Talks to an echo with npm's ws.  argv[2]: JSON {url, offer, window, sizes,
// times}; prints JSON: what was agreed, and how each message came back.
'use strict';

const WebSocket = require('ws');
const { randomBytes } = require('crypto');

const want = JSON.parse(process.argv[2]);

const ws = new WebSocket(want.url, {
    rejectUnauthorized: false,
    maxPayload: 1 << 28,
    perMessageDeflate: want.offer && { threshold: 0, ...want.offer },
});

const queue = [];
const result = { extensions: null, echoed: 0, wrong: [], close: null };

// half text that repeats itself, half octets that do not
for (let round = 0; round < want.times; round++) {
    for (const size of want.sizes) {
        const text = 'κόσμε नमस्ते '.repeat(size / 40 + 1).slice(0, size / 4);
        queue.push(text, randomBytes(size), Buffer.alloc(size, 'ab'));
    }
}

const all = [...queue];

ws.on('upgrade', (response) => {
    result.extensions = response.headers['sec-websocket-extensions'] || null;
});

ws.on('open', () => {
    // all at once, each also in fragments with a ping between them
    for (const message of all) {
        ws.send(message);
    }
});

ws.on('message', (data, isBinary) => {
    const sent = queue.shift();
    const same = typeof sent === 'string'
        ? !isBinary && data.toString() === sent
        : isBinary && Buffer.compare(data, sent) === 0;

    if (!same) {
        result.wrong.push([result.echoed, data.length]);
    }
    result.echoed++;

    if (queue.length === 0) {
        if (want.fragments && !result.fragments) {
            fragments();
            return;
        }
        ws.close(4242, 'done');
    }
});

function fragments() {
    const parts = [randomBytes(1000), Buffer.alloc(1000, 'x'), Buffer.alloc(0),
                   randomBytes(10)];
    result.fragments = true;
    queue.push(Buffer.concat(parts));
    parts.forEach((part, i) => {
        ws.send(part, { fin: i === parts.length - 1, binary: true });
        ws.ping();
    });
}

ws.on('error', (error) => { result.error = String(error); });

ws.on('close', (code) => {
    result.close = code;
    console.log(JSON.stringify(result));
});

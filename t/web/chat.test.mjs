/*
 * Copyright (C) The Astro authors
 *
 * chat.js: what comes twice, by REST and over the line, is shown once, and
 * what is on its way is shown until it is there.
 */

import assert from 'node:assert/strict';
import test from 'node:test';

const store = new Map([['astro.login', JSON.stringify({
    token: 't', until: 9e15, user: {id: 'u_1'}})]]);

globalThis.sessionStorage = {getItem: k => store.get(k) ?? null,
                             setItem: (k, v) => store.set(k, v)};
const {Chat} = await import('../../web/chat.js');

const message = (seq, more = {}) => ({
    type: 'chat_message', conv: 'c_1', seq, ts: 1,
    payload: {from: 'u_2', cid: `x${seq}`, kind: 'text', text: `${seq}`,
              ...more}});

/* A line that says what it is told to, and REST that answers when it may. */
function scene({kept = [], events = []} = {}) {
    const ears = new Map(), known = [], asked = [];
    let free = () => {};
    const line = {
        kept, open: true, known, asked, events,
        on: (type, ear) => {
            ears.set(type, [...ears.get(type) ?? [], ear]);
            return () => {};
        },
        tell: (type, m) => (ears.get(type) ?? []).forEach(ear => ear(m)),
        know: (conv, seq) => known.push([conv, seq]),
        ask: async (type, p) => { asked.push([type, p]); return {}; },
        say() {},
        keep: () => new Promise(() => {})
    };

    line.hold = () => {
        const gate = new Promise(ok => { free = ok; });

        line.gate = gate;
        return () => free();
    };

    globalThis.fetch = async url => {
        const body = /messages/.test(url)
            ? {data: events.filter(m => m.seq > +/cursor=(\d+)/.exec(url)[1])
                .slice(0, 40)}
            : {head: events.length, delivered: 0, read: 0,
               peer_delivered: 0, peer_read: 0};

        if (/messages/.test(url)) await line.gate;
        return {ok: true, status: 200, json: async () => body,
                headers: {get: () => 'application/json'}};
    };

    const chat = new Chat(line, 'c_1', 'u_1', () => {}, () => true);

    return {line, chat, texts: () => chat.list.map(m => m.text)};
}

test('REST and the line tell the same message, and it is shown once',
     async () => {
    const events = [message(1), message(2)];
    const {line, chat, texts} = scene({events});
    const loads = chat.load();

    line.tell('chat_message', message(2));
    line.tell('chat_message', message(3));
    await loads;
    assert.deepEqual(texts(), ['1', '2', '3']);
    assert.deepEqual(line.known, [['c_1', 2]]);
});

test('an edit that comes while REST is read is not lost', async () => {
    const {line, chat, texts} = scene({events: [message(1)]});
    const go = line.hold();
    const loads = chat.load();

    await new Promise(ok => setTimeout(ok, 5));
    line.tell('chat_edit', {type: 'chat_edit', conv: 'c_1', seq: 2,
                            payload: {from: 'u_2', msg: 1, text: 'new'}});
    go();
    await new Promise(ok => setTimeout(ok, 5));
    await loads;
    assert.deepEqual(texts(), ['new']);
});

test('what was kept before a reload is shown once, stored or not',
     async () => {
    const mine = message(2, {from: 'u_1', cid: 'k'});
    const kept = [{type: 'chat_message', payload: {
        conv: 'c_1', cid: 'k', kind: 'text', text: '2'}}];
    const {chat, texts} = scene({kept, events: [message(1), mine]});

    assert.equal(chat.mine.length, 1);
    await chat.load();
    assert.deepEqual(texts(), ['1', '2']);
    assert.equal(chat.mine.length, 0);
});

test('one that is refused after a reload says so', async () => {
    const kept = [{type: 'chat_message', payload: {
        conv: 'c_1', cid: 'k', kind: 'text', text: '2'}}];
    const {line, chat} = scene({kept});

    await chat.load();
    line.tell('lost', {...kept[0], error: {code: 'session_state'}});
    assert.equal(chat.mine[0].state, 'failed');
});

test('behind a gap it is read anew', async () => {
    const events = [message(1)];
    const {line, chat, texts} = scene({events});

    await chat.load();
    for (let seq = 2; seq <= 60; seq++) events.push(message(seq));
    line.tell('gap', {conv: 'c_1', head: 60});
    await new Promise(ok => setTimeout(ok, 5));
    assert.deepEqual(texts(), events.slice(20).map(m => m.payload.text));
    assert.equal(chat.first, 21);
});

test('a burst is acknowledged by few requests', async () => {
    const {line, chat} = scene();

    await chat.load();
    for (let seq = 1; seq <= 50; seq++) line.tell('chat_message', message(seq));
    await new Promise(ok => setTimeout(ok, 5));
    assert.ok(line.asked.length <= 3, `${line.asked.length}`);
    assert.deepEqual(line.asked.at(-1), ['chat_ack', {
        conv: 'c_1', delivered: 50, read: 50}]);
});

/*
 * Copyright (C) The Astro authors
 *
 * consult.js where it is easy to be wrong: boxes that are no boxes, tokens
 * that never come, machines that sleep, servers that talk nonsense.  Time is
 * the test's own.
 */

import assert from 'node:assert/strict';
import test from 'node:test';
import {Consult} from '../../web/consult.js';
import {Time} from './world.mjs';

/*
 * A line, and the sockets it has made, which do what they are told.  Hello is
 * answered at once; a request by what answer() returns, if anything.
 */
function scene({answer = () => undefined, convs = [], ...more} = {}) {
    const time = new Time(), sockets = [], got = [], told = [];

    class Socket {
        constructor() {
            sockets.push(this);
            this.at = time.now();
            time.set(() => this.onopen?.(), 1);
        }

        send(text) {
            const f = JSON.parse(text);

            got.push({...f, at: time.now()});
            if (this.deaf || !f.id) return;

            const said = f.type == 'hello'
                ? {payload: {user: 'u_1', ping_s: 25, max_frame: 1000, convs}}
                : answer(f, got, this);

            if (said) time.set(() => this.says({type: 'reply', id: f.id,
                                                ...said}), 1);
        }

        says(m) { this.onmessage?.({data: JSON.stringify(m)}); }

        ends(code) { this.onclose?.({code}); }

        close() {}
    }

    const line = new Consult({
        url: '', device: 'd', socket: Socket, clock: time, random: () => 1,
        token: async () => 't', ...more});

    for (const type of ['state', 'gap', 'closed', 'unsaved', 'lost'])
        line.on(type, what => told.push([type, what]));
    line.on('chat_message', m => told.push(['message', m.conv, m.seq]));
    line.start();

    return {line, time, sockets, got, told, run: ms => time.run(
        time.now() + ms), types: type => got.filter(f => f.type == type)};
}

const say = (seq, conv = 'c_1', payload = {}) => ({
    type: 'chat_message', conv, seq, ts: 1, payload});

const of = (told, type) => told.filter(([t]) => t == type).map(t => t[1]);


test('a box with nonsense in it is an empty one', async () => {
    for (const text of ['{"a', '5', 'null', '[1, null, {"type": "x"}]']) {
        const {line} = scene({box: {getItem: () => text, setItem() {}}});

        assert.deepEqual(line.kept, [], text);
        line.stop();
    }
});

test('a box that is full or forbidden keeps nobody from sending', async () => {
    const no = () => { throw Error('quota'); };
    const {line, run, told} = scene({
        box: {getItem: no, setItem: no}, answer: () => ({payload: {seq: 1}})});

    await run(100);
    const answer = line.keep('chat_message', {conv: 'c_1', text: 'x'});

    await run(100);
    assert.equal((await answer).seq, 1);
    assert.ok(of(told, 'unsaved').length > 0);
});

test('a token that never comes is asked for again', async () => {
    let n = 0;
    const {line, run} = scene({token: () => n++ ? Promise.resolve('t')
                                                : new Promise(() => {})});

    await run(60000);
    assert.equal(line.state, 'ready');
});

test('who stops while a token is made gets no socket from it', async () => {
    let free;
    const s = scene({token: () => new Promise(ok => { free = ok; })});

    await s.run(10);
    s.line.stop();
    free('t');
    await s.run(1000);
    assert.equal(s.sockets.length, 0);
    assert.equal(s.line.state, 'off');
});

test('a socket that died without a word is noticed when one looks',
     async () => {
    const {line, run, sockets} = scene();

    await run(100);
    sockets[0].deaf = true;
    line.poke();
    await run(3900);
    assert.equal(line.state, 'ready');
    await run(2000);
    assert.equal(sockets.length, 2);
    assert.equal(line.state, 'ready');
});

test('a machine that slept looks by itself', async () => {
    const {run, time, sockets, types} = scene();

    await run(100);
    sockets[0].deaf = true;
    time.at += 3600000;             /* the day went on, no timer was late yet */
    for (const t of time.due) t.at += 3600000;
    await run(5100);
    assert.equal(types('ping').length, 1);
    await run(6000);
    assert.equal(sockets.length, 2);
});

test('nobody waits when the network is back', async () => {
    const {line, run, sockets} = scene();

    await run(100);
    sockets[0].onmessage({data: JSON.stringify({type: 'bye', payload: {
        code: 4503, action: 'resume', after_ms: 60000}})});
    sockets[0].ends(4503);
    await run(1000);
    assert.equal(line.state, 'waiting');
    line.poke();
    await run(10);
    assert.equal(line.state, 'ready');
});

test('of two that are kept the second waits for the first', async () => {
    const s = scene({answer: (f, got) => f.payload.text == 'one'
        && got.filter(g => g.payload.text == 'one').length < 3
        ? {error: {code: 'rate_limited', retry: true, retry_after_ms: 300}}
        : {payload: {seq: 1}}});

    await s.run(100);
    for (const text of ['one', 'two'])
        s.line.keep('chat_message', {conv: 'c_1', text});
    s.line.keep('chat_message', {conv: 'c_2', text: 'else'});
    await s.run(2000);
    assert.deepEqual(s.types('chat_message').map(f => f.payload.text),
                     ['one', 'else', 'one', 'one', 'two']);

    const at = s.types('chat_message').map(f => f.at);

    assert.ok(at[2] - at[0] >= 300 && at[3] - at[2] >= 300, 'too soon');
});

test('a reply that never comes is asked for again, on the same line',
     async () => {
    const s = scene({answer: (f, got) => got.filter(
        g => g.type == 'chat_message').length > 1 && {payload: {seq: 1}}});

    await s.run(100);
    const answer = s.line.keep('chat_message', {conv: 'c_1', text: 'x'});

    for (let n = 0; n < 4; n++) {
        await s.run(9000);
        s.sockets[0].says({type: 'ping'});
    }
    assert.equal((await answer).seq, 1);
    assert.equal(s.sockets.length, 1);
    assert.equal(new Set(s.types('chat_message').map(f => f.payload.cid)).size,
                 1);
});

test('one\'s own event is as good as the reply', async () => {
    const s = scene();

    await s.run(100);
    const answer = s.line.keep('chat_message', {conv: 'c_1', text: 'x'});

    await s.run(10);
    const {cid} = s.types('chat_message')[0].payload;

    s.sockets[0].says(say(1, 'c_1', {from: 'u_2', cid}));   /* not ours */
    assert.equal(s.line.kept.length, 1);
    s.sockets[0].says(say(2, 'c_1', {from: 'u_1', cid}));
    assert.equal((await answer).seq, 2);
    assert.equal(s.line.kept.length, 0);
});

test('what no frame takes is refused here, and ends nothing', async () => {
    const s = scene();

    await s.run(100);
    await assert.rejects(
        Promise.race([s.line.keep('chat_message', {
            conv: 'c_1', text: '🙏'.repeat(300)}), s.run(100)]),
        {code: 'too_large'});
    assert.equal(s.line.kept.length, 0);
    assert.equal(s.types('chat_message').length, 0);
});

test('a hole that nobody fills is told, and what is behind it, too',
     async () => {
    for (const said of [{payload: {head: 5, more: false}},
                        {error: {code: 'not_participant', retry: false}}]) {
        const s = scene({answer: f => f.type == 'sync' && said});

        await s.run(100);
        s.sockets[0].says(say(1));
        s.sockets[0].says(say(4));
        s.sockets[0].says(say(5));
        await s.run(20000);
        assert.deepEqual(s.told.filter(([t]) => /gap|message/.test(t)), [
            ['message', 'c_1', 1], ['gap', {conv: 'c_1', head: 3}],
            ['message', 'c_1', 4], ['message', 'c_1', 5]]);
    }
});

test('a conversation that begins in its midst says so, unless it is known',
     async () => {
    const s = scene();

    await s.run(100);
    s.line.know('c_2', 7);
    s.sockets[0].says(say(1, 'c_3'));
    s.sockets[0].says(say(8, 'c_2'));
    s.sockets[0].says(say(8, 'c_4'));
    s.sockets[0].says({type: 'ping', heads: {c_5: 3}});
    assert.deepEqual(of(s.told, 'gap'), [{conv: 'c_4', head: 7},
                                         {conv: 'c_5', head: 3}]);
});

test('an ear that throws keeps nobody from hearing', async () => {
    const s = scene(), thrown = [];

    globalThis.reportError = e => thrown.push(e.message);
    s.line.on('chat_message', () => { throw Error('mine'); });
    let heard = 0;

    s.line.on('chat_message', () => heard++);
    await s.run(100);
    s.sockets[0].says(say(1));
    s.sockets[0].says(say(2));
    delete globalThis.reportError;
    assert.equal(heard, 2);
    assert.deepEqual(thrown, ['mine', 'mine']);
});

test('nonsense is no frame: another connection is', async () => {
    for (const data of ['{"ty', 'null', '[]', '"x"', '{"type":"a","seq":"b"}',
                        new ArrayBuffer(2)]) {
        const s = scene();

        await s.run(100);
        s.sockets[0].onmessage({data});
        await s.run(2000);
        assert.equal(s.sockets.length, 2, String(data));
        assert.equal(s.line.state, 'ready');
    }
});

test('who is thrown out at once comes back ever more slowly', async () => {
    const s = scene();

    s.line.on('hello', () => s.time.set(() => s.sockets.at(-1).ends(4500), 1));
    await s.run(60000);
    const gaps = s.sockets.slice(1).map((x, i) => x.at - s.sockets[i].at);

    assert.deepEqual(gaps.map(ms => Math.round(ms / 100) * 100).slice(0, 7),
                     [400, 800, 1600, 3200, 6400, 12800, 15000]);
});

test('a goodbye counts when the close was not heard', async () => {
    for (const [code, state] of [[4403, 'stopped'], [4409, 'stopped'],
                                 [4503, 'ready'], [4429, 'waiting']]) {
        const s = scene();

        await s.run(100);
        s.sockets[0].says({type: 'bye', payload: {
            code, action: code < 4500 ? 'stop' : 'resume', after_ms: 0}});
        s.sockets[0].ends(1006);
        await s.run(1000);
        assert.equal(s.line.state, state, code);
    }
});

test('a long life leaves little behind', async () => {
    const s = scene();

    await s.run(100);
    for (let n = 0; n < 3000; n++) {
        s.sockets[0].says(say(1, `c_${n}`));
        s.sockets[0].says({type: 'session_update', ver: 1,
                           payload: {session: `s_${n}`}});
    }
    assert.ok(s.line.order.last.size <= 1000);
    assert.ok(s.line.vers.size <= 1000);
    assert.equal(s.line.order.pos.length, 200);
    assert.deepEqual(s.line.order.pos.at(-1), ['c_2999', 1]);
});

test('a request in flight outlives a new token', async () => {
    const s = scene({answer: (f, got, socket) => {
        if (f.type == 'auth_refresh') return {payload: {}};
        s.time.set(() => socket.says({type: 'reply', id: f.id, payload: {
            late: true}}), 500);
    }});

    await s.run(100);
    const asked = s.line.ask('session_join', {session: 's_1'});

    s.sockets[0].says({type: 'auth_expiring', payload: {expires_in: 60}});
    s.sockets[0].says({type: 'auth_expiring', payload: {expires_in: 50}});
    await s.run(1000);
    assert.equal((await asked).late, true);
    assert.equal(s.types('auth_refresh').length, 1);
    assert.equal(s.sockets.length, 1);
});

/*
 * Copyright (C) The Astro authors
 *
 * consult.js against a server made of a few lines: what it promises must hold
 * over whatever the connection does.  node --test t/web
 */

import assert from 'node:assert/strict';
import test from 'node:test';
import {Consult} from '../../web/consult.js';

const tick = () => new Promise(ok => setTimeout(ok, 0));
const soon = async what => {
    for (let n = 0; n < 400; n++) {
        const got = what();

        if (got) return got;
        await new Promise(ok => setTimeout(ok, 5));
    }
    assert.fail(`never: ${what}`);
};


/* The server: conversations by name, each a list of events from seq 1. */
class Server {
    constructor() {
        this.convs = {c_1: []};
        this.sockets = [];
        this.got = [];                  /* requests */
        this.cids = new Map();
        this.deaf = new Set();          /* types that are not answered */
        this.most = 300;
        this.expired = false;
    }

    get last() { return this.sockets.at(-1); }

    socket() {
        const server = this;

        return class {
            constructor(url, protocols) {
                assert.deepEqual(protocols, ['consult.v1']);
                server.sockets.push(this);
                this.open = true;
                setTimeout(() => this.onopen?.(), 0);
            }

            send(text) {
                assert.ok(this.open, 'sent into a closed socket');
                const frame = JSON.parse(text);

                server.got.push(frame);
                setTimeout(() => this.open && server.answer(this, frame), 0);
            }

            say(frame) {
                if (this.open) this.onmessage({data: JSON.stringify(frame)});
            }

            close(code = 1000) {
                if (!this.open) return;
                this.open = false;
                setTimeout(() => this.onclose({code}), 0);
            }
        };
    }

    event(conv, payload, type = 'chat_message', told = true) {
        const m = {type, conv, seq: this.convs[conv].length + 1,
                   ts: 1, payload};

        this.convs[conv].push(m);
        if (told) this.last.say(m);
        return m;
    }

    answer(ws, {type, id, payload: p}) {
        const reply = (payload, error) => ws.say({type: 'reply', id, payload,
                                                  error});

        if (this.deaf.has(type)) return;

        switch (type) {
        case 'hello': {
            if (this.expired) {
                reply(undefined, {code: 'token_expired', retry: false});
                return ws.close(4401);
            }

            const pos = new Map(p.pos), replay = [];
            const convs = Object.entries(this.convs).map(([conv, all]) => {
                const after = pos.get(conv) ?? all.length;

                if (all.length - after > this.most)
                    return {conv, head: all.length, state: 'gap'};
                replay.push(...all.slice(after));
                return {conv, head: all.length,
                        state: after < all.length ? 'replay' : 'current'};
            });

            reply({conn: 'x', user: 'u_1', role: 'client', name: 'A',
                   currency: 'INR', ping_s: 25, convs});
            return replay.forEach(m => ws.say(m));
        }

        case 'sync':
            this.convs[p.conv].slice(p.after).forEach(m => ws.say(m));
            return reply({head: this.convs[p.conv].length, more: false});

        case 'chat_message':
            if (this.cids.has(p.cid))
                return reply({...this.cids.get(p.cid), dup: true});
            this.cids.set(p.cid, {seq: this.convs[p.conv].length + 1});
            reply(this.cids.get(p.cid));
            return this.event(p.conv, p);

        default:
            if (id) reply({});
        }
    }
}

function line(server, more = {}) {
    const told = [];
    const c = new Consult({
        url: 'wss://x/ws', device: 'd', socket: server.socket(),
        token: async ({fresh}) => fresh ? 'new' : 'old',
        random: () => 0.01, ...more});

    c.on('chat_message', m => told.push(m.seq));
    c.told = told;
    c.start();
    return c;
}

const upTo = n => Array.from({length: n}, (_, i) => i + 1);


test('events are told once, in order', async () => {
    const s = new Server(), c = line(s);

    await soon(() => c.state == 'ready');
    s.event('c_1', {text: 'a'});
    s.last.say(s.convs.c_1[0]);
    s.event('c_1', {text: 'b'});
    await tick();
    assert.deepEqual(c.told, [1, 2]);
    c.stop();
});


test('what is ahead waits for what is between', async () => {
    const s = new Server(), c = line(s);

    await soon(() => c.state == 'ready');
    s.event('c_1', {});
    s.event('c_1', {}, 'chat_message', false);
    s.event('c_1', {}, 'chat_message', false);
    s.event('c_1', {});
    await soon(() => c.told.length == 4);
    assert.deepEqual(c.told, upTo(4));
    assert.equal(s.got.filter(f => f.type == 'sync').length, 1);
    assert.equal(c.order.ahead.size, 0);
    c.stop();
});


test('a ping tells of what was lost, and is answered', async () => {
    const s = new Server(), c = line(s);

    await soon(() => c.state == 'ready');
    s.event('c_1', {}, 'chat_message', false);
    s.last.say({type: 'ping', heads: {c_1: 1}});
    await soon(() => c.told.length == 1);
    assert.ok(s.got.some(f => f.type == 'pong'));
    c.stop();
});


test('a hundred drops in a row lose nothing and tell nothing twice',
     async () => {
    const s = new Server(), c = line(s);

    for (let n = 0; n < 100; n++) {
        await soon(() => c.state == 'ready');
        s.event('c_1', {}, 'chat_message', n % 2 == 0);
        s.last.close(n % 3 ? 4503 : 1006);
        s.event('c_1', {}, 'chat_message', false);
        await soon(() => c.state != 'ready');
    }

    await soon(() => c.told.length == 200);
    assert.deepEqual(c.told, upTo(200));
    c.stop();
});


test('a durable request lives until it is answered, with one cid',
     async () => {
    const s = new Server(), c = line(s);

    await soon(() => c.state == 'ready');
    s.deaf.add('chat_message');
    const answer = c.keep('chat_message', {conv: 'c_1', text: 'x'});

    for (let n = 0; n < 3; n++) {
        await soon(() => s.got.filter(f => f.type == 'chat_message').length
                         == n + 1);
        if (n == 2) break;
        if (n == 1) s.deaf.clear();
        s.last.close(1006);
        await soon(() => c.state != 'ready');
        await soon(() => c.state == 'ready');
        if (n == 1) break;
    }

    assert.equal((await answer).seq, 1);
    await soon(() => c.told.length == 1);

    const cids = s.got.filter(f => f.type == 'chat_message')
                      .map(f => f.payload.cid);

    assert.ok(cids.length > 1);
    assert.equal(new Set(cids).size, 1);
    assert.equal(s.convs.c_1.length, 1);
    assert.equal(c.kept.length, 0);
    c.stop();
});


test('what is kept outlives the page', async () => {
    const box = new Map();
    const storage = {getItem: k => box.get(k) ?? null,
                     setItem: (k, v) => box.set(k, v)};
    const s = new Server(), one = line(s, {box: storage});

    await soon(() => one.state == 'ready');
    s.deaf.add('chat_message');
    one.keep('chat_message', {conv: 'c_1', text: 'x'});
    await tick();
    one.stop();
    s.deaf.clear();

    const two = line(s, {box: storage});

    await soon(() => two.told.length == 1);
    await soon(() => two.kept.length == 0);
    assert.equal(box.get('consult.kept'), '[]');
    two.stop();
});


test('a request fails when its connection goes: unknown is not success',
     async () => {
    const s = new Server(), c = line(s);

    await soon(() => c.state == 'ready');
    s.deaf.add('session_end');
    const asked = c.ask('session_end', {session: 's_1'});

    setTimeout(() => s.last.close(1006), 5);
    await assert.rejects(asked, {code: 'offline', retry: true});
    c.stop();
    await assert.rejects(c.ask('session_end'), {code: 'offline'});
});


test('a gap is told, and the line goes on behind it', async () => {
    const s = new Server(), c = line(s), gaps = [];

    c.on('gap', g => gaps.push(g));
    await soon(() => c.state == 'ready');
    s.event('c_1', {});
    s.most = 5;
    s.last.close(1006);
    for (let n = 0; n < 10; n++) s.event('c_1', {}, 'chat_message', false);
    await soon(() => gaps.length == 1);
    assert.deepEqual(gaps[0], {conv: 'c_1', head: 11});
    s.event('c_1', {});
    await soon(() => c.told.includes(12));
    assert.deepEqual(c.told, [1, 12]);
    c.stop();
});


test('a refused token is made anew, once', async () => {
    const s = new Server();

    s.expired = true;
    const c = line(s, {token: async ({fresh}) => {
        if (fresh) s.expired = false;
        return fresh ? 'new' : 'old';
    }});

    await soon(() => c.state == 'ready');
    assert.deepEqual(s.got.filter(f => f.type == 'hello')
                     .map(f => f.payload.token), ['old', 'new']);
    c.stop();
});


test('a token that nobody makes anew stops the line', async () => {
    const s = new Server();

    s.expired = true;
    const c = line(s);

    await soon(() => c.state == 'stopped');
    assert.equal(c.why.code, 4401);
    assert.equal(s.sockets.length, 2);
});


test('44xx stops, 45xx comes back when the server said', async () => {
    const s = new Server(), c = line(s);

    await soon(() => c.state == 'ready');
    s.last.say({type: 'bye', payload: {code: 4503, reason: 'draining',
                                       action: 'resume', after_ms: 40}});
    const at = Date.now();

    s.last.close(4503);
    await soon(() => c.state == 'waiting');
    await soon(() => c.state == 'ready');
    assert.ok(Date.now() - at >= 35);

    s.last.close(4403);
    await soon(() => c.state == 'stopped');
    assert.equal(c.why.code, 4403);
    await new Promise(ok => setTimeout(ok, 50));
    assert.equal(s.sockets.length, 2);
});


test('auth_expiring is answered within the connection', async () => {
    const s = new Server(), c = line(s);

    await soon(() => c.state == 'ready');
    s.last.say({type: 'auth_expiring', payload: {expires_in: 60}});
    await soon(() => s.got.some(f => f.type == 'auth_refresh'
                                     && f.payload.token == 'new'));
    assert.equal(s.sockets.length, 1);
    c.stop();
});


test('of snapshots the highest ver wins', async () => {
    const s = new Server(), c = line(s), seen = [];
    const says = (ver, state) => s.last.say({
        type: 'session_update', ver, payload: {session: 's_1', state}});

    c.on('session_update', m => seen.push(m.payload.state));
    await soon(() => c.state == 'ready');
    says(3, 'active');
    says(2, 'accepted');
    says(4, 'ended');
    assert.deepEqual(seen, ['active', 'ended']);
    c.stop();
});


test('a retryable failure of a durable request is tried again', async () => {
    const s = new Server();
    let n = 0;
    const answer = s.answer;

    s.answer = function (ws, f) {
        if (f.type == 'chat_message' && n++ == 0)
            return ws.say({type: 'reply', id: f.id, error: {
                code: 'rate_limited', retry: true, retry_after_ms: 5}});
        answer.call(s, ws, f);
    };

    const c = line(s);

    await soon(() => c.state == 'ready');
    assert.equal((await c.keep('chat_message', {conv: 'c_1', text: 'x'})).seq,
                 1);
    await assert.rejects((async () => {
        s.answer = (ws, f) => ws.say({type: 'reply', id: f.id, error: {
            code: 'session_state', retry: false}});
        await c.keep('chat_message', {conv: 'c_1', text: 'y'});
    })(), {code: 'session_state'});
    assert.equal(c.kept.length, 0);
    c.stop();
});

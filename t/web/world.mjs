/*
 * Copyright (C) The Astro authors
 *
 * A world for consult.js: its own time, a server that keeps the protocol, and
 * a network that does not.  All of it follows from a seed.
 */

const USER = 'u_1';
const REPLAY_MAX = 12, SYNC_MAX = 5;

export function chance(seed) {
    let a = seed >>> 0;

    return () => {
        a = (a + 0x6d2b79f5) >>> 0;
        let t = Math.imul(a ^ (a >>> 15), a | 1);

        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}


/* Time that passes when nobody has anything left to do now. */
export class Time {
    constructor() {
        this.at = 1e12;
        this.n = 0;
        this.due = [];
    }

    set(f, ms) {
        const t = {at: this.at + ms, n: this.n++, f};

        this.due.push(t);
        return t;
    }

    clear(t) { if (t) t.f = null; }

    now() { return this.at; }

    /* a machine that sleeps: its timers stand still, the day goes on */
    sleep(ms, mine) {
        for (const t of this.due) if (mine.has(t)) t.at += ms;
    }

    async run(until) {
        for (;;) {
            let next = null, which;

            for (let n = 0; n < 10; n++) await null;

            for (let i = this.due.length - 1; i >= 0; i--) {
                const t = this.due[i];

                if (!t.f) {
                    this.due[i] = this.due.at(-1);
                    this.due.pop();
                    if (which == this.due.length) which = i;
                } else if (!next || t.at < next.at
                           || (t.at == next.at && t.n < next.n)) {
                    next = t;
                    which = i;
                }
            }

            if (!next || next.at > until) break;

            this.due[which] = this.due.at(-1);
            this.due.pop();
            this.at = Math.max(this.at, next.at);
            next.f();
        }

        this.at = until;
    }
}


/* The server, and every wire that leads to it. */
export class Server {

    constructor(time, random) {
        Object.assign(this, {time, random});

        this.convs = new Map();         /* conv: its events, from seq 1 */
        this.cids = new Map();          /* conv cid: seq */
        this.wires = new Set();
        this.token = 1;                 /* the one that is good */
        this.wild = true;
    }

    may(share) { return this.wild && this.random() < share; }

    store(conv, from, payload) {
        const all = this.convs.get(conv);
        const m = {type: 'chat_message', conv, seq: all.length + 1,
                   ts: this.time.now(), payload: {from, ...payload}};

        all.push(m);
        for (const wire of this.wires) {
            if (!wire.user || this.may(0.05)) continue;     /* not told */
            wire.down(m);
            if (this.may(0.05)) wire.down(m);
        }
        return m;
    }

    heads() {
        return Object.fromEntries([...this.convs].map(
            ([conv, all]) => [conv, all.length]));
    }

    answer(wire, {type, id, payload: p}) {
        const reply = (payload, error) => id && wire.down(
            {type: 'reply', id, payload, error});
        const again = () => reply(undefined, {
            code: 'unavailable', retry: true,
            ...this.may(0.5) && {retry_after_ms: 700}});

        if (type != 'hello' && !wire.user)
            throw Error(`${type} before hello`);

        switch (type) {
        case 'hello':
            if (+p.token != this.token) {
                if (this.may(0.5)) reply(undefined, {code: 'token_expired'});
                return wire.bye(4401, 'stop', 0);
            }
            if (this.may(0.1)) {
                again();
                return wire.bye(4500, 'resume', 1000);
            }
            for (const old of this.wires)
                if (old.device == p.device && old != wire)
                    old.bye(4409, 'stop', 0);
            return this.hello(wire, p, reply);

        case 'auth_refresh':
            return +p.token == this.token ? reply({})
                : reply(undefined, {code: 'unauthorized'});

        case 'sync': {
            const all = this.convs.get(p.conv);
            const some = all.slice(p.after, p.after + SYNC_MAX);

            if (this.may(0.2)) return again();
            some.forEach(m => wire.down(m));
            return reply({head: all.length,
                          more: p.after + some.length < all.length});
        }

        case 'chat_message': {
            const key = `${p.conv} ${p.cid}`;

            if (this.cids.has(key)) {
                if (this.may(0.1)) return again();
                return reply({...this.cids.get(key), dup: true});
            }
            if (this.may(0.15)) return again();
            if (this.time.now() < wire.joins)
                return reply(undefined, {code: 'session_state'});
            if (p.text == 'bad')
                return reply(undefined, {code: 'bad_request'});

            const first = this.random() < 0.5;
            const seq = this.convs.get(p.conv).length + 1;

            this.cids.set(key, {seq});
            if (first) reply({seq});
            this.store(p.conv, USER, p);
            return first || reply({seq});
        }

        default:
            return reply({});
        }
    }

    hello(wire, {pos, device}, reply) {
        const at = new Map(pos), replay = [];
        const convs = [...this.convs].map(([conv, all]) => {
            const after = at.get(conv) ?? all.length;

            if (after > all.length) throw Error('ahead of the server');
            if (all.length - after > REPLAY_MAX)
                return {conv, head: all.length, state: 'gap'};
            replay.push(...all.slice(after));
            return {conv, head: all.length,
                    state: after < all.length ? 'replay' : 'current'};
        });

        Object.assign(wire, {user: USER, device, joins: this.wild
            ? this.time.now() + this.random() * 800 : 0});
        reply({user: USER, ping_s: 25, max_frame: 65536, convs});
        replay.forEach(m => wire.down(m));
        wire.beat();
    }
}


/* One WebSocket, and what is under way on it: in order, late, or lost. */
export const socketOf = (server, links) => class {

    constructor() {
        const {time} = server;

        this.dead = this.gone = false;      /* the wire is; onclose was told */
        this.up = this.low = time.now();    /* when what was sent last comes */
        server.wires.add(this);
        links.add(this);
        this.after(() => server.may(0.1) ? this.cut() : this.onopen?.());
    }

    after(f) {
        const {time, random} = server;

        this.low = Math.max(this.low, time.now() + random() * 60);
        time.set(() => this.dead || f(), this.low - time.now());
    }

    send(text) {
        const frame = JSON.parse(text), {time, random} = server;

        if (this.gone) throw Error('sent into a closed socket');
        this.up = Math.max(this.up, time.now() + random() * 60);
        time.set(() => {
            if (this.dead || this.leaving) return;
            server.answer(this, frame);
            if (server.may(0.02)) this.cut();       /* done, and not told */
        }, this.up - time.now());
        if (server.may(0.02)) this.cut();           /* perhaps not done */
    }

    down(frame) {
        if (this.leaving) return;
        this.after(() => this.gone || this.onmessage(
            {data: JSON.stringify(frame)}));
        if (server.may(0.003))
            this.after(() => this.gone || this.onmessage({data: '{"ty'}));
    }

    beat() {
        server.time.set(() => {
            if (this.dead || this.leaving) return;
            this.down({type: 'ping', heads: server.heads()});
            this.beat();
        }, 25000);
    }

    bye(code, action, after_ms) {
        this.down({type: 'bye', payload: {code, action, after_ms}});
        this.after(() => this.closes(code));
        this.leaving = true;
        this.user = null;
    }

    closes(code) {
        if (this.gone) return;
        this.gone = this.dead = true;
        server.wires.delete(this);
        links.delete(this);
        this.onclose?.({code});
    }

    /* by the network: the client may not be told for long, or ever */
    cut() {
        if (this.dead) return;
        this.dead = true;
        this.user = null;
        server.wires.delete(this);
        if (server.random() < 0.6)
            server.time.set(() => this.closes(1006), server.random() * 3000);
    }

    close() {
        server.time.set(() => this.closes(1005), server.random() * 100);
    }
};

/*
 * Copyright (C) The Astro authors
 *
 * consult.v1: one connection to /ws that comes back by itself and misses
 * nothing.  It knows no page and no DOM: this file, order.js, outbox.js and
 * backoff.js are all that another client needs.
 *
 *     const line = new Consult({url, token, device});
 *
 *     const off = line.on('chat_message', m => ..);
 *     line.start();
 *     await line.ask('session_join', {session});      a request, its reply
 *     await line.keep('chat_message', {conv, kind, text});    a durable one
 *     line.say('chat_typing', {conv, on: true});      no reply, may be lost
 *     line.know(conv, seq);          up to here REST has been read
 *     line.poke();                   something changed: look whether it lives
 *     line.stop();                   until start()
 *
 * Options:
 *
 *     url       wss://../ws
 *     token     async ({fresh}) => a JWT; fresh: the last one was refused, or
 *               ends soon.  If it fails with a retry that is true, or not
 *               within 20 s, it is asked again later (after retry_after_ms, if
 *               the error has it); any other failure stops the line
 *     device    a UUID: a second connection of the same one replaces the first
 *     app       name and version, for the server's log
 *     box, name a Storage, and its key, for what keep() was given: what was
 *               not answered is sent after a reload.  Of one user
 *     socket    WebSocket, or what does as it does
 *     clock     {set(f, ms), clear(timer), now()}: timers and the time of day
 *     random    () => 0..1
 *
 * Events.  Any type that the server sends is one, with the whole frame; "*" is
 * all of them.  Its own:
 *
 *     state     off, connecting, ready, waiting (until line.until), stopped
 *               (line.why {code, error}: 44xx, something has to be mended)
 *     hello     hello's reply; also line.me.  Before what was kept is sent
 *     gap       {conv, head}: what is up to head is not told here, page
 *               through REST; what is behind it is
 *     stored    {type, payload, reply}: what was kept, and is there
 *     lost      {type, payload, error}: it was kept before a reload, and the
 *               server has refused it
 *     unsaved   {error}: the box would not take it; it lives as long as we
 *     sent, heard    each frame as it goes and comes; "sent" has the token
 *     bye       the server's, before it closes; closed: the code
 *
 * What it promises:
 *
 * - A durable event is told once, in order, without a gap but for those that
 *   "gap" tells of (order.js).
 * - What keep() was given is sent until there is a reply, over as many
 *   connections as it takes, always with the same cid, one after the other in
 *   each conversation, and out of the box after a reload (outbox.js).  Its
 *   promise fails when the server has refused it.
 * - Of snapshots with a ver the highest wins; older ones are not told.
 * - ask() fails with a ConsultError {code, message, retry, field,
 *   retry_after_ms}: the server's, "too_large", or "offline" when the
 *   connection went, or 20 s, before the reply: unknown is not success.
 * - An ear that throws keeps nobody else from hearing.
 */

import {backoff, slowly} from './backoff.js';
import {Order} from './order.js';
import {Outbox} from './outbox.js';

const SILENCE_MS = 10000;       /* beyond ping_s: nobody is there */
const OPEN_MS = 20000;          /* to connect, and be answered hello */
const TOKEN_MS = 20000;
const ASK_MS = 20000;
const PROBE_MS = 4000;          /* for an answer when life is in doubt */
const STEADY_MS = 5000;         /* a connection that lived so long was one */
const BEAT_MS = 5000;           /* who misses three of these has slept */
const WAIT_MAX_MS = 300000;     /* that a server may ask for */
const VERS_MAX = 1000;

const CLOCK = {
    set: (f, ms) => setTimeout(f, ms),
    clear: timer => clearTimeout(timer),
    now: () => Date.now()
};


export class ConsultError extends Error {
    constructor({code, message, retry, field, retry_after_ms}) {
        super(message || code);
        this.code = code;
        this.retry = retry ?? false;
        this.field = field;
        this.retry_after_ms = retry_after_ms;
    }
}


const offline = () => new ConsultError({
    code: 'offline', message: 'not connected', retry: true});

/* nobody would see it if it were caught for good */
const uncaught = e => globalThis.reportError
    ? globalThis.reportError(e) : queueMicrotask(() => { throw e; });


export class Consult {

    constructor({url, token, device, app = 'web/1', box = null,
                 name = 'consult.kept', socket = globalThis.WebSocket,
                 clock = CLOCK, random = Math.random}) {
        Object.assign(this, {url, token, device, app, socket, clock, random});

        this.state = 'off';
        this.open = false;                  /* hello was answered */
        this.me = null;                     /* hello's reply */
        this.vers = new Map();              /* what a snapshot is of: ver */
        this.asked = new Map();             /* id: {ok, bad, timer} */
        this.ears = new Map();
        this.ids = 0;
        this.tries = 0;                     /* since it was steady */
        this.refused = false;               /* the token was */
        this.since = this.until = 0;
        this.ws = this.attempt = this.after = this.bye = this.why = null;
        this.timer = this.watch = this.beat = null;
        this.order = new Order(this);
        this.outbox = new Outbox(this, box, name);
    }

    /* what is on its way, the oldest first: {type, payload} */
    get kept() { return this.outbox.list; }

    know(conv, seq) { this.order.know(conv, seq); }

    keep(type, payload) { return this.outbox.keep(type, payload); }


    /* -- who listens -- */

    on(type, ear) {
        if (!this.ears.has(type)) this.ears.set(type, new Set());
        this.ears.get(type).add(ear);
        return () => this.ears.get(type).delete(ear);
    }

    tell(type, what) {
        for (const ear of [...this.ears.get(type) ?? []])
            try {
                ear(what);
            } catch (e) {
                uncaught(e);
            }
    }

    become(state, why) {
        if (this.state == state && !why) return;
        this.state = state;
        this.why = why ?? null;
        this.tell('state', state);
    }


    /* -- the connection -- */

    start() {
        if (this.state != 'off' && this.state != 'stopped') return;
        this.tries = 0;
        this.refused = this.renewed = false;
        this.tick(this.clock.now());
        this.connect();
    }

    stop(why) {
        this.clock.clear(this.timer);
        this.clock.clear(this.beat);
        this.drop();
        this.become(why ? 'stopped' : 'off', why);
    }

    /*
     * The network is back, the page is shown again, the machine was asleep: no
     * use in waiting on, and a socket may be dead without a word.
     */
    poke(patience = PROBE_MS) {
        if (this.state == 'waiting') {
            this.clock.clear(this.timer);
            this.connect();

        } else if (this.open) {
            this.alive(patience);
            this.send(this.ws, {type: 'ping', payload: {}});
        }
    }

    /* a machine that sleeps stops timers, but not the time of day */
    tick(before) {
        const at = this.clock.now();

        if (at - before > 3 * BEAT_MS) this.poke();
        this.beat = this.clock.set(() => this.tick(at), BEAT_MS);
    }

    async connect() {
        const mine = this.attempt = {};
        let token, ws;

        this.after = this.bye = null;
        this.become('connecting');

        try {
            token = await this.within(TOKEN_MS, this.token(
                {fresh: this.refused}));

            if (this.attempt != mine) return;
            ws = new this.socket(this.url, ['consult.v1']);

        } catch (error) {
            if (this.attempt != mine) return;
            if (!error.retry && error.code != 'offline')
                return this.stop({code: token ? 4400 : 4401, error});

            this.after = error.retry_after_ms;
            return this.later();
        }

        this.renewed = this.refused;
        this.refused = false;
        this.ws = ws;
        ws.onopen = () => this.hello(ws, token);
        ws.onmessage = e => this.heard(ws, e.data);
        ws.onclose = e => this.closed(ws, e.code);
        ws.onerror = () => {};
        this.alive(OPEN_MS);
    }

    /* a promise that may never end */
    within(ms, promise) {
        return new Promise((ok, bad) => {
            const timer = this.clock.set(() => bad(offline()), ms);

            Promise.resolve(promise).then(ok, bad)
                .finally(() => this.clock.clear(timer));
        });
    }

    hello(ws, token) {
        if (ws != this.ws) return;

        this.request(ws, 'hello', {
            token, device: this.device, app: this.app, pos: this.order.pos}, {
            ok: me => ws == this.ws && this.ready(me),
            bad: e => {
                if (ws != this.ws) return;
                this.after = e.retry_after_ms;
                this.closed(ws, e.retry ? 1006
                    : /^(unauthorized|token_expired)$/.test(e.code) ? 4401
                    : 4400);
            }});
    }

    ready(me) {
        this.me = me;
        this.open = true;
        this.renewed = false;
        this.since = this.clock.now();
        this.become('ready');
        this.order.hello(me.convs ?? []);
        this.tell('hello', me);
        this.outbox.flush();
    }

    /* a socket that is no longer ours says nothing any more */
    drop() {
        const {ws, asked} = this;

        if (this.open && this.clock.now() - this.since >= STEADY_MS)
            this.tries = 0;

        this.ws = this.attempt = null;
        this.open = false;
        this.asked = new Map();
        this.order.reset();
        this.outbox.reset();
        this.clock.clear(this.watch);
        ws?.close();

        for (const {bad, timer} of asked.values()) {
            this.clock.clear(timer);
            bad(offline());
        }
    }

    /*
     * 44xx, or a bye that says "stop": something has to be mended first.  A
     * token can be, once; of what was too much or too late there is less if
     * one comes slowly.
     */
    closed(ws, code) {
        if (ws != this.ws) return;

        const {bye, after, renewed} = this;

        /* the goodbye was heard, the close perhaps not */
        if (bye?.code && code < 4000) code = bye.code;

        this.drop();
        this.after = after;
        this.tell('closed', code);
        if (this.ws || this.state == 'off' || this.state == 'stopped') return;

        if (code == 4401) {
            if (renewed) return this.stop({code});
            this.refused = true;
            return this.tries++ ? this.later() : this.connect();
        }

        if (code == 4408 || code == 4429) {
            this.after ??= slowly(this.random);
            return this.later();
        }

        if ((code >= 4400 && code < 4500) || bye?.action == 'stop')
            return this.stop({code});

        this.later();
    }

    later() {
        const ms = this.after ?? backoff(this.tries, this.random);

        this.tries++;
        this.attempt = null;
        this.until = this.clock.now() + Math.min(ms, WAIT_MAX_MS);
        this.clock.clear(this.timer);
        this.timer = this.clock.set(() => this.connect(),
                                    Math.min(ms, WAIT_MAX_MS));
        this.become('waiting');
    }

    alive(ms) {
        const {ws} = this;

        this.clock.clear(this.watch);
        this.watch = this.clock.set(() => this.closed(ws, 1006), ms);
    }

    /*
     * For trials: the socket is forgotten without a word to the server, as
     * when a cable is pulled.  What comes over it is not heard.
     */
    cut() {
        const {ws} = this;

        if (!ws) return;
        this.clock.set(() => ws.close(), OPEN_MS);
        this.ws = {close() {}};
        this.closed(this.ws, 1006);
    }


    /* -- asking -- */

    ask(type, payload = {}) {
        if (!this.open) return Promise.reject(offline());

        return new Promise((ok, bad) =>
            this.request(this.ws, type, payload, {ok, bad}));
    }

    say(type, payload = {}) {
        if (this.open) this.send(this.ws, {type, payload});
    }

    request(ws, type, payload, {ok, bad}) {
        const id = ++this.ids;
        const frame = {type, id, payload};

        /* the server would end the connection, and so would the next one's */
        if (this.me && size(frame) > this.me.max_frame)
            return bad(new ConsultError({
                code: 'too_large', message: 'more than a frame takes'}));

        this.asked.set(id, {ok, bad, timer: this.clock.set(() => {
            this.asked.delete(id);
            bad(offline());
        }, ASK_MS)});

        this.send(ws, frame);
    }

    /* into one that is closing nothing goes: its end is told in a moment */
    send(ws, frame) {
        if (ws.readyState > 1) return;
        this.tell('sent', frame);
        ws.send(JSON.stringify(frame));
    }


    /* -- hearing -- */

    heard(ws, data) {
        let m;

        if (ws != this.ws) return;

        try {
            m = JSON.parse(data);
        } catch (e) {
            m = null;
        }

        /* who says such things is no server of ours: another may be */
        if (!sound(m)) return this.closed(ws, 1007);

        this.alive(((this.me?.ping_s ?? 25) * 1000) + SILENCE_MS);
        this.tell('heard', m);
        if (ws != this.ws) return;

        switch (m.type) {
        case 'reply':
            return this.replied(m);

        case 'ping':
            this.send(ws, {type: 'pong', payload: {}});
            return this.open && this.order.heads(m.heads ?? {});

        case 'bye':
            this.bye = m.payload ?? {};
            if (this.bye.action != 'stop') this.after = this.bye.after_ms;
            return this.tell('bye', this.bye);

        case 'auth_expiring':
            this.refresh();
            break;
        }

        if (m.seq !== undefined) return this.order.event(m);
        if (m.ver !== undefined && this.stale(m)) return;

        this.deliver(m);
    }

    deliver(m) {
        this.tell(m.type, m);
        this.tell('*', m);
        if (m.seq !== undefined) this.outbox.heard(m);
    }

    replied({id, payload, error}) {
        const asked = this.asked.get(id);

        if (!asked) return;
        this.asked.delete(id);
        this.clock.clear(asked.timer);
        error ? asked.bad(new ConsultError(error)) : asked.ok(payload ?? {});
    }

    /*
     * The connection goes on with another token.  If none is to be had 4401
     * says so when the old one ends; requests meanwhile are not touched.
     */
    async refresh() {
        if (this.refreshing) return;
        this.refreshing = true;

        try {
            await this.ask('auth_refresh', {token: await this.within(
                TOKEN_MS, this.token({fresh: true}))});
        } catch (e) {
            /* the next hello brings the new one */
        } finally {
            this.refreshing = false;
        }
    }

    stale({type, ver, payload}) {
        const what = payload?.session ?? payload?.user ?? type;

        if (ver < (this.vers.get(what) ?? 0)) return true;

        this.vers.delete(what);
        this.vers.set(what, ver);
        if (this.vers.size > VERS_MAX)
            this.vers.delete(this.vers.keys().next().value);
        return false;
    }
}


/* bytes on the wire */
const size = frame => new TextEncoder().encode(JSON.stringify(frame)).length;

const sound = m => m !== null && typeof m == 'object'
    && typeof m.type == 'string'
    && (m.seq === undefined || (typeof m.conv == 'string' && m.seq > 0
                                && Number.isSafeInteger(m.seq)));

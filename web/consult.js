/*
 * Copyright (C) The Astro authors
 *
 * consult.v1: one connection to /ws that comes back by itself and misses
 * nothing.  It knows no page, no DOM and no store; a WebSocket, timers and
 * chance are given to it, so that t/web runs it under Node.
 *
 *     const line = new Consult({url, token, device, app});
 *
 *     line.on('chat_message', m => ..);   any type of a frame; "*" is all
 *     line.on('state', s => ..);   off, connecting, ready, waiting, stopped
 *     line.start();
 *     await line.ask('session_join', {session});          a request, its reply
 *     await line.keep('chat_message', {conv, kind, text});  a durable one
 *
 * What it promises:
 *
 * - A durable event is told once for each conversation, in order, without a
 *   gap: seq <= last is dropped, last + 1 is told, what is ahead waits until
 *   "sync" has brought what is between.  When the server says "gap" (more than
 *   it replays) "gap" is told with {conv, head}: page through REST, the line
 *   goes on after head.
 * - What keep() was given is sent until there is a reply, over as many
 *   connections as it takes, always with the same cid, in order, and out of
 *   "box" (a Storage) after a reload of the page.
 * - Of snapshots with a ver the highest wins; older ones are not told.
 * - ask() fails with a ConsultError: the server's, or "offline" when the
 *   connection went before the reply: unknown is not success.
 */

const SILENCE_MS = 10000;       /* beyond ping_s: nobody is there */
const BACKOFF_MS = 400;
const BACKOFF_MAX_MS = 15000;
const ASK_MS = 20000;


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


export class Consult {

    /*
     * token: async ({fresh}) => a JWT; fresh if the last one was refused or
     * ends soon.  device: a UUID of this tab: a second connection of the same
     * one replaces the first.
     */
    constructor({url, token, device, app = 'web/1', box = null,
                 socket = globalThis.WebSocket, random = Math.random}) {
        Object.assign(this, {url, token, device, app, box, socket, random});

        this.state = 'off';
        this.me = null;                     /* hello's reply */
        this.last = new Map();              /* conv: seq told last */
        this.ahead = new Map();             /* conv: Map of seq: frame */
        this.syncing = new Set();
        this.vers = new Map();              /* what a snapshot is of: ver */
        this.asked = new Map();             /* id: {ok, bad, timer} */
        this.kept = this.unbox();           /* [{type, payload, ok, bad}] */
        this.ears = new Map();
        this.ids = 0;
        this.tries = 0;
        this.ws = this.timer = this.watch = null;
        this.again = this.again.bind(this);
    }


    /* -- who listens -- */

    on(type, ear) {
        if (!this.ears.has(type)) this.ears.set(type, new Set());
        this.ears.get(type).add(ear);
        return () => this.ears.get(type).delete(ear);
    }

    tell(type, what) {
        for (const ear of this.ears.get(type) ?? []) ear(what);
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
        globalThis.addEventListener?.('online', this.again);
        this.connect(false);
    }

    stop(why) {
        globalThis.removeEventListener?.('online', this.again);
        clearTimeout(this.timer);
        this.drop();
        this.become(why ? 'stopped' : 'off', why);
    }

    /* the network is back: no use in waiting on */
    again() {
        if (this.state != 'waiting') return;
        clearTimeout(this.timer);
        this.connect(false);
    }

    async connect(fresh) {
        let token, ws;

        this.become('connecting');

        try {
            token = await this.token({fresh});
        } catch (e) {
            return e.code == 'offline' || e.retry ? this.later()
                                                  : this.stop({code: 4401});
        }

        if (this.state != 'connecting') return;

        ws = this.ws = new this.socket(this.url, ['consult.v1']);
        ws.onopen = () => this.hello(ws, token);
        ws.onmessage = e => this.heard(ws, e.data);
        ws.onclose = e => this.closed(ws, e.code);
        ws.onerror = () => {};
        this.alive(SILENCE_MS * 2);
    }

    hello(ws, token) {
        const pos = [...this.last].slice(-200);

        this.request(ws, 'hello', {token, device: this.device, app: this.app,
                                   pos}, {
            ok: me => this.ready(me),
            bad: e => e.code == 'unauthorized' || e.code == 'token_expired'
                      || ws.close()});
    }

    ready(me) {
        this.me = me;
        this.tries = 0;
        this.fresh = false;

        for (const {conv, head, state} of me.convs) {
            if (state == 'gap') {
                this.last.set(conv, head);
                this.ahead.delete(conv);
                this.tell('gap', {conv, head});

            } else if (!this.last.has(conv)) {
                this.last.set(conv, head);
            }
        }

        this.become('ready');
        this.tell('hello', me);

        for (const k of this.kept) this.carry(k);
    }

    /* a socket that is no longer ours says nothing any more */
    drop() {
        const ws = this.ws;

        this.ws = null;
        clearTimeout(this.watch);
        ws?.close();
        this.syncing.clear();

        for (const [id, {bad, timer}] of this.asked) {
            clearTimeout(timer);
            this.asked.delete(id);
            bad(offline());
        }
    }

    /*
     * 44xx: something has to be mended first.  A token can be: once.  4409:
     * this device connected elsewhere, as when a tab was doubled.
     */
    closed(ws, code) {
        if (ws != this.ws) return;

        this.drop();
        this.tell('closed', code);

        if (code == 4401 && !this.fresh) {
            this.fresh = true;
            return this.connect(true);
        }

        if (code >= 4400 && code < 4500 && code != 4408 && code != 4429)
            return this.stop({code});

        this.later();
    }

    /* full jitter, or what the server asked for */
    later() {
        const most = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** this.tries++);
        const ms = this.after ?? most * this.random();

        this.after = null;
        this.become('waiting');
        this.until = Date.now() + ms;
        this.timer = setTimeout(() => this.connect(false), ms);
    }

    alive(ms) {
        const ws = this.ws;

        clearTimeout(this.watch);
        this.watch = setTimeout(() => this.closed(ws, 1006), ms);
    }


    /* -- asking -- */

    ask(type, payload = {}) {
        if (this.state != 'ready') return Promise.reject(offline());

        return new Promise((ok, bad) =>
            this.request(this.ws, type, payload, {ok, bad}));
    }

    /* no reply is wanted: typing, candidates */
    say(type, payload = {}) {
        if (this.state == 'ready') this.send(this.ws, {type, payload});
    }

    request(ws, type, payload, {ok, bad}) {
        const id = ++this.ids;
        const timer = setTimeout(() => {
            this.asked.delete(id);
            bad(offline());
        }, ASK_MS);

        this.asked.set(id, {ok, bad, timer});
        this.send(ws, {type, id, payload});
    }

    send(ws, frame) {
        this.tell('sent', frame);
        ws.send(JSON.stringify(frame));
    }

    /* sent until it is answered: the promise is that of the answer */
    keep(type, payload) {
        const k = {type, payload: {cid: crypto.randomUUID(), ...payload}};
        const answer = new Promise((ok, bad) => Object.assign(k, {ok, bad}));

        this.kept.push(k);
        this.boxed();
        if (this.state == 'ready') this.carry(k);
        return answer;
    }

    async carry(k) {
        try {
            const reply = await this.ask(k.type, k.payload);

            this.done(k);
            k.ok?.(reply);

        } catch (e) {
            if (e.code == 'offline') return;        /* the next hello's */

            if (e.retry) {
                setTimeout(() => this.state == 'ready' && this.carry(k),
                           e.retry_after_ms ?? 500 + 1000 * this.random());
                return;
            }

            this.done(k);
            k.bad ? k.bad(e) : this.tell('lost', {...k, error: e});
        }
    }

    done(k) {
        this.kept = this.kept.filter(other => other != k);
        this.boxed();
    }

    boxed() {
        this.box?.setItem('consult.kept', JSON.stringify(
            this.kept.map(({type, payload}) => ({type, payload}))));
    }

    unbox() {
        return JSON.parse(this.box?.getItem('consult.kept') ?? '[]');
    }


    /* -- hearing -- */

    heard(ws, data) {
        if (ws != this.ws) return;

        const m = JSON.parse(data);

        this.alive(((this.me?.ping_s ?? 25) * 1000) + SILENCE_MS);
        this.tell('heard', m);

        switch (m.type) {
        case 'reply':
            return this.replied(m);

        case 'ping':
            this.send(ws, {type: 'pong', payload: {}});
            return this.heads(m.heads ?? m.payload?.heads ?? {});

        case 'bye':
            this.after = m.payload.action == 'stop' ? null
                                                    : m.payload.after_ms;
            return this.tell('bye', m.payload);

        case 'auth_expiring':
            return this.refresh();
        }

        if (m.seq !== undefined) return this.event(m);
        if (m.ver !== undefined && this.stale(m)) return;

        this.deliver(m);
    }

    deliver(m) {
        this.tell(m.type, m);
        this.tell('*', m);
    }

    replied({id, payload, error}) {
        const asked = this.asked.get(id);

        if (!asked) return;
        this.asked.delete(id);
        clearTimeout(asked.timer);
        error ? asked.bad(new ConsultError(error)) : asked.ok(payload);
    }

    async refresh() {
        try {
            await this.ask('auth_refresh',
                           {token: await this.token({fresh: true})});
        } catch (e) {
            /* if it was not to be had: 4401 says so */
        }
    }

    stale({type, ver, payload}) {
        const what = payload.session ?? payload.user ?? type;

        if (ver < (this.vers.get(what) ?? 0)) return true;
        this.vers.set(what, ver);
        return false;
    }

    /* -- in order, without a gap -- */

    event(m) {
        const last = this.last.get(m.conv);

        /* the first of a conversation that is new to us begins it */
        if (last === undefined || m.seq == last + 1) return this.next(m);
        if (m.seq <= last) return;

        if (!this.ahead.has(m.conv)) this.ahead.set(m.conv, new Map());
        this.ahead.get(m.conv).set(m.seq, m);
        this.sync(m.conv);
    }

    next(m) {
        this.last.set(m.conv, m.seq);
        this.deliver(m);

        const waits = this.ahead.get(m.conv);
        const after = waits?.get(m.seq + 1);

        if (after) {
            waits.delete(m.seq + 1);
            return this.next(after);
        }

        if (waits && ![...waits.keys()].some(seq => seq > m.seq))
            this.ahead.delete(m.conv);
    }

    heads(heads) {
        for (const [conv, head] of Object.entries(heads)) {
            if (!this.last.has(conv)) this.last.set(conv, head);
            else if (head > this.last.get(conv)) this.sync(conv);
        }
    }

    async sync(conv) {
        if (this.syncing.has(conv)) return;
        this.syncing.add(conv);

        try {
            for (let more = true; more;)
                ({more} = await this.ask('sync', {
                    conv, after: this.last.get(conv)}));
        } catch (e) {
            /* the next ping, or the next hello */
        } finally {
            this.syncing.delete(conv);
        }
    }
}

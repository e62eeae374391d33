/*
 * Copyright (C) The Astro authors
 *
 * What was given to keep(): sent until there is an answer, in the order that
 * it was given.
 *
 * One thing of a conversation is on its way at a time.  Were there two, and
 * the first told to come again, the second would be stored before it; and a
 * server may store in another order what reaches it at once.
 *
 * A box is a Storage.  Several windows may share one: each takes what is in it
 * when it begins, adds and removes its own, and what two of them send has one
 * cid, so that it is stored once.
 */

import {backoff} from './backoff.js';

const FINAL_MS = 10000;         /* after hello: who was in is let in again */

const lane = k => k.payload.conv ?? '';

const sound = k => typeof k?.type == 'string'
    && typeof k.payload?.cid == 'string';


export class Outbox {

    constructor(line, box, name) {
        Object.assign(this, {line, box, name});

        this.list = this.stored();      /* {type, payload, ok, bad, tries} */
        this.under = new Map();         /* lane: {timer}, while it is busy */
    }

    keep(type, payload) {
        const k = JSON.parse(JSON.stringify({type, payload}));
        const answer = new Promise((ok, bad) => Object.assign(k, {ok, bad}));

        k.payload.cid ??= crypto.randomUUID();
        this.list.push(k);
        this.store(all => [...all, {type: k.type, payload: k.payload}]);
        this.go(lane(k));
        return answer;
    }

    /* a connection is there */
    flush() {
        for (const name of new Set(this.list.map(lane))) this.go(name);
    }

    /* it is no more: whatever was on its way may have got there, or not */
    reset() {
        for (const {timer} of this.under.values())
            this.line.clock.clear(timer);

        this.under.clear();
    }

    async go(name) {
        const {line} = this;
        const k = this.list.find(other => lane(other) == name);

        if (!k || !line.open || this.under.has(name)) return;

        const mine = {timer: null};
        let wait = null;

        this.under.set(name, mine);

        try {
            this.settle(k, await line.ask(k.type, k.payload));
        } catch (e) {
            wait = this.refused(k, e);
        }

        if (this.under.get(name) != mine) return;   /* another connection's */

        if (wait === null) {
            this.under.delete(name);
            this.go(name);
            return;
        }

        mine.timer = line.clock.set(() => {
            this.under.delete(name);
            this.go(name);
        }, wait);
    }

    /* how long to wait before it is sent again; null: it was the last word */
    refused(k, e) {
        const {line} = this;

        if (!this.list.includes(k)) return null;    /* its event was here */

        const login = e.code == 'unauthorized' || e.code == 'token_expired';

        if (login) line.refresh();

        /* a message needs a session that is joined, and that goes with the
         * socket: it may not be joined again yet, and then not paid for yet */
        const early = e.code == 'unpaid' || e.code == 'session_state'
            && line.clock.now() - line.since < FINAL_MS;

        if (e.retry || early || login) {
            k.tries = (k.tries ?? 0) + 1;
            return e.retry_after_ms ?? backoff(k.tries, line.random);
        }

        this.settle(k, undefined, e);
        return null;
    }

    settle(k, reply, error) {
        if (!this.list.includes(k)) return;

        const {type, payload} = k;

        this.list = this.list.filter(other => other != k);
        this.store(all => all.filter(({payload: p}) => p.cid != payload.cid));

        if (!error) {
            k.ok?.(reply);
            this.line.tell('stored', {type, payload, reply});

        } else if (k.bad) {
            k.bad(error);

        } else {
            this.line.tell('lost', {type, payload, error});
        }
    }

    /* one's own event is as good as the reply, which may have been lost */
    heard(m) {
        const {cid, from} = m.payload ?? {};

        if (!cid || from != this.line.me?.user) return;

        for (const k of this.list)
            if (k.payload.cid == cid && k.type == m.type)
                this.settle(k, {conv: m.conv, seq: m.seq, ts: m.ts});
    }


    /* -- the box: it may be full, forbidden, or have something else in it -- */

    stored() {
        try {
            const all = JSON.parse(this.box?.getItem(this.name) ?? '[]');

            return Array.isArray(all) ? all.filter(sound) : [];
        } catch (e) {
            return [];
        }
    }

    store(change) {
        try {
            this.box?.setItem(this.name,
                              JSON.stringify(change(this.stored())));
        } catch (error) {
            this.line.tell('unsaved', {error});
        }
    }
}

/*
 * Copyright (C) The Astro authors
 *
 * Durable events: each conversation's in order, once, without a gap.  What is
 * ahead waits until "sync" has brought what is between.
 *
 * What nobody told us of and nobody will is a "gap" {conv, head}: what is up
 * to head is to be had through REST, what is behind it comes here.  So begins
 * a conversation that is new to us, unless it begins with its first event or
 * know() has said up to where one has read.
 */

import {backoff} from './backoff.js';

const POS_MAX = 200;            /* as many as the server takes in a hello */
const CONVS_MAX = 1000;         /* remembered; those heard of last */
const AHEAD_MAX = 500;          /* events of a conversation that wait */
const SYNC_TRIES = 3;           /* that bring nothing: there is nothing */


export class Order {

    constructor(line) {
        this.line = line;
        this.last = new Map();          /* conv: seq told last; a hole's end */
        this.ahead = new Map();         /* conv: Map of seq: frame */
        this.wants = new Map();         /* conv: highest seq heard of */
        this.busy = new Map();          /* conv: {timer, ..} of its sync */
    }

    get pos() {
        return [...this.last].slice(-POS_MAX);
    }

    /* REST has given what is up to seq: what comes next is seq + 1 */
    know(conv, seq) {
        if (!this.last.has(conv)) this.move(conv, seq);
    }

    /* heard of last, so that those who are forgotten are the oldest */
    move(conv, seq) {
        this.last.delete(conv);
        this.last.set(conv, seq);

        if (this.last.size > CONVS_MAX)
            this.forget(this.last.keys().next().value);
    }

    forget(conv) {
        this.line.clock.clear(this.busy.get(conv)?.timer);

        for (const map of [this.last, this.ahead, this.wants, this.busy])
            map.delete(conv);
    }

    /* nothing up to head is told by us */
    skip(conv, head) {
        this.move(conv, head);
        if (head > 0) this.line.tell('gap', {conv, head});
        this.run(conv);
    }


    /* -- what the server says -- */

    hello(convs) {
        const comes = new Set();

        for (const {conv, head, state} of convs) {
            if (state == 'gap' || !this.last.has(conv)) this.skip(conv, head);
            else if (state == 'replay') comes.add(conv);
            else this.want(conv, head);
        }

        /* it was lost with the connection that was to bring what is between */
        for (const [conv, want] of [...this.wants])
            if (!comes.has(conv)) this.want(conv, want);
    }

    reset() {
        for (const {timer} of this.busy.values()) this.line.clock.clear(timer);
        this.busy.clear();
    }

    heads(heads) {
        for (const [conv, head] of Object.entries(heads)) {
            if (!Number.isSafeInteger(head)) continue;
            if (this.last.has(conv)) this.want(conv, head);
            else this.skip(conv, head);
        }
    }

    event(m) {
        const {conv, seq} = m;

        if (!this.last.has(conv)) this.skip(conv, seq - 1);

        const last = this.last.get(conv);

        if (seq <= last) return;

        if (seq == last + 1) {
            this.next(m);
            this.run(conv);
            return;
        }

        if (!this.ahead.has(conv)) this.ahead.set(conv, new Map());
        const waits = this.ahead.get(conv);

        if (waits.size < AHEAD_MAX) waits.set(seq, m);
        this.want(conv, seq);
    }

    next(m) {
        this.move(m.conv, m.seq);
        this.line.deliver(m);
    }

    /* tells what waited for what is told by now */
    run(conv) {
        const waits = this.ahead.get(conv);

        for (let m; (m = waits?.get(this.last.get(conv) + 1));) this.next(m);

        for (const seq of waits?.keys() ?? [])
            if (seq <= this.last.get(conv)) waits.delete(seq);

        if (waits?.size == 0) this.ahead.delete(conv);
        if (this.wants.get(conv) <= this.last.get(conv))
            this.wants.delete(conv);
    }

    want(conv, seq) {
        if (seq <= this.last.get(conv)) return;
        this.wants.set(conv, Math.max(seq, this.wants.get(conv) ?? 0));
        this.sync(conv);
    }

    async sync(conv) {
        if (this.busy.has(conv) || !this.line.open) return;

        const mine = {timer: null, tries: 0, fails: 0};

        this.busy.set(conv, mine);

        while (this.wants.has(conv)) {
            const before = this.last.get(conv);
            let wait = null;

            try {
                await this.line.ask('sync', {conv, after: before});
            } catch (e) {
                wait = e.retry ? e.retry_after_ms ?? 0 : Infinity;
                mine.fails++;
            }

            if (this.busy.get(conv) != mine) return;
            if (this.last.get(conv) > before) mine.tries = mine.fails = 0;
            else if (wait === null) mine.tries++;

            /* it is not there, or not for us */
            if (wait == Infinity || mine.tries == SYNC_TRIES) {
                this.skip(conv, this.missing(conv));
                mine.tries = 0;
                continue;
            }

            if (wait === null && this.last.get(conv) > before) continue;

            await new Promise(ok => {
                mine.timer = this.line.clock.set(ok, Math.max(wait ?? 0,
                    backoff(mine.tries + mine.fails, this.line.random)));
            });

            if (this.busy.get(conv) != mine) return;
        }

        this.busy.delete(conv);
    }

    /* the end of the hole that begins after last */
    missing(conv) {
        const waits = [...this.ahead.get(conv)?.keys() ?? []];

        return Math.min(...waits, this.wants.get(conv) + 1) - 1;
    }
}

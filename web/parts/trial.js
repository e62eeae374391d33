/*
 * Copyright (C) The Astro authors
 *
 * Trials of the line: what this window sends, what is stored of it, and what
 * it is shown of that.  Nothing of ours is lost, and nothing is there twice.
 */

import {line, mine} from '../live.js';
import {get} from '../api.js';
import {demo} from '../demo.js';

const BURST = 20, CUT_AT = 5, EVERY_MS = 40, PATIENCE_MS = 20000;
const EMOJI = '👍';

const wait = ms => new Promise(ok => setTimeout(ok, ms));


/* counts by cid, for as long as the page is there */
export class Tally {

    constructor(onChange) {
        this.all = new Map();           /* cid: {stored, shown} */
        this.last = null;               /* the request sent last */
        this.offs = [
            line.on('sent', ({type, payload}) => {
                if (!payload.cid || !payload.conv) return;
                this.last = {type, payload};
                this.of(payload.cid);
                onChange();
            }),
            line.on('stored', ({payload}) => {
                this.of(payload.cid).stored = true;
                onChange();
            }),
            line.on('*', ({seq, payload}) => {
                if (seq === undefined || payload.from != line.me.user
                    || !this.all.has(payload.cid)) return;
                this.of(payload.cid).shown++;
                onChange();
            })];
    }

    of(cid) {
        if (!this.all.has(cid)) this.all.set(cid, {stored: false, shown: 0});
        return this.all.get(cid);
    }

    close() { this.offs.forEach(off => off()); }

    /* lost: it was said to be stored, everything else is there, it is not */
    get sums() {
        const all = [...this.all.values()];
        const open = line?.kept.length ?? 0;

        return {sent: all.length, stored: all.filter(x => x.stored).length,
                shown: all.filter(x => x.shown).length,
                lost: open ? 0 : all.filter(x => x.stored && !x.shown).length,
                twice: all.filter(x => x.shown > 1).length};
    }
}


/*
 * What can be sent: messages, while there is a consultation; else a reaction
 * to the last message of the newest conversation, put on and taken off.
 */
async function paper() {
    const s = mine();

    if (s && s.state != 'ringing') {
        const join = () => line.ask('session_join', {session: s.session})
            .catch(() => {});

        await join();
        return {conv: s.conv, off: line.on('hello', join), frame: n => [
            'chat_message', {conv: s.conv, kind: 'text', text: `${n}`}]};
    }

    for (const c of (await get('/conversations?limit=5')).data) {
        const {data} = await get(`/conversations/${c.conv}/messages?limit=200`
            + `&cursor=${Math.max(0, c.head - 200)}`);
        const m = data.findLast(x => x.type == 'chat_message'
                                     && !x.deleted_at);

        if (m) return {conv: c.conv, off() {}, frame: n => [
            'chat_react', {conv: c.conv, msg: m.seq, emoji: EMOJI,
                           on: (m.my_reaction == EMOJI) == (n % 2 == 0)}]};
    }

    return null;
}

/* Sends a burst, and pulls the cable in the middle of it.  null: no paper. */
export async function burst() {
    const {conv, off, frame} = await paper() ?? {};

    if (!conv) return null;

    const {head} = await get(`/conversations/${conv}`);
    const answers = [], cids = new Set();
    let cut = 0;

    try {
        for (let n = 1; n <= BURST; n++) {
            const [type, payload] = frame(n), cid = crypto.randomUUID();

            cids.add(cid);
            answers.push(line.keep(type, {...payload, cid}));
            answers.at(-1).catch(() => {});

            if (n == CUT_AT) {
                cut = performance.now();
                line.cut();
            }
            await wait(EVERY_MS);
        }

        await Promise.race([Promise.all(answers), wait(PATIENCE_MS)]);
    } finally {
        off();
    }

    const ms = performance.now() - cut;
    const {data} = await get(`/conversations/${conv}/messages?limit=200`
                             + `&cursor=${head}`);

    return {sent: BURST, ms, stored: data.filter(
        m => cids.has(m.payload.cid)).length};
}

/* the same again, with the same cid: the server says that it has it */
export async function again({last}) {
    if (!last) return null;
    return {...last, reply: await line.ask(last.type, last.payload)};
}


/*
 * What a deploy does to this connection: it is told to go, and comes back to
 * whoever is there then.  Only an operator may do that; of a demonstration we
 * know one.
 */
export async function drain() {
    const {people = []} = await demo;
    const {email, password} = people.find(p => p.role == 'admin') ?? {};
    const ask = async (path, body, token) => {
        const answer = await fetch(`/api${path}`, {
            method: 'POST', credentials: 'omit', body: JSON.stringify(body),
            headers: {'Content-Type': 'application/json',
                      ...token && {Authorization: `Bearer ${token}`}}});

        if (!answer.ok) throw Object.assign(Error(answer.statusText),
                                            await answer.json());
        return answer.json();
    };

    drain.token ??= (await ask('/auth/login', {email, password})).token;
    await ask('/admin/disconnect', {user: line.me.user, reason: 'a trial'},
              drain.token);
}

/* trials are for where nobody is hurt */
export const allowed = async () =>
    (await demo).people?.some(p => p.role == 'admin') ?? false;

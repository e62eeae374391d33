/*
 * Copyright (C) The Astro authors
 *
 * What this window knows at the moment: who is signed in, the line to the
 * server, the wallet, live sessions, who is online, what one was told.  Pages
 * read it through use(); only this file writes it, from what the server says.
 */

import {useEffect, useReducer} from './vendor/preact.js';
import {Consult} from './consult.js';
import {get, onLogin, token, who} from './api.js';
import {tellError} from './ui.js';

const DEVICE = 'astro.device';
const NAME_MS = 5000;           /* a name that was not to be had */
const ENDED_MAX = 50;           /* consultations that are over, remembered */

const empty = () => ({
    user: null,             /* {id, role, name, currency} */
    line: 'off', why: null, until: 0,
    skew: 0,                /* the server's clock, beyond ours, ms */
    wallet: null,           /* {balance, held, available}, minor units */
    sessions: new Map(),    /* id: the last snapshot of each live one */
    ended: new Map(),       /* id: session_end's payload */
    ticks: new Map(),       /* id: {billed_ms, charged, .., at} */
    low: null,              /* {session, left_s, at} */
    media: new Map(),       /* id: what the other party sends */
    quality: new Map(),     /* id: how they receive */
    online: new Map(),      /* user: boolean, of those who are watched */
    queue: new Map(),       /* advisor: where we are in that line */
    notices: [], unread: 0
});

export let now = empty();
export let line = null;

const readers = new Set();


/* The pages that use it are drawn again, once for all changes of a moment. */
let due = false;

export function change(what) {
    Object.assign(now, what);
    if (due) return;
    due = true;
    queueMicrotask(() => {
        due = false;
        for (const draw of [...readers]) draw();
    });
}

export function use() {
    const [, draw] = useReducer(n => n + 1, 0);

    useEffect(() => {
        readers.add(draw);
        return () => readers.delete(draw);
    }, []);
    return now;
}

/* a line's frames, for as long as a page is there */
export function useLine(type, ear, on = []) {
    useEffect(() => line?.on(type, ear), [line, type, ...on]);
}


/* -- names: the server says ids; conversations say whose they are -- */

const names = new Map();

export function nameOf(session) {
    const {conv} = session;

    if (!names.has(conv)) {
        names.set(conv, null);
        get(`/conversations/${conv}`)
            .then(c => { names.set(conv, c.with.name); change({}); })
            .catch(() => setTimeout(() => names.delete(conv), NAME_MS));
    }
    return names.get(conv) ?? '…';
}

export const knownAs = (conv, name) => names.set(conv, name);

export const rings = () => [...now.sessions.values()].filter(
    s => s.state == 'ringing' && s.advisor == now.user?.id);

export const mine = () => [...now.sessions.values()].find(
    s => s.state != 'ringing' || s.client == now.user?.id);


/* -- from the server -- */

const put = (map, key, value) => new Map(map).set(key, value);

const without = (map, key) => {
    const rest = new Map(map);

    rest.delete(key);
    return rest;
};

/* it is over: of what was live nothing stays, of the rest the latest */
function over(s) {
    const id = s.session;

    change({sessions: without(now.sessions, id), ticks: without(now.ticks, id),
            media: without(now.media, id), quality: without(now.quality, id),
            ended: new Map([...put(now.ended, id, {...s, state: 'ended'})]
                           .slice(-ENDED_MAX)),
            ...now.low?.session == id && {low: null}});
}

function session({payload: s}) {
    if (s.state == 'ended')
        return now.ended.has(s.session) || over(s);

    /* said before its end, and come after it */
    if (now.ended.has(s.session)) return;

    const had = now.sessions.get(s.session), at = Date.now();

    /* from: since when it is in this state, by our clock */
    change({sessions: put(now.sessions, s.session, {...had, ...s, at,
        from: had?.state == s.state ? had.from : at})});
}

function told(m) {
    change({notices: [m.payload, ...now.notices].slice(0, 50),
            unread: now.unread + 1});
}

/* a tick says what is in the wallet; what is held there stays held */
const charged = (wallet, balance) => !wallet || balance === undefined ? wallet
    : {...wallet, balance, available: wallet.available
                                      + balance - wallet.balance};

const WHAT = {
    session_update: session,
    session_incoming: session,
    session_end: m => over(m.payload),
    billing_tick: ({payload: p}) => now.ended.has(p.session) || change({
        ticks: put(now.ticks, p.session, {...p, at: Date.now()}),
        wallet: charged(now.wallet, p.balance),
        /* it only grows when there is more money */
        ...now.low?.session == p.session && p.left_s > now.low.left_s
           && {low: null}}),
    billing_low: ({payload: p}) => change({low: {...p, at: Date.now()}}),
    wallet: ({payload: p}) => change({wallet: p}),
    session_media: ({payload: p}) => change({
        media: put(now.media, p.session, p)}),
    session_quality: ({payload: p}) => change({
        quality: put(now.quality, p.session, p)}),
    user_online: ({payload: p}) => change({
        online: put(now.online, p.user, true)}),
    user_offline: ({payload: p}) => change({
        online: put(now.online, p.user, false)}),
    queue_state: ({payload: p}) => change({
        queue: put(now.queue, p.advisor, p)}),
    notification: told
};


/* One list for the whole window: the last page that asked wins. */
let watched = [];

export function watch(users) {
    watched = users;
    if (line?.state == 'ready')
        line.ask('presence_watch', {users}).then(seen).catch(() => {});
}

function seen({users = []}) {
    change({online: new Map(users.map(u => [u.user, u.online]))});
}


let opened = 0;

async function open(login) {
    line?.stop();
    line = null;
    opened++;
    now = empty();
    names.clear();                  /* who the others are depends on oneself */
    watched = [];
    change({user: login ? {...login.user, name: '', currency: null} : null});
    if (!login) return;

    const turn = ++opened, id = await device();

    if (turn != opened) return;         /* it is somebody else's by now */

    const mine = line = new Consult({
        url: `wss://${location.host}/ws`, token, box: sessionStorage,
        name: `consult.kept.${login.user.id}`, device: id, app: 'web/1'});

    for (const [type, ear] of Object.entries(WHAT)) mine.on(type, ear);

    mine.on('state', state => change({line: state, why: mine.why,
                                      until: mine.until}));
    /* said before a reload, and refused: its page may not be open */
    mine.on('lost', ({error}) => tellError(error));
    mine.on('hello', me => {
        change({user: {id: me.user, role: me.role, name: me.name,
                       currency: me.currency}, skew: me.now - Date.now()});
        settle();
        news(mine).catch(() => {});
        if (watched.length) watch(watched);
    });
    mine.start();
}

/* what one was told while there was no line, too */
async function news(mine) {
    const {data, unread} = await get('/notifications?limit=20');

    if (mine == line) change({notices: data, unread});
}

/* whenever a connection may have died without a word, or may be had again */
for (const [who, what] of [[window, 'online'], [window, 'pageshow'],
                           [window, 'focus'], [document, 'visibilitychange']])
    who.addEventListener(what, () => document.visibilityState == 'visible'
                                     && line?.poke());

/* what ended while we were away is in no snapshot */
async function settle() {
    for (const id of now.sessions.keys()) {
        const s = await get(`/sessions/${id}`).catch(() => null);

        if (s?.state == 'ended') session({payload: s});
    }
}

/*
 * Of this window, over reloads.  A copy of a window has a copy of its storage:
 * whoever holds the lock has the name, the other one takes a new one.
 */
async function device() {
    const had = sessionStorage.getItem(DEVICE);

    if (held && held == had) return had;
    held = had && await hold(had) ? had : crypto.randomUUID();
    if (held != had) await hold(held);
    sessionStorage.setItem(DEVICE, held);
    return held;
}

let held = null;

/* for as long as this page lives */
const hold = id => new Promise(ok => navigator.locks.request(
    `${DEVICE}.${id}`, {ifAvailable: true}, lock => {
        ok(!!lock);
        return lock && new Promise(() => {});
    }).catch(() => ok(true)));

/* the same window twice: this one goes on, as another device */
export function takeOver() {
    line.device = held = crypto.randomUUID();
    hold(held);
    sessionStorage.setItem(DEVICE, held);
    line.start();
}

export const begin = () => onLogin(login => open(login).catch(() => {}));
export {who};

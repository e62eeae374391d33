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

const DEVICE = 'astro.device';

const empty = () => ({
    user: null,             /* {id, role, name, currency} */
    line: 'off', why: null, until: 0,
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
            .catch(() => names.delete(conv));
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

function session(m) {
    const s = m.payload;
    const all = new Map(now.sessions);

    if (s.state == 'ended') all.delete(s.session);
    else all.set(s.session, {...all.get(s.session), ...s, at: Date.now()});

    change({sessions: all, ...s.state == 'ended' && !now.ended.has(s.session)
            && {ended: put(now.ended, s.session, s)}});
}

function told(m) {
    change({notices: [m.payload, ...now.notices].slice(0, 50),
            unread: now.unread + 1});
}

const WHAT = {
    session_update: session,
    session_incoming: session,
    session_end: m => {
        const sessions = new Map(now.sessions);

        sessions.delete(m.payload.session);
        change({sessions, ended: put(now.ended, m.payload.session,
                                     {...m.payload, state: 'ended'})});
    },
    billing_tick: ({payload: p}) => change({
        ticks: put(now.ticks, p.session, {...p, at: Date.now()}),
        ...p.left_s > 180 && now.low?.session == p.session && {low: null}}),
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


async function open(login) {
    line?.stop();
    line = null;
    now = empty();
    change({user: login ? {...login.user, name: '', currency: null} : null});
    if (!login) return;

    line = new Consult({
        url: `wss://${location.host}/ws`, token, box: sessionStorage,
        device: device(), app: 'web/1'});

    for (const [type, ear] of Object.entries(WHAT)) line.on(type, ear);

    line.on('state', state => change({line: state, why: line.why,
                                      until: line.until}));
    line.on('hello', me => {
        change({user: {id: me.user, role: me.role, name: me.name,
                       currency: me.currency}});
        settle(me);
        if (watched.length) watch(watched);
    });
    line.start();

    const notices = await get('/notifications?limit=20');

    change({notices: notices.data, unread: notices.unread});
}

/* what ended while we were away is in no snapshot */
async function settle() {
    for (const id of now.sessions.keys()) {
        const s = await get(`/sessions/${id}`).catch(() => null);

        if (s?.state == 'ended') session({payload: s});
    }
}

/* of this window: a copy of it gets a name of its own when it connects */
function device() {
    const id = sessionStorage.getItem(DEVICE) ?? crypto.randomUUID();

    sessionStorage.setItem(DEVICE, id);
    return id;
}

/* the same window twice: this one goes on, as another device */
export function takeOver() {
    sessionStorage.setItem(DEVICE, crypto.randomUUID());
    line.device = sessionStorage.getItem(DEVICE);
    line.start();
}

export const begin = () => onLogin(login => open(login).catch(() => {}));
export {who};

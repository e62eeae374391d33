/*
 * Copyright (C) The Astro authors
 *
 * REST, and who is signed in.
 *
 * Tokens are kept in sessionStorage: two windows can be two people, and a
 * reload stays signed in; nothing outlives the window.  A token that ends soon
 * is made anew by whoever asks first; the others wait for the same answer,
 * because a refresh token is good once.
 */

export class Problem extends Error {
    constructor(status, body, wait) {
        super(body.detail || body.code);
        this.status = status;
        this.code = body.code;
        this.retry = body.retry ?? false;
        this.wait = wait;
        this.fields = body.errors ?? [];
        this.request = body.request_id;
    }
}

const KEY = 'astro.login';
const EARLY_MS = 90000;

let login = JSON.parse(sessionStorage.getItem(KEY) ?? 'null');
let renewing = null;
const ears = new Set();


/* ear(login or null) now and at every change of who is signed in */
export function onLogin(ear) {
    ears.add(ear);
    ear(login);
    return () => ears.delete(ear);
}

export const who = () => login?.user ?? null;


function signed(answer) {
    const before = login?.user.id;

    login = answer && {
        token: answer.token, refresh: answer.refresh_token,
        until: Date.now() + answer.expires_in * 1000, user: answer.user};

    if (login) sessionStorage.setItem(KEY, JSON.stringify(login));
    else sessionStorage.removeItem(KEY);

    if (before != login?.user.id) for (const ear of ears) ear(login);
}


async function call(method, path, body, headers = {}) {
    let answer, json;

    try {
        answer = await fetch(`/api${path}`, {
            method, headers: {
                ...body !== undefined && {'Content-Type': 'application/json'},
                ...headers},
            body: body === undefined ? undefined : JSON.stringify(body),
            credentials: 'omit', cache: 'no-store'});
    } catch (e) {
        throw new Problem(0, {code: 'offline', retry: true});
    }

    if (answer.status == 204) return null;
    if (answer.ok && !/json/.test(answer.headers.get('Content-Type')))
        return answer.blob();

    try {
        json = await answer.json();
    } catch (e) {
        json = {code: 'internal', detail: answer.statusText, retry: true};
    }

    if (!answer.ok)
        throw new Problem(answer.status, json,
                          +answer.headers.get('Retry-After') || null);
    return json;
}


/*
 * A window that was copied has the same login; a token that was used twice
 * ends it for both.  So one of them asks at a time, and tells the others.
 */
const others = globalThis.document && new BroadcastChannel(KEY);
const TOLD_MS = 50;             /* what was told before comes, too */

const nameOf = refresh => refresh.slice(0, refresh.lastIndexOf('.'));

others?.addEventListener('message', ({data}) => {
    if (login && nameOf(login.refresh) == nameOf(data.refresh_token))
        signed(data);
});

const alone = (of, does) => globalThis.navigator?.locks
    ? navigator.locks.request(`${KEY}.${nameOf(of.refresh)}`, async () => {
        await new Promise(ok => setTimeout(ok, TOLD_MS));
        return does();
    }) : does();

/* Whoever has signed out meanwhile stays out, and the next one in. */
const renew = of => alone(of, async () => {
    if (login != of) return;            /* another window has done it */

    try {
        const answer = await call('POST', '/auth/refresh',
                                  {refresh_token: of.refresh});

        others?.postMessage(answer);
        if (login == of) signed(answer);
    } catch (e) {
        if (login == of && !e.retry) signed(null);
        throw e;
    }
});


/* {fresh}: another one than the last.  Signed out if there is none any more. */
export async function token({fresh = false} = {}) {
    if (!login) throw new Problem(401, {code: 'unauthorized'});
    if (!fresh && Date.now() < login.until - EARLY_MS) return login.token;

    renewing ??= renew(login).finally(() => { renewing = null; });

    await renewing;
    if (!login) throw new Problem(401, {code: 'unauthorized'});
    return login.token;
}


async function asked(method, path, body, headers) {
    const go = async fresh => call(method, path, body, {
        ...headers, Authorization: `Bearer ${await token({fresh})}`});

    try {
        return await go(false);
    } catch (e) {
        if (e.status != 401) throw e;
        return go(true);
    }
}


/*
 * What changes something carries a key: asked again by try(), the same thing
 * happens once.  A key may be given, of what somebody presses twice.
 */
const change = method => (path, body = {}, key = crypto.randomUUID()) =>
    patient(() => asked(method, path, body, {'Idempotency-Key': key}));

export const get = path => patient(() => asked('GET', path));
export const post = change('POST');
export const put = change('PUT');
export const del = change('DELETE');


/* a server that is away or busy for a moment is nobody's concern */
async function patient(go) {
    for (let n = 0; ; n++) {
        try {
            return await go();
        } catch (e) {
            if (!e.retry || n == 2 || e.status == 429) throw e;
            await new Promise(ok => setTimeout(
                ok, Math.min((e.wait ?? 0.4 * 2 ** n), 2) * 1000));
        }
    }
}


export async function signIn(email, password) {
    signed(await call('POST', '/auth/login', {email, password}));
}

export async function register(name, email, password) {
    await call('POST', '/auth/register', {name, email, password});
    await signIn(email, password);
}

export async function signOut(everywhere = false) {
    try {
        await asked('POST', '/auth/logout', {everywhere});
    } finally {
        signed(null);
    }
}

/* there is nobody any more to sign out */
export const forget = () => signed(null);

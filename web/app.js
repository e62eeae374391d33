/*
 * Copyright (C) The Astro authors
 *
 * The frame around all pages: where one is, who is signed in, whether the line
 * stands, who rings.  A page is a row of ROUTES and a file in pages/, which is
 * fetched when somebody goes there.
 */

import {h, html, render, useEffect, useErrorBoundary, useState}
    from './vendor/preact.js';
import {say} from './words.js';
import {begin, mine, now, takeOver, use} from './live.js';
import {signOut} from './api.js';
import {money} from './format.js';
import {Told, useClock} from './ui.js';
import {Bell} from './parts/bell.js';
import {Ring} from './parts/ring.js';
import {demo} from './demo.js';

/* pattern, file, whose it is (everybody's), its name in the menu */
const ROUTES = [
    ['find', 'find', ['client'], 'nav.find'],
    ['advisor/:id', 'advisor'],
    ['desk', 'desk', ['advisor'], 'nav.desk'],
    ['clients', 'clients', ['advisor'], 'nav.clients'],
    ['earnings', 'earnings', ['advisor'], 'nav.earnings'],
    ['history', 'history', ['client', 'advisor'], 'nav.history'],
    ['history/:id', 'past'],
    ['bookings', 'bookings', ['client'], 'nav.bookings'],
    ['wallet', 'wallet', ['client'], 'nav.wallet'],
    ['session/:id', 'session'],
    ['me', 'me'],
    ['live', 'live', ['admin'], 'nav.admin'],
    ['sessions', 'sessions', ['admin'], 'nav.sessions'],
    ['users', 'users', ['admin'], 'nav.users'],
    ['users/:id', 'user', ['admin']],
    ['money', 'money', ['admin'], 'nav.money'],
    ['disputes', 'disputes', ['admin'], 'nav.disputes'],
    ['stats', 'stats', ['admin'], 'nav.stats'],
    ['log', 'log', ['admin'], 'nav.log'],
    ['settings', 'settings', ['admin'], 'nav.settings'],
    ['wire', 'wire', ['client', 'advisor', 'admin'], 'nav.wire']
];

const HOME = {client: 'find', advisor: 'desk', admin: 'live'};


export const go = path => { location.hash = `#/${path}`; };

/* of what is no id, which somebody may have made up, nothing is asked */
const ID = /^\w+$/;

function match(path, role) {
    const at = path.split('?')[0].split('/');

    for (const [pattern, file, roles] of ROUTES) {
        const of = pattern.split('/');

        if (at.length == of.length && (!roles || roles.includes(role))
            && of.every((part, i) => part[0] == ':' ? ID.test(at[i])
                                                    : part == at[i]))
            return {file, path, args: Object.fromEntries(of.flatMap(
                (part, i) => part[0] == ':' ? [[part.slice(1), at[i]]] : []))};
    }
    return null;
}

function useRoute() {
    const read = () => location.hash.replace(/^#\/?/, '');
    const [path, set] = useState(read);

    useEffect(() => {
        const ear = () => {
            set(read());
            scrollTo(0, 0);
            document.getElementById('main')?.focus({preventScroll: true});
        };

        addEventListener('hashchange', ear);
        return () => removeEventListener('hashchange', ear);
    }, []);
    return path;
}

/*
 * The page's module, once it is here.  All parts of a page are children of one
 * element: this Preact mixes up the order of those that have none around them.
 */
const within = Page => props => h('div', {class: 'page'},
                                  ...[Page(props)].flat());

function usePage(file) {
    const [page, set] = useState(null);

    useEffect(() => {
        let here = true;

        import(`./pages/${file}.js`).then(
            m => here && set({file, Page: within(m.default)}),
            error => here && set({file, error}));
        return () => { here = false; };
    }, [file]);
    return page?.file == file ? page : null;
}


function Line() {
    const {line, why} = use();
    const word = say(`line.${line}`);

    return html`<span class="line ${line}" role="status"
        title=${why ? String(why.code) : word}><i aria-hidden="true"></i
        ><span>${word}</span></span>`;
}

/* what stands in the way of everything else */
function Broken() {
    const {line, why} = use();

    if (line != 'stopped' || why?.code == 4401) return null;

    const [word, button, does] = {
        4403: ['line.blocked'],
        4409: ['line.elsewhere', 'line.use', takeOver]
    }[why?.code] ?? ['line.refused', 'app.reload', () => location.reload()];

    return html`<p class="banner" role="alert">${say(word)} ${button
        && html`<button class="small" onClick=${does}>${say(button)}
        </button>`}</p>`;
}

function Head({at}) {
    const {user, wallet} = use();
    const live = mine();

    return html`<header class="top">
        <a class="skip" href="#main" onClick=${e => {
            e.preventDefault();
            document.getElementById('main').focus();
        }}>${say('app.skip')}</a>
        <a class="brand" href="#/"><img src="icon.svg" alt="" width="28"
            height="28" />${say('app.name')}</a>
        ${user && html`<nav aria-label=${say('app.menu')}>
            ${ROUTES.filter(r => r[3] && r[2].includes(user.role)).map(r =>
                html`<a href="#/${r[0]}" aria-current=${
                    at == r[1] ? 'page' : null}>${say(r[3])}</a>`)}
        </nav>
        <span class="me">
            ${wallet && user.currency && user.role == 'client' && html`<a
                href="#/wallet" class="balance">${
                money(wallet.available, user.currency)}</a>`}
            ${live && at != 'session' && html`<a class="live"
                href="#/session/${live.session}">${
                say('history.live')}</a>`}
            <${Line} />
            <${Bell} />
            <a class="name" href="#/me" title=${say('me.title')}
                aria-current=${at == 'me' ? 'page' : null}>${user.name} <small
                >${say(`role.${user.role}`)}</small></a>
            <button class="secondary small" onClick=${leave}>${
                say('nav.out')}</button>
        </span>`}
    </header>`;
}


/* whoever comes next does not begin where this one was */
const leave = () => signOut().catch(() => {}).finally(() => go(''));


/*
 * A page that cannot be had, or that fails, takes nothing else with it.  The
 * likeliest is that it is of a newer version than what is loaded already.
 */
const Failed = () => html`<p role="alert">${say('app.failed')} <button
    class="secondary small" onClick=${() => location.reload()}>${
    say('app.reload')}</button></p>`;

function Safe({children}) {
    const [error] = useErrorBoundary(e => reportError(e));

    return error ? html`<${Failed} />` : children;
}

/* what a demonstration says beside the pages */
function useHint() {
    const [hint, set] = useState(null);

    useEffect(() => {
        demo.then(d => d.people?.length && import('./parts/hint.js')
            .then(m => set(() => m.default), () => {}));
    }, []);
    return hint;
}

function App() {
    const {user} = use();
    const path = useRoute();
    const found = !user ? {file: 'login', args: {}, path: ''}
                        : match(path || HOME[user.role], user.role);
    const page = usePage(found?.file ?? 'lost');
    const Hint = useHint();

    return html`
        <${Head} at=${found?.file} />
        <${Broken} />
        ${user && Hint && html`<${Hint} at=${found?.file} />`}
        <main id="main" tabindex="-1" class=${found?.file ?? ''}>
            ${page?.error ? html`<${Failed} />`
              : page && html`<${Safe} key=${found?.path}><${page.Page}
                                          ...${found?.args} /></${Safe}>`}
        </main>
        ${user?.role == 'advisor' && html`<${Ring} />`}
        <${Told} />`;
}

const root = document.getElementById('app');

root.textContent = '';
begin();
render(html`<${App} />`, root);

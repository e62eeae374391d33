/*
 * Copyright (C) The Astro authors
 *
 * The parts that pages are made of.  Each is usable by keyboard and says what
 * it is to a screen reader.
 */

import {Component, html, useEffect, useRef, useState}
    from './vendor/preact.js';
import {say, sayError} from './words.js';
import {get} from './api.js';

const SLOW_MS = 300;


/* -- one line at the bottom that says what came of something -- */

let tellAll = null;

export const tell = (text, kind = 'info') => tellAll?.({text, kind});
export const tellError = e => tell(sayError(e), 'error');

export function Told() {
    const [said, set] = useState(null);

    useEffect(() => {
        tellAll = what => set({...what, n: Math.random()});
        return () => { tellAll = null; };
    }, []);

    useEffect(() => {
        if (!said || said.kind == 'error') return;
        const timer = setTimeout(() => set(null), 6000);
        return () => clearTimeout(timer);
    }, [said]);

    /* what was wrong on a page does not follow to the next one */
    useEffect(() => {
        const gone = () => set(s => s?.kind == 'error' ? null : s);

        addEventListener('hashchange', gone);
        return () => removeEventListener('hashchange', gone);
    }, []);

    return html`<div class="told" role=${said?.kind == 'error' ? 'alert'
                                                             : 'status'}>
        ${said && html`<p class=${said.kind}>${said.text}
            <button class="plain" aria-label=${say('app.close')}
                    onClick=${() => set(null)}>×</button></p>`}
    </div>`;
}


/*
 * One of a long list: drawn again only if a prop of it is another one.  What
 * it shows has to come by its props.
 */
export const still = Of => class extends Component {
    shouldComponentUpdate(next) {
        return Object.keys(next).some(k => next[k] !== this.props[k]);
    }

    render(props) {
        return html`<${Of} ...${props} />`;
    }
};


/* A button that does something that takes a while: once, and shows it. */
export function Act({does, children, class: cls = '', ...rest}) {
    const [busy, set] = useState(false);
    const slow = useSlow(busy);
    const here = useRef(true);

    useEffect(() => () => { here.current = false; }, []);

    async function go(e) {
        e.preventDefault();
        if (busy) return;
        set(true);
        try {
            await does();
        } catch (error) {
            tellError(error);
        } finally {
            if (here.current) set(false);
        }
    }

    return html`<button class=${cls} aria-busy=${slow ? 'true' : 'false'}
        aria-disabled=${busy} onClick=${go} ...${rest}>${children}</button>`;
}

export function useSlow(busy) {
    const [slow, set] = useState(false);

    useEffect(() => {
        if (!busy) return set(false);
        const timer = setTimeout(() => set(true), SLOW_MS);
        return () => clearTimeout(timer);
    }, [busy]);
    return slow;
}


/* {data, error, busy, again} of what load() promises */
export function useData(load, on = []) {
    const [state, set] = useState({data: null, error: null, busy: true});
    const [round, turn] = useState(0);

    useEffect(() => {
        let here = true;

        set(s => ({...s, busy: true}));
        load().then(data => here && set({data, error: null, busy: false}),
                    error => here && set(s => ({...s, error, busy: false})));
        return () => { here = false; };
    }, [...on, round]);

    return {...state, again: () => turn(n => n + 1)};
}

/*
 * What is shown in the place of what is not there yet.  One element whatever
 * it is, without a box of its own: what follows it stays where it is.
 */
export function Wait({of, children}) {
    const slow = useSlow(of.busy && !of.data);

    return html`<div class="wait">${of.data ? children
        : of.error ? html`<p role="alert">${sayError(of.error)}
            <button class="secondary small" onClick=${of.again}>
            ${say('app.again')}</button></p>`
        : html`<p role="status" aria-busy=${slow}>
            ${slow ? say('app.loading') : '\u00a0'}</p>`}</div>`;
}


/*
 * A list of the server's, page by page.  again() reads as much of it anew as
 * was there, and shows what was there until it has it.
 */
export function useList(path) {
    const [state, set] = useState({path: null, rows: [], cursor: null,
                                   busy: true, error: null});
    const walk = useRef(0);
    const mark = path.includes('?') ? '&' : '?';

    async function read(rows, cursor, least) {
        const mine = ++walk.current;

        set(s => ({...s, busy: true, ...s.path != path && {
            path, cursor: null, more: false}}));
        try {
            do {
                const page = await get(path + (cursor
                    ? `${mark}cursor=${encodeURIComponent(cursor)}` : ''));

                if (walk.current != mine) return;
                rows = [...rows, ...page.data];
                cursor = page.next_cursor;
            } while (cursor && rows.length < least);
            set({path, rows, cursor, more: !!cursor, data: true, busy: false,
                 error: null});
        } catch (error) {
            if (walk.current == mine) set(s => ({...s, busy: false, error}));
        }
    }

    const again = () => read([], null, state.path == path
                                       ? state.rows.length : 0);

    useEffect(() => {
        again();
        return () => { walk.current++; };
    }, [path]);
    return {...state, again,
            next: () => read(state.rows, state.cursor, 0)};
}

export function List({of, empty, children}) {
    return html`<${Wait} of=${of}>
        ${of.rows.length == 0 ? html`<p>${empty ?? say('app.nothing')}</p>`
                              : children}
        ${of.error && html`<p role="alert">${sayError(of.error)}</p>`}
        ${of.more && html`<${Act} class="secondary" does=${of.next}>${
            say('app.more')}</${Act}>`}
    </${Wait}>`;
}


/* the browser's own dialog: it keeps the focus within, Escape closes it */
export function Dialog({title, onClose, children, alert = false}) {
    const box = useRef(null);

    useEffect(() => {
        const before = document.activeElement;

        const dialog = box.current;

        dialog.showModal();
        /* as long as it is open, nothing around it takes the focus */
        return () => { dialog.close(); before?.focus?.(); };
    }, []);

    return html`<dialog ref=${box} aria-labelledby="dialog-title"
            role=${alert ? 'alertdialog' : 'dialog'}
            onCancel=${e => { e.preventDefault(); onClose(); }}>
        <article>
            <header>
                ${!alert && html`<button class="plain close"
                    aria-label=${say('app.close')} onClick=${onClose}>×
                </button>`}
                <h2 id="dialog-title">${title}</h2>
            </header>
            ${children}
        </article>
    </dialog>`;
}


export function Field({label, help, error, children, ...rest}) {
    return html`<label>${label}
        ${children ?? html`<input aria-invalid=${error ? 'true' : null}
                                  ...${rest} />`}
        ${(error || help) && html`<small>${error || help}</small>`}
    </label>`;
}

/* a second that passes is drawn */
export function useClock(ms = 1000, on = true) {
    const [, draw] = useState(0);

    useEffect(() => {
        if (!on) return;
        const timer = setInterval(() => draw(n => n + 1), ms);
        return () => clearInterval(timer);
    }, [ms, on]);
    return Date.now();
}

/* does() every so often, as it is by then; ms 0: not now */
export function useEvery(ms, does) {
    const last = useRef(does);

    last.current = does;
    useEffect(() => {
        if (!ms) return;
        const timer = setInterval(() => last.current(), ms);
        return () => clearInterval(timer);
    }, [ms]);
}

export function useTitle(title) {
    useEffect(() => {
        document.title = title ? `${title} - ${say('app.name')}`
                               : say('app.name');
    }, [title]);
}

/*
 * Copyright (C) The Astro authors
 *
 * What is kept about one: a copy of it, and the end of it.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {forget, get, post, signIn} from '../api.js';
import {moment, money} from '../format.js';
import {Act, Dialog, Field, useData} from '../ui.js';
import {go} from '../app.js';
import {saveAs} from './save.js';

const LOOK_MS = 1500;

export function Export() {
    const of = useData(() => get('/me/export').catch(e => {
        if (e.status == 404) return {state: 'none', parts: []};
        throw e;
    }));
    const x = of.data;

    useEffect(() => {
        if (x?.state != 'making') return;

        const timer = setTimeout(of.again, LOOK_MS);

        return () => clearTimeout(timer);
    }, [x]);

    /* all parts in one file */
    async function save() {
        const doc = {};

        for (const {part, name} of x.parts) {
            const p = await get(`/me/export/part?part=${part}`);

            doc[name] = [...doc[name] ?? [], ...p.data];
        }
        saveAs(new Blob([JSON.stringify(doc, null, 1)],
                        {type: 'application/json'}), 'astro-export.json');
    }

    return html`<section class="narrow"><h2>${say('export.title')}</h2>
        <p>${say('export.lead')}</p>
        <p role="status" aria-busy=${x?.state == 'making' ? 'true' : 'false'}>
            ${x?.state == 'making' && say('export.making')}
            ${x?.state == 'ready' && say('export.ready', {
                when: moment(x.ready_at), until: moment(x.until)})}</p>
        <p class="row">
            ${x?.state == 'ready' && html`<${Act} does=${save}>${
                say('export.save')}</${Act}>`}
            ${x && x.state != 'making' && html`<${Act} class="secondary"
                does=${async () => {
                    await post('/me/export');
                    of.again();
                }}>${say(x.state == 'ready' ? 'export.anew' : 'export.ask')}
            </${Act}>`}</p>
    </section>`;
}

export function Erase({email}) {
    const [open, set] = useState(false);

    return html`<section class="narrow"><h2>${say('erase.title')}</h2>
        <p>${say('erase.lead')}</p>
        <button class="end" onClick=${() => set(true)}>${
            say('erase.title')}</button>
        ${open && html`<${Sure} email=${email}
            onClose=${() => set(false)} />`}</section>`;
}

/* the password again: only a sign-in of the last ten minutes may do it */
function Sure({email, onClose}) {
    const {user, wallet} = use();
    const [password, setPassword] = useState('');
    const [lose, setLose] = useState(false);
    const [wrong, setWrong] = useState(null);
    const left = wallet?.available > 0;

    async function erase() {
        setWrong(null);

        try {
            await signIn(email, password);
        } catch (e) {
            if (e.status != 401) throw e;
            return setWrong(say('login.wrong'));
        }

        try {
            await post('/me/erase', {forfeit_balance: lose});
        } catch (e) {
            if (e.code != 'conflict') throw e;
            return setWrong(e.message);
        }
        forget();
        go('');
    }

    return html`<${Dialog} title=${say('erase.title')} onClose=${onClose}>
        <form onSubmit=${e => e.preventDefault()}>
        <p>${say('erase.sure')}</p>
        ${left && html`<label><input type="checkbox" checked=${lose}
            onChange=${e => setLose(e.currentTarget.checked)} />${
            say('erase.lose', {money: money(wallet.available,
                                            user.currency)})}</label>`}
        <input type="email" class="unseen" autocomplete="username" readonly
            tabindex="-1" aria-hidden="true" value=${email} />
        <${Field} label=${say('login.password')} type="password"
            autocomplete="current-password" value=${password} error=${wrong}
            onInput=${e => setPassword(e.currentTarget.value)} />
        <footer class="row">
            <button type="button" class="secondary" onClick=${onClose}>${
                say('app.cancel')}</button>
            <${Act} class="end" disabled=${!password || (left && !lose)}
                does=${erase}>${say('erase.do')}</${Act}>
        </footer></form>
    </${Dialog}>`;
}

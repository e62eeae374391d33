/*
 * Copyright (C) The Astro authors
 *
 * Accounts, for operators: found, and those advisors who wait to be let in.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import '../words_ops.js';
import {post, put} from '../api.js';
import {moment} from '../format.js';
import {Act, Field, List, tell, useList, useTitle} from '../ui.js';
import {Why} from '../parts/ask.js';
import {query} from '../parts/query.js';

const ROLES = ['client', 'advisor', 'admin'];


export default function Users() {
    const [f, set] = useState({q: '', role: '', blocked: ''});
    const [fresh, setFresh] = useState(false);
    const list = useList(`/admin/users?${query(f)}`);
    const on = key => e => set({...f, [key]: e.target.value});

    useTitle(say('nav.users'));

    return html`<h1>${say('nav.users')}</h1>
        <${Waiting} />
        <form class="filters" role="search"
              onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('users.find')} type="search" value=${f.q}
                      onInput=${on('q')} />
            <${Field} label=${say('users.role')}>
                <select value=${f.role} onInput=${on('role')}>
                    <option value="">${say('find.all')}</option>
                    ${ROLES.map(r => html`
                        <option value=${r}>${say(`role.${r}`)}</option>`)}
                </select>
            </${Field}>
            <${Field} label=${say('users.state')}>
                <select value=${f.blocked} onInput=${on('blocked')}>
                    <option value="">${say('find.all')}</option>
                    <option value="false">${say('users.unblocked')}</option>
                    <option value="true">${say('users.blocked')}</option>
                </select>
            </${Field}>
        </form>
        <p><button class="secondary small" onClick=${() => setFresh(true)}>${
            say('users.new')}</button></p>
        <${List} of=${list} empty=${say('list.none')}>
        <div class="wide" tabindex="0" role="region"
             aria-label=${say('nav.users')}><table>
            <thead><tr>${['name', 'email', 'role', 'since', 'state'].map(k =>
                html`<th scope="col">${say(`users.${k}`)}</th>`)}</tr></thead>
            <tbody>${list.rows.map(u => html`<tr key=${u.id}>
                <th scope="row"><a href="#/users/${u.id}">${u.name}</a></th>
                <td>${u.email ?? u.phone}</td>
                <td>${say(`role.${u.role}`)}</td>
                <td>${moment(u.created_at)}</td>
                <td>${u.blocked ? say('users.blocked') : ''}</td>
            </tr>`)}</tbody>
        </table></div>
        </${List}>
        ${fresh && html`<${Fresh} onClose=${() => setFresh(false)}
                                  onDone=${list.again} />`}`;
}


/* nobody finds or rings them before somebody has looked */
function Waiting() {
    const list = useList('/admin/advisors/waiting?limit=20');

    if (list.rows.length == 0) return null;
    return html`<section><h2>${say('users.waiting')}</h2>
        <${List} of=${list}><ul class="plain">${list.rows.map(a => html`
            <li key=${a.id} class="row"><a href="#/users/${a.id}">${a.name}</a>
            <span>${a.headline} ${a.specialties.join(', ')}</span>
            <${Act} class="small" does=${async () => {
                await put(`/admin/advisors/${a.id}/approval`,
                          {approved: true});
                tell(say('users.approved', {name: a.name}));
                list.again();
            }}>${say('users.approve', {name: a.name})}</${Act}></li>`)}
        </ul></${List}></section>`;
}


function Fresh({onClose, onDone}) {
    const [f, set] = useState({name: '', email: '', password: ''});
    const ready = f.name.trim() && f.email.includes('@')
                  && f.password.length >= 8;

    return html`<${Why} title=${say('users.new')} free=${true}
        text=${say('users.new.what')} ready=${ready} onClose=${onClose}
        does=${async () => {
            const a = await post('/admin/advisors', f);

            tell(say('users.made', {name: a.name}));
            onDone();
        }}>
        ${[['name', 'text', 'login.name'], ['email', 'email', 'login.email'],
           ['password', 'password', 'login.password']].map(([k, type, word]) =>
            html`<${Field} label=${say(word)} type=${type} value=${f[k]}
                autocomplete="off" maxlength="254" help=${k == 'password'
                    ? say('users.password') : null}
                onInput=${e => set({...f, [k]: e.target.value})} />`)}
    </${Why}>`;
}

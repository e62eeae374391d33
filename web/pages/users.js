/*
 * Copyright (C) The Astro authors
 *
 * Accounts, for operators: found, looked at, kept out.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {get, post, put} from '../api.js';
import {moment, money} from '../format.js';
import {Act, Dialog, Field, List, Wait, tell, useData, useList, useTitle}
    from '../ui.js';
import {Why} from '../parts/ask.js';

export default function Users() {
    const [f, set] = useState({q: '', role: ''});
    const [open, setOpen] = useState(null);
    const query = new URLSearchParams({limit: 20});

    for (const [k, v] of Object.entries(f)) if (v.trim()) query.set(k, v);

    const list = useList(`/admin/users?${query}`);

    useTitle(say('nav.users'));

    return html`<h1>${say('nav.users')}</h1>
        <form class="filters" role="search"
              onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('users.find')} type="search" value=${f.q}
                      onInput=${e => set({...f, q: e.target.value})} />
            <${Field} label=${say('users.role')}>
                <select value=${f.role}
                        onInput=${e => set({...f, role: e.target.value})}>
                    <option value="">${say('find.all')}</option>
                    ${['client', 'advisor', 'admin'].map(r => html`
                        <option value=${r}>${say(`role.${r}`)}</option>`)}
                </select>
            </${Field}>
        </form>
        <${List} of=${list}>
        <div class="wide"><table>
            <thead><tr>${['name', 'email', 'role', 'since', 'state'].map(k =>
                html`<th scope="col">${say(`users.${k}`)}</th>`)}</tr></thead>
            <tbody>${list.rows.map(u => html`<tr key=${u.id}>
                <td><button class="plain link" onClick=${() =>
                    setOpen(u.id)}>${u.name}</button></td>
                <td>${u.email ?? u.phone}</td>
                <td>${say(`role.${u.role}`)}</td>
                <td>${moment(u.created_at)}</td>
                <td>${u.blocked ? say('users.blocked') : ''}</td>
            </tr>`)}</tbody>
        </table></div>
        </${List}>
        ${open && html`<${User} id=${open} onClose=${() => setOpen(null)}
                                onChange=${list.again} />`}`;
}

function User({id, onClose, onChange}) {
    const of = useData(() => get(`/admin/users/${id}`), [id]);
    const [why, ask] = useState(false);
    const u = of.data;

    if (why)
        return html`<${Why} title=${say(u.blocked ? 'users.unblock'
                                                  : 'users.block')}
            onClose=${() => ask(false)} does=${async reason => {
                await put(`/admin/users/${id}/blocked`,
                          {blocked: !u.blocked, reason});
                of.again();
                onChange();
            }} />`;

    return html`<${Dialog} title=${u?.name ?? id} onClose=${onClose}>
        <${Wait} of=${of}>${u && html`
        <dl class="tiles">${[['users.id', u.id], ['users.email', u.email],
            ['users.phone', u.phone], ['users.role', say(`role.${u.role}`)],
            ['users.seen', u.last_seen && moment(u.last_seen)],
            ...u.wallets.flatMap(w => [
                ['users.balance', money(w.balance)],
                ['users.held', money(w.held)]])]
            .filter(([, v]) => v).map(([k, v]) => html`<div class="tile small">
            <dt>${say(k)}</dt><dd>${v}</dd></div>`)}</dl>
        ${u.session && html`<p><a href="#/sessions">${
            say('users.live', {session: u.session})}</a></p>`}
        ${u.acts.length > 0 && html`<h3>${say('users.acts')}</h3>
            <ul class="plain">${u.acts.map(a => html`<li><small>${
                moment(a.at)} ${a.admin} ${a.act} ${
                JSON.stringify(a.detail)}</small></li>`)}</ul>`}
        <footer class="row">
            <${Act} class="secondary" does=${async () => {
                await post(`/admin/users/${id}/logout`);
                tell(say('users.out'));
            }}>${say('users.logout')}</${Act}>
            <button class="end" onClick=${() => ask(true)}>${
                say(u.blocked ? 'users.unblock' : 'users.block')}</button>
        </footer>`}</${Wait}>
    </${Dialog}>`;
}

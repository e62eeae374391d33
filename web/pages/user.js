/*
 * Copyright (C) The Astro authors
 *
 * One account, for operators: who it is, what it has done, what operators have
 * done to it, and what they can do.
 */

import {html, useState} from '../vendor/preact.js';
import {known, say} from '../words.js';
import '../words_ops.js';
import {get} from '../api.js';
import {moment, money} from '../format.js';
import {List, Wait, useData, useList, useTitle} from '../ui.js';
import {sayAct, sayDetail} from '../parts/act.js';
import {Who} from '../parts/who.js';
import {DOES, Does} from '../parts/user_does.js';
import {Commission} from '../parts/commission.js';

export default function User({id}) {
    const of = useData(() => get(`/admin/users/${id}`), [id]);
    const u = of.data;

    useTitle(u?.name ?? say('nav.users'));

    return html`<p><a href="#/users">${say('users.back')}</a></p>
        ${!u && html`<h1>${say('nav.users')}</h1>`}
        <${Wait} of=${of}>${u && html`
        <h1>${u.name} <small>${say(`role.${u.role}`)}${u.blocked
            ? `, ${say('users.blocked')}` : ''}</small></h1>
        <${Facts} of=${u} />
        <${Doing} of=${u} onDone=${of.again} />
        ${u.advisor && html`<${Commission} advisor=${id} name=${u.name}
                                           base=${u.advisor} />`}
        ${u.acts.length > 0 && html`<section><h2>${say('users.acts')}</h2>
            <ul class="plain">${u.acts.map(a => html`<li><small>${
                moment(a.at)}</small> <${Who} id=${a.admin} /> ${
                sayAct(a.act)} <small>${sayDetail(a.detail)}</small></li>`)}
            </ul></section>`}
        <${Activity} id=${id} />`}</${Wait}>`;
}


function Facts({of: u}) {
    const rows = [
        ['id', u.id], ['email', u.email], ['phone', u.phone],
        ['since', moment(u.created_at)],
        ['seen', u.last_seen && moment(u.last_seen)],
        ...u.wallets.flatMap(w => [
            ['balance', money(w.balance)], ['held', money(w.held)],
            ['promo', w.promo.amount > 0 && money(w.promo)]]),
        ['listed', u.advisor && say(u.advisor.approved ? 'users.listed.yes'
                                                       : 'users.listed.no')]];

    return html`<dl class="tiles">${rows.filter(([, v]) => v).map(([k, v]) =>
        html`<div class="tile small"><dt>${say(`users.${k}`)}</dt>
        <dd>${v}</dd></div>`)}</dl>
        ${u.session && html`<p><a href="#/sessions">${
            say('users.live', {session: u.session})}</a></p>`}`;
}


/* what can be done, each asked once more */
function Doing({of: u, onDone}) {
    const [what, ask] = useState(null);

    return html`<p class="row">${DOES.filter(d => d.when(u)).map(d => html`
            <button class="small ${d.class ?? 'secondary'}"
                onClick=${() => ask(d)}>${say(`users.${d.name}`)}</button>`)}
        </p>
        ${what && html`<${Does} what=${what} user=${u} onDone=${onDone}
                                onClose=${() => ask(null)} />`}`;
}


function Activity({id}) {
    const list = useList(`/admin/users/${id}/activity?limit=20`);

    return html`<section><h2>${say('users.activity')}</h2>
        <${List} of=${list}><ul class="plain">${list.rows.map((a, i) => html`
            <li key=${i}><small>${moment(a.at)}</small> ${
                say(`did.${a.act}`)} ${a.about ?? ''} ${a.service
                && say(`service.${a.service}`)} ${a.with && html`<${Who}
                id=${a.with} />`} ${a.state && (known(`state.${a.state}`)
                ? say(`state.${a.state}`) : a.state)} ${
                money(a.charged ?? a.amount)}</li>`)}
        </ul></${List}></section>`;
}

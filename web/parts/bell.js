/*
 * Copyright (C) The Astro authors
 *
 * What one was told, behind a bell with the number of what is new.
 */

import {html, useState} from '../vendor/preact.js';
import {known, say} from '../words.js';
import {change, now, use} from '../live.js';
import {get, put} from '../api.js';
import {moment, money} from '../format.js';
import {Act, Dialog} from '../ui.js';

/* where to go about it */
function link({kind, about}) {
    if (kind.startsWith('booking_'))
        return now.user.role == 'client' ? '#/bookings' : '#/desk';
    if (about.session) return `#/history/${about.session}`;
    if (about.advisor) return `#/advisor/${about.advisor.id}`;
    return null;
}

function words({kind, about: a}) {
    const key = `notice.${kind}`;
    const other = now.user.role == 'client' ? a.advisor : a.client;

    return known(key) ? say(key, {
        name: other?.name ?? '', when: a.start ? moment(a.start) : '',
        money: a.amount ? money(a.amount) : '',
        state: a.state ? say(`dispute.mine.${a.state}`) : ''}) : kind;
}

async function read() {
    const upto = now.notices[0]?.id;

    if (!upto) return;

    const {unread} = await put('/notifications/read', {upto});

    change({unread, notices: now.notices.map(n => ({...n, read: true}))});
}

export function Bell() {
    const {unread} = use();
    const [open, set] = useState(false);
    const label = unread ? say('notice.unread', {n: unread})
                         : say('notice.title');

    return html`<button class="plain bell" aria-label=${label} title=${label}
            onClick=${() => set(true)}><span aria-hidden="true">🔔${
            unread > 0 && html`<b>${unread > 99 ? '99+' : unread}</b>`}</span>
        </button>
        <span class="unseen" role="status">${unread > 0 ? label : ''}</span>
        ${open && html`<${Notices} onClose=${() => set(false)} />`}`;
}

function Notices({onClose}) {
    const {notices, unread} = use();
    const [done, setDone] = useState(notices.length < 20);

    return html`<${Dialog} title=${say('notice.title')} onClose=${onClose}>
        ${notices.length == 0 && html`<p>${say('notice.none')}</p>`}
        <ul class="plain notices">${notices.map(n => html`<li key=${n.id}
            class=${n.read ? '' : 'new'}>
            ${link(n) ? html`<a href=${link(n)} onClick=${onClose}>${
                words(n)}</a>` : words(n)}
            ${' '}<small>${moment(n.at)}${!n.read && html` <b>${
                say('notice.new')}</b>`}</small></li>`)}</ul>
        <footer class="row">
            ${!done && html`<${Act} class="secondary" does=${async () => {
                const page = await get(`/notifications?limit=50&cursor=${
                    notices[notices.length - 1].id.slice(2)}`);
                const had = new Set(now.notices.map(n => n.id));

                change({notices: [...now.notices, ...page.data.filter(
                    n => !had.has(n.id))]});
                setDone(!page.next_cursor);
            }}>${say('app.more')}</${Act}>`}
            ${unread > 0 && html`<${Act} does=${read}>${
                say('notice.read')}</${Act}>`}
        </footer>
    </${Dialog}>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * An advisor's clients, and what one keeps in mind of each.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {get, put} from '../api.js';
import {clock, day, money} from '../format.js';
import {Act, Dialog, List, tell, useList, useTitle} from '../ui.js';
import {Messages} from '../parts/messages.js';

export default function Clients() {
    const list = useList('/advisors/me/clients?limit=20');
    const [note, setNote] = useState(null);
    const [talk, setTalk] = useState(null);
    const {user} = use();

    useTitle(say('nav.clients'));

    return html`<h1>${say('nav.clients')}</h1>
        <${List} of=${list}>
        <div class="wide"><table>
            <thead><tr>${['who', 'sessions', 'time', 'earned', 'last'].map(
                k => html`<th scope="col">${say(`clients.${k}`)}</th>`)}
                <th><span class="unseen">${say('clients.acts')}</span></th></tr>
            </thead>
            <tbody>${list.rows.map(c => html`<tr key=${c.client.id}>
                <td>${c.client.name}</td>
                <td class="n">${c.sessions}</td>
                <td class="n">${clock(c.billed_ms)}</td>
                <td class="n">${money(c.earned)}</td>
                <td>${day(c.last_at)}</td>
                <td class="row"><button class="secondary small"
                    onClick=${() => setNote(c.client)}>${
                    say('clients.note')}</button>
                    <button class="secondary small"
                    onClick=${() => setTalk(c)}>${
                    say('chat.title')}</button></td>
            </tr>`)}</tbody>
        </table></div>
        </${List}>
        ${note && html`<${Note} client=${note}
                                onClose=${() => setNote(null)} />`}
        ${talk && html`<${Dialog} title=${talk.client.name}
            onClose=${() => setTalk(null)}><${Messages} conv=${talk.conv}
            me=${user.id} name=${talk.client.name} open=${false} />
        </${Dialog}>`}`;
}

function Note({client, onClose}) {
    const path = `/advisors/me/clients/${client.id}/note`;
    const [text, set] = useState('');

    useEffect(() => {
        get(path).then(n => set(n.text), () => {});
    }, [path]);

    return html`<${Dialog} title=${say('clients.about', client)}
                           onClose=${onClose}>
        <label>${say('clients.private')}<textarea rows="6" value=${text}
            maxlength="4000" onInput=${e => set(e.target.value)}></textarea>
        </label>
        <footer class="row"><${Act} does=${async () => {
            await put(path, {text});
            tell(say('app.saved'));
            onClose();
        }}>${say('app.save')}</${Act}></footer>
    </${Dialog}>`;
}

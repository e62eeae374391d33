/*
 * Copyright (C) The Astro authors
 *
 * An advisor's clients, and what one keeps in mind of each.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {get, put} from '../api.js';
import {clock, day, money} from '../format.js';
import {Act, Dialog, List, Wait, tell, useData, useList, useTitle}
    from '../ui.js';
import {Messages} from '../parts/messages.js';
import {go} from '../app.js';

export default function Clients() {
    const list = useList('/advisors/me/clients?limit=20');
    const [note, setNote] = useState(null);
    const [talk, setTalk] = useState(null);
    const {user} = use();

    useTitle(say('nav.clients'));

    return html`<h1>${say('nav.clients')}</h1>
        <${List} of=${list} empty=${say('clients.none')}>
        <div class="wide" role="region" tabindex="0" aria-label=${
            say('nav.clients')}><table>
            <thead><tr>${['who', 'sessions', 'time', 'earned', 'last'].map(
                k => html`<th scope="col">${say(`clients.${k}`)}</th>`)}
                <th><span class="unseen">${say('clients.acts')}</span></th></tr>
            </thead>
            <tbody>${list.rows.map(c => html`<tr key=${c.client.id}>
                <th scope="row">${c.client.name}</th>
                <td class="n">${c.sessions}</td>
                <td class="n">${clock(c.billed_ms)}</td>
                <td class="n">${money(c.earned)}</td>
                <td>${day(c.last_at)}</td>
                <td class="row">${[
                    ['note', c.note ? 'clients.note.had' : 'clients.note',
                     () => setNote(c.client)],
                    ['talk', 'chat.title', () => setTalk(c)]].map(
                    ([k, word, does]) => html`<button key=${k}
                        class="secondary small" aria-label=${
                        say('clients.of', {what: say(word), ...c.client})}
                        onClick=${does}>${say(word)}</button>`)}
                    <${Act} class="secondary small" aria-label=${
                        say('clients.of', {what: say('clients.past'),
                                           ...c.client})}
                        does=${() => past(c.client)}>${
                        say('clients.past')}</${Act}></td>
            </tr>`)}</tbody>
        </table></div>
        </${List}>
        ${note && html`<${Note} client=${note} onSaved=${list.again}
                                onClose=${() => setNote(null)} />`}
        ${talk && html`<${Dialog} title=${talk.client.name}
            onClose=${() => setTalk(null)}><${Messages} conv=${talk.conv}
            me=${user.id} name=${talk.client.name} open=${false} />
        </${Dialog}>`}`;
}

/* the last consultation with them */
async function past(client) {
    const {data} = await get(`/sessions?peer=${client.id}&limit=1`);

    if (data[0]) go(`history/${data[0].session}`);
}

/* nothing can be written over before what is there has been read */
function Note({client, onSaved, onClose}) {
    const path = `/advisors/me/clients/${client.id}/note`;
    const [text, set] = useState(null);
    const of = useData(() => get(path).catch(e => {
        if (e.status != 404) throw e;
        return {text: ''};
    }), [path]);

    return html`<${Dialog} title=${say('clients.about', client)}
                           onClose=${onClose}>
        <${Wait} of=${of}>${of.data && html`
            <label>${say('clients.private')}<textarea rows="6"
                maxlength="10000" value=${text ?? of.data.text}
                onInput=${e => set(e.target.value)}></textarea></label>
            <footer class="row"><${Act} does=${async () => {
                await put(path, {text: text ?? of.data.text});
                tell(say('app.saved'));
                onSaved();
                onClose();
            }}>${say('app.save')}</${Act}></footer>`}</${Wait}>
    </${Dialog}>`;
}

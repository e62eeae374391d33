/*
 * Copyright (C) The Astro authors
 *
 * A dispute is decided once, with the money in the same moment: how much goes
 * back, or nothing, and why, for both of them to read.
 */

import {html, useState} from '../vendor/preact.js';
import {say, sayError} from '../words.js';
import {post} from '../api.js';
import {digits, minor, money} from '../format.js';
import {Act, Dialog, Field, tell} from '../ui.js';

export function Decide({dispute: d, onClose, onDone}) {
    const {charged, rate: {currency}} = d.evidence.session;
    const [how, setHow] = useState('refund');
    const [text, setText] = useState('');
    const [part, setPart] = useState((charged / 10 ** digits(currency))
                                     .toFixed(digits(currency)));
    const [error, setError] = useState(null);
    const amount = minor(part, currency);
    const good = how == 'refuse' || amount > 0 && amount <= charged;
    const names = {client: d.client.name, advisor: d.advisor.name,
                   money: good && how == 'refund' ? money(amount, currency)
                                                  : ''};

    async function decide() {
        setError(null);
        try {
            await post(`/admin/disputes/${d.id}/decision`, {
                decision: how, text: text.trim(),
                ...how == 'refund' && {amount}});
        } catch (e) {
            return setError(e);
        }
        tell(say(`decide.${how}.done`, names));
        onClose();
        onDone();
    }

    return html`<${Dialog} title=${say('decide.title', {id: d.id})}
                           onClose=${onClose}>
        <form onSubmit=${e => e.preventDefault()}>
        <fieldset><legend>${say('decide.how')}</legend>
            ${(charged > 0 ? ['refund', 'refuse'] : ['refuse']).map(x => html`
            <label><input type="radio" name="how" checked=${how == x}
                onChange=${() => setHow(x)} /> ${say(`decide.${x}`)}</label>`)}
        </fieldset>
        ${how == 'refund' && html`<${Field} inputmode="decimal" value=${part}
            label=${say('money.part', {currency})}
            onInput=${e => setPart(e.target.value)}
            error=${good ? null : say('money.part.wrong', {
                left: money(charged, currency)})} />`}
        <label>${say('dispute.text')}<textarea rows="3" maxlength="2000"
            value=${text} onInput=${e => setText(e.target.value)}></textarea>
        </label>
        <p>${good && say(`decide.${how}.what`, names)}</p>
        ${error && html`<p class="wrong" role="alert">${sayError(error)}</p>`}
        <footer class="row">
            <button type="button" class="secondary" onClick=${onClose}>${
                say('app.cancel')}</button>
            <${Act} disabled=${!good || !text.trim()} does=${decide}>${
                how == 'refund' ? say('money.refund.yes', names)
                                : say('dispute.refuse')}</${Act}>
        </footer></form>
    </${Dialog}>`;
}

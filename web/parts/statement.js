/*
 * Copyright (C) The Astro authors
 *
 * What moved from one day to another, whole: to look at, or as a file.
 */

import {html, useState} from '../vendor/preact.js';
import {known, say} from '../words.js';
import {get} from '../api.js';
import {moment, money} from '../format.js';
import {Act, Field} from '../ui.js';
import {saveAs} from './save.js';

const iso = d => d.toISOString().slice(0, 10);
const SHOWN = 200;

export function Statement() {
    const today = new Date();
    const [from, setFrom] = useState(iso(today).slice(0, 8) + '01');
    const [to, setTo] = useState(iso(today));
    const [doc, set] = useState(null);

    /* whole days, of UTC: as the books have them */
    const query = () => `from=${from}&to=${to}`;
    const wrong = !from || !to || from > to;
    const field = (value, change) => ({type: 'date', value, required: true,
        onInput: e => { set(null); change(e.currentTarget.value); }});

    return html`<section><h2>${say('statement.title')}</h2>
        <form class="filters" onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('statement.from')} ...${
                field(from, setFrom)} />
            <${Field} label=${say('statement.to')} error=${wrong
                && say('statement.wrong')} ...${field(to, setTo)} />
            <${Act} class="secondary" disabled=${wrong} does=${async () => set(
                await get(`/wallet/statement?${query()}`))}>${
                say('statement.show')}</${Act}>
            <${Act} class="secondary" disabled=${wrong} does=${async () =>
                saveAs(await get(`/wallet/statement?${query()}&format=csv`),
                       `statement-${from}-${to}.csv`)}>${
                say('statement.csv')}</${Act}>
        </form>
        <p><small>${say('statement.utc')}</small></p>
        ${doc && html`<${Shown} of=${doc} />`}</section>`;
}

function Shown({of}) {
    const sum = n => money(n, of.currency);

    return html`<div class="wide" role="region" tabindex="0"
            aria-label=${say('statement.title')}><table>
        <thead><tr>${['when', 'what', 'amount', 'balance'].map(k => html`
            <th scope="col" class=${k == 'amount' || k == 'balance' ? 'n' : ''}
            >${say(`wallet.${k}`)}</th>`)}</tr></thead>
        <tbody>
            <tr><td>${moment(of.from)}</td><td>${say('statement.opening')}</td>
                <td></td><td class="n">${sum(of.opening)}</td></tr>
            ${of.movements.slice(0, SHOWN).map(m => html`<tr>
                <td>${moment(m.at)}</td>
                <td>${known(`kind.${m.kind}`) ? say(`kind.${m.kind}`)
                                              : m.kind}${
                    m.promo > 0 && html` <small>${say('statement.promo', {
                        money: sum(m.promo)})}</small>`}</td>
                <td class="n">${sum(m.amount)}</td>
                <td class="n">${sum(m.balance)}</td></tr>`)}
            <tr><td>${moment(of.to)}</td><td>${say('statement.closing')}</td>
                <td></td><td class="n">${sum(of.closing)}</td></tr>
        </tbody></table>
        ${of.movements.length > SHOWN && html`<p>${say('statement.more', {
            n: of.movements.length})}</p>`}</div>`;
}

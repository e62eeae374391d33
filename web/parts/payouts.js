/*
 * Copyright (C) The Astro authors
 *
 * Payouts to advisors: those of each day, and to order them now.  What failed
 * is on the advisor's balance again, and in the next ones.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {get, post} from '../api.js';
import {date, moment, money, number} from '../format.js';
import {Act, List, Wait, tell, useData, useEvery, useList} from '../ui.js';
import {Why} from './ask.js';

const EVERY_MS = 2000;


export function Payouts() {
    const list = useList('/admin/payouts?limit=20');
    const orders = useData(() => get('/admin/payouts?limit=1'));
    const [asks, ask] = useState(false);
    const runs = orders.data?.orders.some(o => o.state != 'done');

    useEvery(runs ? EVERY_MS : 0, () => {
        orders.again();
        list.again();
    });

    const order = async dry_run => {
        const o = await post('/admin/payouts', {dry_run});

        if (!dry_run) tell(say('payouts.ordered', {date: date(o.date)}));
        orders.again();
        list.again();
    };

    return html`<section><h2>${say('money.payouts')}</h2>
        <p class="row"><${Act} class="secondary small"
            does=${() => order(true)}>${say('payouts.count')}</${Act}>
        <button class="small" onClick=${() => ask(true)}>${
            say('payouts.now')}</button></p>
        <ul class="plain" role="status">${(orders.data?.orders ?? []).map(
            o => html`<li key=${o.id}><${Order} of=${o} /></li>`)}</ul>
        <${List} of=${list} empty=${say('payouts.none')}>
        <div class="wide"><table><thead><tr><th scope="col">${
            say('payouts.day')}</th><th scope="col">${say('money.state')}</th>
            <th scope="col" class="n">${say('payouts.n')}</th>
            <th scope="col" class="n">${say('money.amount')}</th></tr></thead>
        <tbody>${list.rows.flatMap(d => d.payouts.map(p => html`
            <tr key=${d.date + p.state}><th scope="row">${date(d.date)}</th>
            <td class=${p.state == 'failed' ? 'wrong' : ''}>${
                say(`payouts.${p.state}`)}</td>
            <td class="n">${number(p.count)}</td>
            <td class="n">${money(p.amount)}</td></tr>`))}</tbody></table>
        </div></${List}>
        ${asks && html`<${Ask} onClose=${() => ask(false)}
                               does=${() => order(false)} />`}</section>`;
}

function Order({of: o}) {
    const what = say(o.dry_run ? 'payouts.counted' : 'payouts.made', {
        n: number(o.made), money: money(o.amount)});

    return html`<small>${moment(o.asked_at)}:</small> ${o.state == 'done'
        ? what : say(`payouts.${o.state}`)} ${o.nowhere > 0
        && say('payouts.nowhere', {n: number(o.nowhere)})}`;
}

/* how much it would be is what statistics say is owed */
function Ask({onClose, does}) {
    const of = useData(() => get('/admin/stats?period=today'));
    const due = of.data?.payouts_due;

    return html`<${Why} title=${say('payouts.now')} free=${true}
        ready=${!!due} onClose=${onClose} does=${does}
        yes=${due ? say('payouts.yes', {money: money(due.amount)})
                  : say('payouts.now')}>
        <${Wait} of=${of}><p>${due && say('payouts.what', {
            money: money(due.amount), n: number(due.advisors)})}</p></${Wait}>
    </${Why}>`;
}

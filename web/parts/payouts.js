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
const COUNT_MS = 400, COUNT_TRIES = 40;


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
        <ul class="plain" aria-live="polite">${(orders.data?.orders ?? []).map(
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

/* counted first, by who would make them: what is said is what will be */
async function counted() {
    const {id} = await post('/admin/payouts', {dry_run: true});

    for (let n = 0; n < COUNT_TRIES; n++) {
        const {orders} = await get('/admin/payouts?limit=1');
        const mine = orders.find(o => o.id == id);

        if (mine?.state == 'done') return mine;
        await new Promise(ok => setTimeout(ok, COUNT_MS));
    }
    throw new Error(say('payouts.waiting'));
}

function Ask({onClose, does}) {
    const of = useData(counted);
    const {made, amount, nowhere} = of.data ?? {};
    const text = of.data && [
        made > 0 ? say('payouts.what', {money: money(amount),
                                        n: number(made)})
                 : say('payouts.nobody'),
        nowhere > 0 ? say('payouts.nowhere', {n: number(nowhere)}) : ''];

    return html`<${Why} title=${say('payouts.now')} free=${true}
        ready=${made > 0} onClose=${onClose} does=${does}
        yes=${made > 0 ? say('payouts.yes', {money: money(amount)})
                       : say('payouts.now')}>
        <${Wait} of=${of}><p>${text?.join(' ')}</p></${Wait}>
    </${Why}>`;
}

/*
 * Copyright (C) The Astro authors
 *
 * The wallet: what is in it, what moved, ways to put more in, and one's own
 * limits.
 */

import {html, useEffect} from '../vendor/preact.js';
import {known, say} from '../words.js';
import {use} from '../live.js';
import {get} from '../api.js';
import {moment, money} from '../format.js';
import {List, Wait, useData, useList, useTitle} from '../ui.js';
import {Coupon} from '../parts/coupon.js';
import {Limits} from '../parts/limits.js';
import {Pay} from '../parts/topup.js';
import {Payments} from '../parts/paying.js';
import {usePurse} from '../parts/purse.js';
import {Statement} from '../parts/statement.js';

export default function Wallet() {
    const {wallet} = use();
    const of = useData(() => get('/wallet'), [wallet?.balance, wallet?.held]);
    const w = of.data;

    useTitle(say('nav.wallet'));
    usePurse();

    return html`<h1>${say('nav.wallet')}</h1>
        <${Wait} of=${of}>${w && html`<dl class="tiles">
            ${['available', 'held', 'balance', 'promo'].filter(k => w[k]
              && (k != 'promo' || w.promo.amount > 0)).map(k => html`
            <div class="tile" data-tile=${k}><dt>${say(`wallet.${k}`)}</dt>
                <dd>${money(w[k])}</dd></div>`)}</dl>`}</${Wait}>
        <section class="narrow"><h2>${say('session.topup')}</h2>
            <${Pay} onDone=${of.again} /></section>
        <${Payments} />
        <section class="narrow"><h2>${say('coupon.title')}</h2>
            <${Coupon} onDone=${of.again} /></section>
        <${Moved} balance=${wallet?.balance} />
        <${Statement} />
        <${Limits} />`;
}

function Moved({balance}) {
    const list = useList('/wallet/transactions?limit=20');

    useEffect(() => { if (list.path) list.again(); }, [balance]);

    return html`<section><h2>${say('wallet.moved')}</h2>
        <${List} of=${list} empty=${say('wallet.empty')}>
        ${list.rows.length > 0 && html`<div class="wide" role="region"
            tabindex="0" aria-label=${say('wallet.moved')}><table>
            <thead><tr>${['when', 'what', 'amount'].map(k => html`
                <th scope="col" class=${k == 'amount' ? 'n' : ''}>${
                say(`wallet.${k}`)}</th>`)}</tr></thead>
            <tbody>${list.rows.map(t => html`<tr key=${t.id}>
                <td>${moment(t.at)}</td>
                <td>${t.session ? html`<a href="#/history/${t.session}">${
                        kind(t)}</a>`
                    : t.kind == 'session' ? html`<a href="#/history/${t.id}">${
                        kind(t)}</a>` : kind(t)}</td>
                <td class="n">${t.direction == 'debit' ? '−' : '+'}${
                    money(t.amount)}</td></tr>`)}</tbody>
        </table></div>`}
        </${List}></section>`;
}

const kind = t => known(`kind.${t.kind}`) ? say(`kind.${t.kind}`) : t.kind;

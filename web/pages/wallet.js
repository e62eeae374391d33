/*
 * Copyright (C) The Astro authors
 *
 * The wallet: what is in it, what moved, and a way to put more in.
 */

import {html, useEffect} from '../vendor/preact.js';
import {known, say} from '../words.js';
import {use} from '../live.js';
import {get} from '../api.js';
import {moment, money} from '../format.js';
import {List, Wait, useData, useList, useTitle} from '../ui.js';
import {Pay} from '../parts/topup.js';

export default function Wallet() {
    const {wallet} = use();
    const of = useData(() => get('/wallet'), [wallet?.balance, wallet?.held]);
    const list = useList('/wallet/transactions?limit=20');
    const w = of.data;

    useTitle(say('nav.wallet'));
    useEffect(() => { if (wallet) list.again(); }, [wallet?.balance]);

    return html`<h1>${say('nav.wallet')}</h1>
        <${Wait} of=${of}>${w && html`<dl class="tiles">
            ${['available', 'held', 'balance'].map(k => html`
            <div class="tile"><dt>${say(`wallet.${k}`)}</dt>
                <dd>${money(w[k])}</dd></div>`)}</dl>`}</${Wait}>
        <section class="narrow"><h2>${say('session.topup')}</h2>
            <${Pay} onDone=${of.again} /></section>
        <section><h2>${say('wallet.moved')}</h2>
        <${List} of=${list}>
        <div class="wide"><table>
            <thead><tr>${['when', 'what', 'amount'].map(k => html`
                <th scope="col">${say(`wallet.${k}`)}</th>`)}</tr></thead>
            <tbody>${list.rows.map(t => html`<tr key=${t.id}>
                <td>${moment(t.at)}</td>
                <td>${known(`kind.${t.kind}`) ? say(`kind.${t.kind}`)
                                              : t.kind}</td>
                <td class="n">${t.direction == 'debit' ? '−' : '+'}${
                    money(t.amount)}</td></tr>`)}</tbody>
        </table></div>
        </${List}></section>`;
}

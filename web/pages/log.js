/*
 * Copyright (C) The Astro authors
 *
 * What operators have done, as it is kept: nobody takes a row out.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import '../words_ops.js';
import {moment} from '../format.js';
import {Field, List, useList, useTitle} from '../ui.js';
import {sayAct, sayDetail} from '../parts/act.js';
import {Who} from '../parts/who.js';
import {query} from '../parts/query.js';

const ACTS = ['account_block', 'advisor_approve', 'advisor_create',
              'config_edit', 'coupon_create', 'disconnect', 'dispute_decide',
              'payment_clear', 'payment_refund', 'payouts_process',
              'review_hide', 'session_end', 'specialty_create',
              'specialty_delete', 'specialty_edit', 'tokens_revoke',
              'transcript_read', 'user_block', 'user_edit', 'user_hold'];


export default function Log() {
    const [f, set] = useState({act: '', admin: '', about: '', from: '',
                               to: ''});
    const list = useList(`/admin/log?${query(f)}`);
    const on = key => e => set({...f, [key]: e.target.value});

    useTitle(say('nav.log'));

    return html`<h1>${say('nav.log')}</h1>
        <p>${say('log.lead')}</p>
        <form class="filters" role="search"
              onSubmit=${e => e.preventDefault()}>
            <${Field} label=${say('log.act')}>
                <select value=${f.act} onInput=${on('act')}>
                    <option value="">${say('sessions.all')}</option>
                    ${ACTS.map(a => html`<option value=${a}>${sayAct(a)}
                        </option>`)}</select></${Field}>
            <${Field} label=${say('log.who')} placeholder="u_1"
                      value=${f.admin} onInput=${on('admin')} />
            <${Field} label=${say('log.about')} placeholder="u_17"
                      value=${f.about} onInput=${on('about')} />
            <${Field} label=${say('sessions.from')} type="datetime-local"
                      value=${f.from} onInput=${on('from')} />
            <${Field} label=${say('sessions.to')} type="datetime-local"
                      value=${f.to} onInput=${on('to')} />
        </form>
        <${List} of=${list} empty=${say('list.none')}>
        <div class="wide" tabindex="0" role="region"
             aria-label=${say('nav.log')}><table>
            <thead><tr>${['no', 'at', 'who', 'act', 'about', 'detail', 'hash']
                .map(k => html`<th scope="col">${say(`log.${k}`)}</th>`)}</tr>
            </thead>
            <tbody>${list.rows.map(a => html`<tr key=${a.no}>
                <th scope="row" class="n">${a.no}</th>
                <td>${moment(a.at)}</td>
                <td><a href="#/users/${a.admin}">${a.name}</a></td>
                <td>${sayAct(a.act)}</td>
                <td>${/^u_/.test(a.about) ? html`<${Who} id=${a.about} />`
                                          : a.about}</td>
                <td><small>${sayDetail(a.detail)}</small></td>
                <td><code title=${a.hash}>${a.hash.slice(0, 8)}</code></td>
            </tr>`)}</tbody>
        </table></div>
        </${List}>`;
}

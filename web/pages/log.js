/*
 * Copyright (C) The Astro authors
 *
 * What operators have done, as it is kept: nobody takes a row out.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {moment} from '../format.js';
import {List, useList, useTitle} from '../ui.js';

export default function Log() {
    const list = useList('/admin/log?limit=20');

    useTitle(say('nav.log'));

    return html`<h1>${say('nav.log')}</h1>
        <p>${say('log.lead')}</p>
        <${List} of=${list}>
        <div class="wide"><table>
            <thead><tr>${['no', 'at', 'who', 'act', 'about', 'detail', 'hash']
                .map(k => html`<th scope="col">${say(`log.${k}`)}</th>`)}</tr>
            </thead>
            <tbody>${list.rows.map(a => html`<tr key=${a.no}>
                <td class="n">${a.no}</td><td>${moment(a.at)}</td>
                <td>${a.name}</td><td>${a.act}</td><td>${a.about}</td>
                <td><small>${JSON.stringify(a.detail)}</small></td>
                <td><code title=${a.hash}>${a.hash.slice(0, 8)}</code></td>
            </tr>`)}</tbody>
        </table></div>
        </${List}>`;
}

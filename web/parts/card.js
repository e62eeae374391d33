/*
 * Copyright (C) The Astro authors
 *
 * An advisor in a list, and what of it other pages show, too.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {initial, money} from '../format.js';
import {Favorite, Start, state} from './start.js';


export function Rating({of}) {
    return html`<span class="rating">${of.count
        ? html`<span aria-hidden="true">★ ${of.average.toFixed(1)} <small>(${
               of.count})</small></span><span class="unseen">${
               say('find.reviews', of)}</span>`
        : html`<small>${say('find.unrated')}</small>`}</span>`;
}

export function Here({advisor}) {
    use();
    const is = state(advisor);

    return html`<span class="here ${is}"><i aria-hidden="true"></i>${
        say(`find.${is}`)}</span>`;
}

export function Card({advisor: a, starred, onStar}) {
    use();

    const rates = Object.values(a.rates).filter(Boolean);

    return html`<li data-advisor=${a.id}><article class="card">
        <header>
            <span class="face" aria-hidden="true">${initial(a.name)}</span>
            <div><h2><a href="#/advisor/${a.id}">${a.name}</a></h2>
                <${Here} advisor=${a} /></div>
            <${Favorite} advisor=${a} on=${starred} onChange=${onStar} />
        </header>
        ${a.headline && html`<p>${a.headline}</p>`}
        <p class="facts"><${Rating} of=${a.rating} />
            ${a.experience > 0 && html`<span>${
                say('find.years', {n: a.experience})}</span>`}
            ${rates.length > 0 && html`<span>${say('find.minute', {
                money: money(Math.min(...rates.map(r => r.amount)),
                             rates[0].currency)})}</span>`}</p>
        ${state(a) == 'offline' ? null : html`<footer class="row">
            <${Start} advisor=${a} /></footer>`}
    </article></li>`;
}

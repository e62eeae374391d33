/*
 * Copyright (C) The Astro authors
 *
 * One's own account: who one is, where one is signed in, what is kept.
 */

import {html} from '../vendor/preact.js';
import {say} from '../words.js';
import {use} from '../live.js';
import {get, signOut} from '../api.js';
import {Act, useData, useTitle} from '../ui.js';
import {go} from '../app.js';
import {Erase, Export} from '../parts/privacy.js';
import {Phone} from '../parts/phone.js';
import {Profile} from '../parts/profile.js';

export default function Me() {
    const {user} = use();
    const of = useData(() => get('/me'));
    const client = user.role == 'client';

    useTitle(say('me.title'));

    return html`<h1>${say('me.title')}</h1>
        <p>${of.data?.email}</p>
        ${client && html`<${Profile} />`}
        <${Phone} />
        <section class="narrow"><h2>${say('me.devices')}</h2>
            <p>${say('me.everywhere')}</p>
            <${Act} class="secondary" does=${async () => {
                await signOut(true);
                go('');
            }}>${
                say('me.out')}</${Act}></section>
        <${Export} />
        ${user.role != 'admin' && of.data && html`<${Erase}
            email=${of.data.email} />`}`;
}

/*
 * Copyright (C) The Astro authors
 *
 * What an operator can do to an account: a row each.  what(user) is done with
 * a reason; fields are asked for besides.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {post, put} from '../api.js';
import {Field, tell} from '../ui.js';
import {Why} from './ask.js';
import {knownAs} from './who.js';

const at = u => `/admin/users/${u.id}`;

/* as the last act about it says; acts are newest first */
const held = u => u.acts.find(a => a.act == 'user_hold')?.detail.hold === true;

export const DOES = [
    {name: 'edit', when: () => true, fields: Edit,
     changed: (u, f) => Object.keys(f).length > 0,
     does: (u, reason, f) => put(at(u), {...f, reason})},
    {name: 'approve.it', when: u => u.advisor && !u.advisor.approved,
     free: true, does: u => put(`/admin/advisors/${u.id}/approval`,
                                {approved: true})},
    {name: 'unapprove', when: u => u.advisor?.approved, free: true,
     does: u => put(`/admin/advisors/${u.id}/approval`, {approved: false})},
    {name: 'disconnect', when: () => true,
     does: (u, reason) => post('/admin/disconnect', {user: u.id, reason})},
    {name: 'logout', when: () => true, free: true,
     does: u => post(`${at(u)}/logout`)},
    {name: 'hold', when: u => !held(u),
     does: (u, reason) => put(`${at(u)}/hold`, {hold: true, reason})},
    {name: 'unhold', when: held, free: true,
     does: u => put(`${at(u)}/hold`, {hold: false})},
    {name: 'block', when: u => !u.blocked, class: 'end',
     does: (u, reason) => put(`${at(u)}/blocked`, {blocked: true, reason})},
    {name: 'unblock', when: u => u.blocked,
     does: (u, reason) => put(`${at(u)}/blocked`, {blocked: false, reason})}
];

export function Does({what, user, onClose, onDone}) {
    const [f, set] = useState({});
    const {name, fields: Fields} = what;

    return html`<${Why} title=${say(`users.${name}`)} free=${what.free}
        text=${say(`users.${name}.what`, {name: user.name})}
        ready=${!what.changed || what.changed(user, f)}
        onClose=${onClose} does=${async reason => {
            await what.does(user, reason, f);
            if (f.name) knownAs(user.id, f.name);
            tell(say(`users.${name}.done`, {name: f.name ?? user.name}));
            onDone();
        }}>${Fields && html`<${Fields} of=${user} f=${f} set=${set} />`}
    </${Why}>`;
}

/* f has what is another than it was */
function Edit({of: u, f, set}) {
    const on = key => e => {
        const {[key]: was, ...rest} = f;
        const text = e.target.value.trim();

        set(text == u[key] || !text ? rest : {...rest, [key]: text});
    };

    return html`<${Field} label=${say('users.name')} maxlength="100"
            defaultValue=${u.name} onInput=${on('name')} />
        <${Field} label=${say('users.email')} type="email" maxlength="254"
            defaultValue=${u.email} onInput=${on('email')} />
        <${Field} label=${say('users.role')} help=${say('users.role.what')}>
            <select onInput=${on('role')}>${['client', 'advisor', 'admin']
                .map(r => html`<option value=${r} selected=${r == u.role}>${
                    say(`role.${r}`)}</option>`)}</select></${Field}>`;
}

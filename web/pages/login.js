/*
 * Copyright (C) The Astro authors
 *
 * The first page: what this is, and who you are.  A demonstration has doors to
 * be one of its people, each in a window of its own (demo.js).
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say, sayError} from '../words.js';
import {register, signIn} from '../api.js';
import {door, first, invited, openDoor, usePeople} from '../demo.js';
import {Act, Field, useTitle} from '../ui.js';
import {Picture} from '../parts/pictures.js';

const STEPS = ['find', 'talk', 'pay'];
const ROLES = ['advisor', 'client', 'admin'];

export default function Login() {
    const people = usePeople();
    const guest = invited(people);

    useTitle(null);

    if (guest) return html`<${Guest} person=${guest} />`;

    return html`
        <section class="hero">
            <h1>${say('login.title')}</h1>
            <p class="lead">${say('login.lead')}</p>
            <ol class="steps">${STEPS.map(s => html`<li>
                <${Picture} of=${s} />${say(`login.step.${s}`)}</li>`)}</ol>
        </section>
        ${people.length > 0 && html`<${Doors} people=${people} />`}
        <${Form} demo=${people.length > 0} />`;
}


/* somebody came through a door: this window is theirs */
function Guest({person}) {
    const [error, set] = useState(null);
    const enter = () => {
        set(null);
        return signIn(person.email, person.password).catch(set);
    };

    useEffect(() => {
        location.replace('#/');
        enter();
    }, []);

    return html`<div class="narrow">
        <h1>${say('login.as', person)}</h1>
        ${error ? html`<p role="alert">${sayError(error)}</p>
                       <${Act} does=${enter}>${say('app.again')}</${Act}>`
                : html`<p role="status" aria-busy="true">${
                       say('app.loading')}</p>`}
    </div>`;
}

function Doors({people}) {
    const others = people.filter(p => p != first(people, p.role));
    const link = (p, cls, inside) => html`<a class=${cls} href=${door(p)}
        target="_blank" rel="noopener" onClick=${e => openDoor(e, p)}
        >${inside}</a>`;

    return html`<section class="demo" aria-labelledby="demo">
        <h2 id="demo">${say('login.demo')}</h2>
        <p>${say('login.demo.how')}</p>
        <ul class="doors">${ROLES.map(role => {
            const p = first(people, role);

            return p && html`<li>${link(p, 'door', html`
                <${Picture} of=${role} />
                <strong>${say(`login.door.${role}`)}</strong>
                <span>${say(`login.door.${role}.then`, p)}</span>`)}</li>`;
        })}</ul>
        ${others.length > 0 && html`<details>
            <summary>${say('login.others')}</summary>
            <ul class="plain row">${others.map(p => html`<li>${
                link(p, 'small', html`${p.name}, ${say(`role.${p.role}`)}`)
            }</li>`)}</ul>
        </details>`}
    </section>`;
}


function Form({demo}) {
    const [fresh, setFresh] = useState(false);
    const [form, set] = useState({name: '', email: '', password: ''});
    const [wrong, setWrong] = useState(null);
    const title = say(fresh ? 'login.new' : 'login.in');

    const field = name => ({
        name, value: form[name], required: true,
        onInput: e => set({...form, [name]: e.target.value})});

    async function send() {
        setWrong(null);
        try {
            await (fresh ? register(form.name, form.email, form.password)
                         : signIn(form.email, form.password));
        } catch (e) {
            if (e.retry) throw e;
            setWrong(e.status == 401 ? say('login.wrong')
                                     : e.fields[0]?.detail ?? sayError(e));
        }
    }

    return html`<section class="narrow">
        <form onSubmit=${e => e.preventDefault()}>
            <h2>${title}</h2>
            ${demo && html`<p><small>${say('login.demo.own')}</small></p>`}
            ${fresh && html`<${Field} label=${say('login.name')}
                autocomplete="name" maxlength="100" ...${field('name')} />`}
            <${Field} label=${say('login.email')} type="email"
                autocomplete="username" ...${field('email')} />
            <${Field} label=${say('login.password')} type="password"
                minlength=${fresh ? 8 : null} autocomplete=${
                fresh ? 'new-password' : 'current-password'}
                help=${fresh && say('login.long')} ...${field('password')} />
            ${wrong && html`<p role="alert" class="wrong">${wrong}</p>`}
            <${Act} type="submit" does=${send}>${title}</${Act}>
        </form>
        <p><button class="plain link" onClick=${() => setFresh(!fresh)}>
            ${say(fresh ? 'login.have' : 'login.new')}</button></p>
    </section>`;
}

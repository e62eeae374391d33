/*
 * Copyright (C) The Astro authors
 *
 * Who are you?  A demo (make run) has demo.json beside this page: its people
 * are a button each.
 */

import {html, useEffect, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {register, signIn} from '../api.js';
import {Act, Field, useTitle} from '../ui.js';

function useDemo() {
    const [people, set] = useState([]);

    useEffect(() => {
        fetch('demo.json').then(a => a.ok ? a.json() : {people: []})
            .then(d => set(d.people)).catch(() => {});
    }, []);
    return people;
}

export default function Login() {
    const demo = useDemo();
    const [fresh, setFresh] = useState(false);
    const [form, set] = useState({name: '', email: '', password: ''});
    const [wrong, setWrong] = useState(null);
    const title = say(fresh ? 'login.new' : 'login.in');

    useTitle(title);

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
                                     : e.fields[0]?.detail ?? e.message);
        }
    }

    return html`<div class="narrow">
        <h1>${say('app.name')}</h1>
        <p class="lead">${say('login.lead')}</p>
        ${demo.length > 0 && html`<section aria-label=${say('login.demo')}>
            <p>${say('login.demo')}</p>
            <div class="demo">${demo.map(p => html`<${Act} class="secondary"
                does=${() => signIn(p.email, p.password)}
                >${say('login.as', {name: p.name})} <small>${
                say(`role.${p.role}`)}</small></${Act}>`)}</div>
        </section>`}
        <form onSubmit=${e => e.preventDefault()}>
            <h2>${title}</h2>
            ${fresh && html`<${Field} label=${say('login.name')}
                autocomplete="name" maxlength="100" ...${field('name')} />`}
            <${Field} label=${say('login.email')} type="email"
                autocomplete="username" ...${field('email')} />
            <${Field} label=${say('login.password')} type="password"
                minlength=${fresh ? 8 : null} autocomplete=${
                fresh ? 'new-password' : 'current-password'}
                ...${field('password')} />
            ${wrong && html`<p role="alert" class="wrong">${wrong}</p>`}
            <${Act} type="submit" does=${send}>${title}</${Act}>
        </form>
        <p><button class="plain link" onClick=${() => setFresh(!fresh)}>
            ${say(fresh ? 'login.have' : 'login.new')}</button></p>
    </div>`;
}

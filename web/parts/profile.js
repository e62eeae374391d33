/*
 * Copyright (C) The Astro authors
 *
 * Who one is, and what an advisor needs to know of one's birth: nobody else
 * reads that.
 */

import {html, useState} from '../vendor/preact.js';
import {say} from '../words.js';
import {get, put} from '../api.js';
import {Act, Field, Wait, tell, useData} from '../ui.js';

export function Profile() {
    const of = useData(() => get('/me/profile'));

    return html`<section class="narrow"><h2>${say('profile.title')}</h2>
        <${Wait} of=${of}>${of.data && html`<${Form} of=${of.data} />`}
        </${Wait}></section>`;
}

function Form({of}) {
    const [f, set] = useState({
        name: of.name, about: of.about ?? '', date: of.birth?.date ?? '',
        time: of.birth?.time ?? '', place: of.birth?.place ?? ''});
    const [wrong, setWrong] = useState({});
    const field = (name, rest) => ({
        label: say(`profile.${name}`), value: f[name], error: wrong[name],
        onInput: e => {
            const {value} = e.currentTarget;

            set(old => ({...old, [name]: value}));
        }, ...rest});
    const birth = f.date ? {...of.birth, date: f.date, time: f.time || null,
                            place: f.place || null} : null;

    return html`<form onSubmit=${e => e.preventDefault()}>
        <${Field} ...${field('name', {maxlength: 100, required: true,
                                      autocomplete: 'name'})} />
        <${Field} ...${field('about', {maxlength: 500})} />
        <fieldset><legend>${say('profile.birth')}</legend>
            <${Field} ...${field('date', {type: 'date'})} />
            <${Field} ...${field('time', {type: 'time'})} />
            <${Field} ...${field('place', {maxlength: 100})} />
        </fieldset>
        <${Act} disabled=${!f.name.trim()} does=${async () => {
            setWrong({});
            try {
                await put('/me/profile', {name: f.name.trim(), about: f.about,
                                          birth});
                tell(say('app.saved'));
            } catch (e) {
                const at = e.fields?.[0];

                if (!at) throw e;
                setWrong({[at.pointer?.split('/').pop()]: at.detail
                          ?? e.message});
                if (!(at.pointer?.split('/').pop() in f)) throw e;
            }
        }}>${say('app.save')}</${Act}>
    </form>`;
}

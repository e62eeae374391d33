/*
 * Copyright (C) The Astro authors
 *
 * Small pictures, drawn with the colour of the text beside them.  They say
 * nothing that the text does not say.
 */

import {html} from '../vendor/preact.js';

const SHAPES = {
    /* somebody, and a light: online */
    find: html`<circle cx="20" cy="16" r="8" />
        <path d="M6 42c0-9 6-14 14-14s14 5 14 14" />
        <circle class="lit" cx="37" cy="11" r="5" />`,
    /* two who talk */
    talk: html`<path d="M4 8h24v15H15l-6 6v-6H4z" />
        <path class="lit" d="M21 28v3h12l6 6v-6h5V17H33" />`,
    /* a watch with a coin's mark */
    pay: html`<circle cx="24" cy="27" r="16" /><path d="M19 4h10M24 4v7" />
        <path class="lit" d="M24 18v9l6 5" />`,
    client: html`<circle cx="24" cy="15" r="9" />
        <path d="M8 44c0-10 7-16 16-16s16 6 16 16" />`,
    advisor: html`<circle cx="18" cy="17" r="8" />
        <path d="M4 44c0-9 6-14 14-14s14 5 14 14" />
        <path class="lit" d="M37 6l2.4 6.6L46 15l-6.6 2.4L37 24l-2.4-6.6L28 15
            l6.6-2.4z" />`,
    admin: html`<path d="M4 6h40v28H4zM16 44h16M24 34v10" />
        <path class="lit" d="M10 26l8-8 6 5 12-12" />`
};

export const Picture = ({of}) => html`<svg class="picture" viewBox="0 0 48 48"
    width="48" height="48" aria-hidden="true" focusable="false">${
    SHAPES[of]}</svg>`;

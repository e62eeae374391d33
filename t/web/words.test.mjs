/*
 * Copyright (C) The Astro authors
 *
 * words.js: what is put in is put in once, and how many there are is heard.
 */

import assert from 'node:assert/strict';
import test from 'node:test';
import {learn, say} from '../../web/words.js';

learn({'t.some': '{n} {n:year|years} of {name}'});

test('one is one, all else is many', () => {
    assert.equal(say('t.some', {n: 1, name: 'it'}), '1 year of it');
    assert.equal(say('t.some', {n: '1', name: 'it'}), '1 year of it');
    assert.equal(say('t.some', {n: 0, name: 'it'}), '0 years of it');
});

test('what somebody calls himself stands as he says it', () => {
    assert.equal(say('t.some', {n: 2, name: '{n} $& {n:a|b}'}),
                 '2 years of {n} $& {n:a|b}');
});

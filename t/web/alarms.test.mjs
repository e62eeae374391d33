/*
 * Copyright (C) The Astro authors
 *
 * What the operator's page says is wrong is what the pager would say: at the
 * thresholds of conf/astro-alerts.yml.  node --test t/web
 */

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import test from 'node:test';
import {all} from '../../web/parts/alarms.js';
import {data} from '../../web/parts/chart.js';
import {known} from '../../web/words.js';
import '../../web/words_ops.js';

const RULES = readFileSync(new URL('../../conf/astro-alerts.yml',
                                   import.meta.url), 'utf8');

/* the number that a rule's expression ends with */
function threshold(alert) {
    const rule = RULES.split('- alert: ').find(
        r => r.startsWith(`${alert}\n`));
    const found = /[<>]=? *([\d.]+)\n +(?:for|labels)/.exec(rule)
                  ?? /== ([\d.]+)\n/.exec(rule);

    assert.ok(found, alert);
    return +found[1];
}

const figure = (at, host = {}, billing = {}) => ({
    at, host: {
        nodes: 1, workers: [{worker: 0}, {worker: 1}], pg_up: 6, redis_up: 4,
        seatless: 0, messages_in_s: 1, ...host,
        counts: {seats_reclaimed: 3, nodes_lost: 2, unpaid: 7, faults: 1,
                 ...host.counts}},
    billing: billing && {
        workers: 1, tick_lag_p99_ms: 20, pg_up: 6, redis_up: 2,
        outbox_parked: 0, outbox_age_s: 0, inbox_parked: 0, inbox_age_s: 0,
        shards_free: 0, sessions: {}, ...billing}});

/* a minute of these, every two seconds */
const minute = (host, billing) => Array.from({length: 31}, (_, i) => figure(
    1e12 + i * 2000, typeof host == 'function' ? host(i) : host, billing));
const names = (...args) => all(...args).map(a => a.name);


test('nothing is wrong', () => {
    assert.deepEqual(all([]), []);
    assert.deepEqual(all(minute()), []);
    assert.deepEqual(all(minute(), {audit: null}), []);
    assert.deepEqual(all(minute(), {audit: {violations: 0}}), []);
});

test('what nobody knows is nothing that is wrong', () => {
    const none = Object.fromEntries(Object.keys(figure(0).billing).map(
        k => [k, k == 'workers' ? 1 : null]));

    assert.deepEqual(all(minute({}, none)), []);
    assert.deepEqual(names(minute({redis_up: 0}, null)), ['redis']);
});

test('at the thresholds of the pager, and not before', () => {
    const rows = [
        ['late', 'AstroBillingLate', n => [{}, {tick_lag_p99_ms: 1000 * n}]],
        ['inboxold', 'AstroBillingWebhooksWait', n => [{}, {inbox_age_s: n}]],
        ['outboxold', 'AstroBillingOutboxOld', n => [{}, {outbox_age_s: n}]],
        ['parked', 'AstroBillingParked', n => [{}, {outbox_parked: n}]],
        ['inbox', 'AstroBillingWebhooksParked', n => [{}, {inbox_parked: n}]],
        ['shards', 'AstroBillingNobodyMeters', n => [{}, {shards_free: n}]],
        ['seatless', 'AstroNoSeat', n => [{seatless: n}]],
        ['hosts', 'AstroHostLost', n => [i => ({counts: {
            nodes_lost: 2 + (i > 20 ? n : 0)}})]],
        ['workers', 'AstroWorkersDie', n => [i => ({counts: {
            seats_reclaimed: 3 + (i > 20 ? n : 0)}})]],
        ['faults', 'AstroFaults', n => [i => ({counts: {
            faults: 1 + (i > 20 ? n : 0)}})]],
        ['unpaid', 'AstroUnpaid', n => [i => ({counts: {
            unpaid: 7 + (i > 20 ? 120 * n : 0)}})]]];

    for (const [name, alert, at] of rows) {
        const n = threshold(alert);

        assert.deepEqual(names(minute(...at(n))), [], name);
        assert.deepEqual(names(minute(...at(n + 1))), [name]);
    }

    for (const [name, alert, at] of [
        ['pg', 'AstroNoDatabase', n => [{pg_up: n}]],
        ['redis', 'AstroNoRedis', n => [{redis_up: n}]]])
        assert.deepEqual(names(minute(...at(threshold(alert)))), [name]);

    for (const [name, alert, key] of [
        ['billerpg', 'AstroBillingNoDatabase', 'pg_up'],
        ['billerredis', 'AstroBillingNoRedis', 'redis_up']]) {
        const n = threshold(alert);

        assert.deepEqual(names(minute({}, {[key]: n})), []);
        assert.deepEqual(names(minute({}, {[key]: n - 1})), [name]);
    }
});

test('a moment without a billing worker is none, more is', () => {
    const well = minute();
    const gone = n => Array.from({length: n}, (_, i) => figure(
        1e12 + 62000 + i * 2000, {}, null));

    assert.deepEqual(names([...well, ...gone(3)]), []);
    assert.deepEqual(names([...well, ...gone(8)]), ['billers']);
    assert.deepEqual(names(gone(2)), []);
});

test('a counter that begins anew is no rise', () => {
    assert.deepEqual(names(minute(i => ({counts: {
        faults: i < 20 ? 9 : 0, unpaid: i < 20 ? 999 : 0}}))), []);
});

test('the worst is first, the books before all', () => {
    const found = all(minute({redis_up: 0, pg_up: 0}),
                      {audit: {violations: 2, said: 'wallet 5'}});

    assert.deepEqual(found.map(a => a.name), ['audit', 'pg', 'redis']);
    assert.equal(found[0].said, 'wallet 5');
});

test('each has words, and what to do', () => {
    const said = readFileSync(new URL('../../web/parts/alarms.js',
                                      import.meta.url), 'utf8');

    for (const [, name] of said.matchAll(/^ {4}\['(\w+)', '/gm)) {
        assert.ok(known(`alarm.${name}`), name);
        assert.ok(known(`alarm.${name}.do`), name);
    }
});

test('what is missing is a gap in a chart and no 0', () => {
    const at = [0, 2000, 4000, 30000, 32000].map(t => ({at: t, n: t}));
    const [x, y] = data(at, [['n', f => f.at == 2000 ? null : f.n]]);

    assert.deepEqual(x, [0, 2, 4, 4.001, 30, 32]);
    assert.deepEqual(y, [0, null, 4000, null, 30000, 32000]);
});

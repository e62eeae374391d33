/*
 * Copyright (C) The Astro authors
 *
 * What is wrong, of the figures that were told: the thresholds are those of
 * conf/astro-alerts.yml, so that the page and the pager say the same.  An
 * alarm is shown sooner than somebody is woken: who looks, looks now.
 *
 * No page, no clock: all() is a function of what it is given.
 */

const MIN = 60000;

/* by how much a counter has risen in that time; a restart begins at 0 */
function rise(figures, value, ms) {
    const last = figures.at(-1);
    let n = 0;

    for (let i = figures.length - 1; i > 0; i--) {
        if (figures[i - 1].at < last.at - ms) break;
        n += Math.max(0, value(figures[i]) - value(figures[i - 1]));
    }
    return n;
}

/* it has been so for that long, or ever since somebody looked */
function holds(figures, is, ms) {
    const last = figures.at(-1);

    for (let i = figures.length - 1; i >= 0; i--) {
        if (!is(figures[i])) return false;
        if (figures[i].at <= last.at - ms) return true;
    }
    return false;
}

/* the most connections that there were with as many workers */
const most = (figures, value) => Math.max(...figures.filter(
    f => f.host.workers.length == figures.at(-1).host.workers.length)
    .map(value));

/* name, tile that turns bad, does it page, what is so: a number, or false */
const ROWS = [
    ['pg', 'pg', true, ({host}) => host.pg_up == 0],
    ['hosts', 'nodes', true, (f, all) => rise(
        all, x => x.host.counts.nodes_lost, 5 * MIN)],
    ['unpaid', 'sessions', true, (f, all) => rise(
        all, x => x.host.counts.unpaid, 2 * MIN) > 120],
    ['billers', 'billers', true, (f, all) => f.host.redis_up > 0
        && holds(all, x => !x.billing, 10000)],
    ['shards', 'billers', true, ({billing: b}, all) => b?.shards_free > 0
        && holds(all, x => x.billing?.shards_free > 0, 15000)
        && b.shards_free],
    ['late', 'lag', true, ({billing: b}) => b?.tick_lag_p99_ms > 1000
        && b.tick_lag_p99_ms],
    ['billerpg', 'billers', true, ({billing: b}) => b && b.pg_up !== null
        && b.pg_up < 2 * b.workers],
    ['inboxold', 'inbox', true, ({billing: b}) => b?.inbox_age_s > 60
        && b.inbox_age_s],
    ['redis', 'redis', false, ({host}) => host.redis_up == 0],
    ['pgpart', 'pg', false, ({host}, all) => host.pg_up > 0
        && holds(all, x => x.host.pg_up < most(all, y => y.host.pg_up), 6000)],
    ['redispart', 'redis', false, ({host}, all) => host.redis_up > 0
        && holds(all, x => x.host.redis_up
                           < most(all, y => y.host.redis_up), 6000)],
    ['billerredis', 'redis', false, ({billing: b, host}) => b
        && host.redis_up > 0 && b.redis_up !== null
        && b.redis_up < 2 * b.workers],
    ['workers', 'connections', false, (f, all) => rise(
        all, x => x.host.counts.seats_reclaimed, 15 * MIN)],
    ['seatless', 'connections', false, ({host}) => host.seatless],
    ['faults', 'requests', false, (f, all) => rise(
        all, x => x.host.counts.faults, 5 * MIN)],
    ['parked', 'parked', false, ({billing: b}) => b?.outbox_parked],
    ['outboxold', 'outbox', false, ({billing: b}) => b?.outbox_age_s > 3600
        && Math.floor(b.outbox_age_s / 60)],
    ['inbox', 'inbox', false, ({billing: b}) => b?.inbox_parked]
];


/*
 * [{name, tile, page, n}], the worst first, of the figures told until now,
 * the last of them last, and of what is known of the books, if it is.
 */
export function all(figures, books = null) {
    const last = figures.at(-1);
    const found = [];

    if (books?.audit?.violations > 0)
        found.push({name: 'audit', tile: 'books', page: true,
                    n: books.audit.violations, said: books.audit.said});

    for (const [name, tile, page, is] of last ? ROWS : []) {
        const n = is(last, figures);

        if (n) found.push({name, tile, page, n});
    }
    return found.sort((a, b) => b.page - a.page);
}

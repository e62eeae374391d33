"""Each alarm of conf/astro-alerts.yml fires when it is to, and not otherwise,
as Prometheus' own promtool finds; and what is stopped is noticed by what it
says when it is asked."""

import json
import pathlib
import re
import subprocess

import pytest

RULES = pathlib.Path(__file__).resolve().parents[2] / 'conf/astro-alerts.yml'

# Values are Prometheus' notation for series, one each 15 s: "1x40" is 1 and
# forty more of it, "0+10x40" rises by 10.  Absent: nobody answers.
LES = ('0.1', '0.5', '1', '2.5', '30', '+Inf')


def histogram(name, rates, labels=''):
    """Each bucket (LES) rises by so much in 15 s."""
    return {f'{name}_bucket{{le="{le}",instance="a"{labels}}}': f'0+{n}x40'
            for le, n in zip(LES, rates)}


def one(name, fires, quiet, labels='instance="a"'):
    series = f'{name}{{{labels}}}'
    return {series: fires}, {series: quiet}


GOOD, LATE = (9, 99, 100, 100, 100, 100), (9, 9, 9, 50, 100, 100)
QUICK = (100,) * 6

# alert: series of a case that fires, series of one that does not
CASES = {
    'AstroGone': ({'astro_other': '1x40'}, {'astro_build_info': '1x40'}),
    'AstroNoDatabase': one('astro_pg_up', '0x40', '1x40'),
    'AstroNoRedis': one('astro_redis_up', '0x40', '0x10 2x30'),
    'AstroHostLost': one('astro_nodes_lost_total', '0x36 1x4', '1x40'),
    'AstroWorkersDie': one('astro_seats_reclaimed_total', '0x36 1x4', '7x40'),
    'AstroNoSeat': one('astro_seatless_workers', '1x40', '1x10 0x30'),
    'AstroStandsStill': (histogram('astro_loop_lag_seconds', LATE),
                         histogram('astro_loop_lag_seconds', QUICK)),
    'AstroAnswersSlow': (histogram('astro_http_request_seconds', LATE),
                         histogram('astro_http_request_seconds', GOOD)),
    'AstroDatabaseSlow': (histogram('astro_pg_call_seconds', LATE),
                          histogram('astro_pg_call_seconds', GOOD)),
    'AstroFaults': one('astro_errors_total', '0x36 1x4', '1x40',
                       'code="internal"'),
    'AstroUnpaid': one('astro_unpaid_total', '0+30x40', '0+1x40'),
    'AstroForgedWebhooks': one('astro_webhooks_total', '0+1x40', '9x40',
                               'outcome="forged"'),

    'AstroBillingNobodyMeters': one('astro_billing_shards_free', '1x40',
                                    '1x2 0x38'),
    'AstroBillingGone': ({'astro_other': '1x40'},
                         {'astro_billing_build_info': '1x40'}),
    'AstroBillingLate': (histogram('astro_billing_tick_lag_seconds', LATE),
                         histogram('astro_billing_tick_lag_seconds', GOOD)),
    'AstroBillingStuck': one('astro_billing_overdue_seconds', '11x40',
                             '10x40'),
    'AstroBillingNoDatabase': one('astro_billing_pg_up', '1x40', '2x40'),
    'AstroBillingNoRedis': one('astro_billing_redis_up', '1x40', '1x10 2x30'),
    'AstroBillingBatchesFail': one('astro_billing_batches_failed_total',
                                   '0x36 1x4', '1x40'),
    'AstroBillingAnswersLost': (
        {'astro_billing_batches_lost_total{instance="a"}': '0+1x40',
         'astro_billing_pg_up{instance="a"}': '2x40'},
        {'astro_billing_batches_lost_total{instance="a"}': '0+1x40',
         'astro_billing_pg_up{instance="a"}': '1x40'}),
    'AstroBillingFenced': one('astro_billing_fenced_total', '0x36 1x4',
                              '3x40'),
    'AstroBillingConflicts': (
        {'astro_billing_conflicts_total{status="stale"}': '0+12x40',
         'astro_billing_ticks_total{path="fast"}': '0+100x40'},
        {'astro_billing_conflicts_total{status="stale"}': '0+9x40',
         'astro_billing_ticks_total{path="fast"}': '0+100x40'}),
    'AstroBillingLeasesSlow': (
        histogram('astro_billing_lease_renewal_seconds', LATE),
        histogram('astro_billing_lease_renewal_seconds', GOOD)),
    'AstroBillingParked': one('astro_billing_outbox', '1x40', '0x40',
                              'state="parked"'),
    'AstroBillingOutboxOld': one('astro_billing_outbox_age_seconds',
                                 '3601x40', '3600x40'),
    'AstroBillingWebhooksParked': one('astro_billing_inbox', '1x40', '0x40',
                                      'state="parked"'),
    'AstroBillingWebhooksWait': one('astro_billing_inbox_age_seconds',
                                    '61x40', '60x40'),
    'AstroBillingErrors': one('astro_billing_log_lines_total', '0x36 1x4',
                              '1x40', 'level="error"'),
    'AstroBillingConfiguration': one('astro_billing_reloads_total',
                                     '0x36 1x4', '1x40',
                                     'outcome="refused"'),
}


def names():
    return re.findall(r'^ +- alert: (\w+)$', RULES.read_text(), re.M)


def metrics(series):
    return {re.match(r'\w+', one).group() for one in series}


def worlds(cases):
    """Cases that speak of different metrics are one world: each world costs
    promtool a database of its own."""
    made = []
    for case in cases:
        for world in made:
            if not any(metrics(case[1]) & metrics(other[1])
                       for other in world):
                world.append(case)
                break
        else:
            made.append([case])
    return made


def judge(tmp_path, cases):
    """cases: [(alert, series, whether it fires)], each after ten minutes."""
    tests = [{
        'interval': '15s',
        'input_series': [{'series': s, 'values': v} for _, series, _ in world
                         for s, v in series.items()],
        'promql_expr_test': [{
            'expr': f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
                    ' or vector(0)',
            'eval_time': '10m',
            'exp_samples': [{'labels': '{}', 'value': int(fires)}]}
            for alert, _, fires in world]}
        for world in worlds(cases)]
    file = tmp_path / 'test.yml'
    # JSON is YAML
    file.write_text(json.dumps({'rule_files': [str(RULES)], 'tests': tests,
                                'evaluation_interval': '15s'}))
    done = subprocess.run(['promtool', 'test', 'rules', str(file)],
                          capture_output=True, text=True, timeout=120,
                          check=False)
    return done.returncode, done.stdout + done.stderr


def test_n17_each_rule_has_its_cases():
    assert len(names()) == len(set(names()))
    assert set(names()) == set(CASES)


def test_n17_rules_are_well_formed():
    subprocess.run(['promtool', 'check', 'rules', str(RULES)], check=True)


@pytest.mark.parametrize('fires', [True, False])
def test_n17_each_rule_fires_and_is_quiet(tmp_path, fires):
    code, said = judge(tmp_path, [(name, case[not fires], fires)
                                  for name, case in CASES.items()])
    assert code == 0, said


def test_n17_a_rule_that_is_wrong_is_seen(tmp_path):
    code, said = judge(tmp_path, [
        ('AstroNoDatabase', CASES['AstroNoDatabase'][1], True)])
    assert code != 0 and 'FAILED' in said

"""The manuals name everything there is, and nothing that is not."""

import os
import re
import subprocess

import pytest

from astro.stack import REPO
from billing_fixture import BINARY as WORKER


def text(*path):
    with open(os.path.join(REPO, *path), encoding='utf-8') as f:
        return f.read()


DIRECTIVES = sorted(set(re.findall(
    r'"(astro_\w+)"', text('ngx_astro_module', 'ngx_astro_module.c'))))
METRICS = re.findall(r'\b[XLFHGM]\(\w+, "(\w+)"',
                     text('ngx_astro_module', 'ngx_astro_counters.h'))
TYPES = re.findall(r'ngx_string\("(\w+)"\)',
                   text('ngx_astro_module', 'ngx_astro_protocol.c'))


def settings():
    """What the program's help says: name -> (start only, default, range)."""
    said = subprocess.run([WORKER, '--help'], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return {name: (bool(star.strip()), default.strip(), span)
            for star, name, default, span in
            re.findall(r'^  ([ *]) (\w+) = (.*?)  \((.*)\)$', said, re.M)}


def commands():
    said = subprocess.run([WORKER, '--help'], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return re.findall(r'^  (\w+)\s+\S', said.split('Settings')[0], re.M)


def worker_metrics():
    """Names as they are told, without astro_billing_."""
    header = text('billing_worker', 'metrics.h')
    counters = {f'{name}_total' for name in
                re.findall(r'\bC\(\w+, "(\w+)"', header)}
    histograms = {name + ('_seconds' if unit == 'SECONDS' else '')
                  for name, unit in
                  re.findall(r'\bH\(\w+, "(\w+)", (\w+)', header)}
    gauges = set(re.findall(r'\{ "(\w+)", "[^\n]*"?gauge',
                            text('billing_worker', 'metrics.c')))
    gauges |= set(re.findall(r'\{ "(\w+)", "[^\n]*gauge',
                             text('billing_worker', 'gauges.c')))
    return counters | histograms | gauges | {'build_info'}


def test_the_lists_are_not_empty():
    assert len(worker_metrics()) > 30
    assert len(DIRECTIVES) > 15 and len(settings()) > 5 and len(METRICS) > 30
    assert len(TYPES) > 10


@pytest.mark.parametrize('name', DIRECTIVES)
def test_a_directive(name):
    word = re.compile(rf'\b{name}\b')
    assert word.search(text('ngx_astro_module', 'README.md'))
    assert word.search(text('conf', 'nginx.conf.in'))
    assert word.search(text('conf', 'astro.conf'))


def test_settings_are_told_alike():
    """By the program, by the manual's table and by the commented file."""
    said = settings()
    rows = {}

    for line in text('billing_worker', 'README.md').splitlines():
        row = re.match(r'\| `(\w+)` \| (.*?) \| (.*?) \| (.*) \|$', line)
        if row and row.group(1) in said:
            rows[row.group(1)] = row.groups()[1:]

    file = dict(re.findall(r'^(\w+) = ?(.*)$',
                           text('conf', 'billing_worker.conf'), re.M))

    assert rows.keys() == said.keys()
    assert file.keys() == said.keys()

    for name, (start, default, span) in said.items():
        unit, value, words = rows[name]

        if re.search(r'\d-\d', span):
            assert unit.replace('`', '').startswith(span), name

        if name not in ('pg', 'redis'):
            assert value.strip('`') == (default or 'empty'), name
            assert file[name].strip() == default, name

        assert words.endswith('*') == start, f'{name}: the * of START'


def test_every_command_is_in_the_manual():
    assert len(commands()) >= 2

    for name in commands():
        assert f'billing_worker {name}' in text('billing_worker', 'README.md')


@pytest.mark.parametrize('name', TYPES)
def test_a_type(name):
    assert name in text('ngx_astro_module', 'README.md')


@pytest.mark.parametrize('file', ['nginx.conf.in', 'astro.conf'])
def test_no_directive_that_is_not(file):
    used = set(re.findall(r'^\s*(?:# )?(astro_\w+) ', text('conf', file),
                          re.M))
    assert used - set(DIRECTIVES) == set()


def test_metrics_that_operating_names():
    served = {f'astro_{m}' for m in METRICS}
    served |= {f'astro_{m}_total' for m in METRICS}
    served |= {f'astro_{m}' for m in
               re.findall(r'ngx_astro_metrics_gauge\(t, "(\w+)"',
                          text('ngx_astro_module', 'ngx_astro_metrics.c'))}
    served |= {f'astro_{m}_bucket' for m in METRICS}
    named = set(re.findall(r'`(astro_\w+)`', text('conf', 'README.md')))
    served |= {f'astro_billing_{m}' for m in worker_metrics()}
    named -= set(DIRECTIVES) | {'astro_web', 'astro_worker', 'astro_password'}
    assert {n for n in named if n not in served
            and n.replace('astro_', '') not in served} == set()


def test_the_workers_metrics_are_in_its_manual():
    manual = text('billing_worker', 'README.md').split('## Metrics')[1]
    named = set(re.findall(r'`(\w+)`', manual.split('\n## ')[0]))
    assert worker_metrics() - named == set()


def test_alarms_are_about_what_there_is():
    """The rules are well formed, and the manual explains what each watches."""
    rules = os.path.join(REPO, 'conf', 'astro-alerts.yml')
    subprocess.run(['promtool', 'check', 'rules', rules], check=True,
                   stdout=subprocess.PIPE)
    named = {re.sub('_bucket$', '', name) for name in
             re.findall(r'astro_billing_\w+', text('conf', 'astro-alerts.yml'))}
    assert len(named) > 8
    assert named - {f'astro_billing_{m}' for m in worker_metrics()} == set()

    for name in named - {'astro_billing_build_info'}:
        assert f'`{name}`' in text('conf', 'README.md'), name


def test_every_target_is_in_the_help():
    targets = set(re.findall(r'^([a-z]+):', text('Makefile'), re.M))
    said = subprocess.run(['make', '-s', 'help'], cwd=REPO, check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    assert {t for t in targets - {'all', 'module', 'help'}
            if f'make {t} ' not in said} == set()


def test_every_file_that_the_manuals_name_is_there():
    for folder in ('', 'conf', 'scripts', 't', 'ngx_astro_module', 'sql',
                   'billing_worker'):
        for name in re.findall(r'`((?:[\w.-]+/)*[a-z][\w-]*\.(?:sh|py|c|h|conf|in|'
                               r'service|mk|md|yml))`',
                               text(folder, 'README.md')):
            if name in ('nginx.conf', 'pg_hba.conf', 'postgresql.conf'):
                continue
            places = [os.path.join(REPO, folder, name),
                      os.path.join(REPO, name)]
            assert any(os.path.exists(p) for p in places), (folder, name)

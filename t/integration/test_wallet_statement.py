"""A statement over REST is what the ledger says, and a year of it is there at
once."""

import csv
import io
import time
import uuid

from astro.consult import Consultation


def statement(stack, who, since='2026-01-01', until='2026-12-31'):
    return stack.rest.get(f'/api/wallet/statement?from={since}&to={until}',
                          token=who.token)


def year():
    now = time.gmtime()
    return f'{now.tm_year}-01-01', f'{now.tm_year}-12-31'


def test_h1_a_statement_is_the_ledger(stack):
    """Opening and all movements are what the wallet has, for both parties;
    nothing of anybody else."""
    talk = Consultation(stack).active()
    talk.end()
    stack.rest.post(f'/api/advisors/{talk.advisor.id}/gifts',
                    {'amount': 77, 'cid': str(uuid.uuid4())},
                    talk.client.token)
    for who, gift in ((talk.client, -77), (talk.advisor, 77 - 77 * 3 // 10)):
        said = statement(stack, who, *year()).json
        money = stack.rest.get('/api/wallet', token=who.token).json
        assert said['opening'] == 0
        assert said['closing'] == money['balance']['amount']
        assert said['opening'] + sum(m['amount'] for m in said['movements']) \
            == said['closing']
        assert [m['balance'] for m in said['movements']][-1] \
            == said['closing']
        assert gift in [m['amount'] for m in said['movements']
                        if m['kind'] == 'gift']
        # and as a file
        since, until = year()
        answer = stack.rest.get(f'/api/wallet/statement?from={since}'
                                f'&to={until}&format=csv', token=who.token)
        assert answer.headers['Content-Type'] == 'text/csv; charset=utf-8'
        first, *rows, last = csv.DictReader(
            io.StringIO(answer.body.decode(), newline=''))
        assert [{k: r[k] for k in m} for r, m in zip(
            rows, said['movements'], strict=True)] == [
            {k: '' if v is None else str(v) for k, v in m.items()}
            for m in said['movements']]
        assert (first['part'], first['balance'], last['part'],
                last['balance']) == ('opening', '0', 'closing',
                                     str(said['closing']))
        before = statement(stack, who, '2020-01-01', '2020-12-31').json
        assert (before['opening'], before['closing'], before['movements']) \
            == (0, 0, [])
    for since, until in (('2026-01-02', '2026-01-01'),
                         ('2025-01-01', '2026-01-02'), ('x', '2026-01-01')):
        assert statement(stack, talk.client, since, until).code \
            == 'bad_request'
    assert statement(stack, stack.person('admin')).status == 403


def test_h1_a_statement_of_a_year_in_a_second(stack):
    """2000 movements of one wallet."""
    client = stack.person('client')
    with stack.db() as db:
        db.execute("SELECT count(*) FROM generate_series(1, 2000) x,"
                   " LATERAL billing.topup(%s, 100, %s || x)",
                   (client.number, uuid.uuid4().hex))
    statement(stack, client, *year())
    began = time.monotonic()
    said = statement(stack, client, *year()).json
    took = time.monotonic() - began
    assert len(said['movements']) >= 2000
    print(f'{took:.3f} s')
    assert took < 3

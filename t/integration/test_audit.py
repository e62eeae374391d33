"""billing_worker audit: silent on books that are right, precise on others.

Each test breaks one thing by hand, as the database's superuser, and mends it
again: the audit must name it.
"""

import pytest

from astro.consult import Consultation


@pytest.fixture
def over(stack):
    """A consultation that is over and settled."""
    talk = Consultation(stack, balance=1500, rates=(60000, None, None))
    talk.active()
    talk.ended(timeout=20)
    talk.assert_settled()
    return talk


def audited(stack, change, undo, names):
    code, said = stack.audit()
    assert code == 0, said
    with stack.db() as db:
        db.execute('SET session_replication_role = replica')
        db.execute(*change)
        try:
            code, said = stack.audit()
        finally:
            db.execute(*undo)
    assert code == 1, said
    assert any(name in said for name in names), said
    code, said = stack.audit()
    assert code == 0, said


def test_a_transfer_altered(stack, over):
    with stack.db() as db:
        number, amount = db.execute(
            'SELECT id, amount FROM ledger.transfer WHERE session_id = %s'
            ' ORDER BY charge_no LIMIT 1', (over.number,)).fetchone()
    audited(stack,
            ('UPDATE ledger.transfer SET amount = amount + 1 WHERE id = %s',
             (number,)),
            ('UPDATE ledger.transfer SET amount = %s WHERE id = %s',
             (amount, number)),
            [f'transfer {number}', f'transfer={number}', f'"transfer":{number}',
             f't_{number}', f'session {over.number}', over.id])


def test_a_fee_altered(stack, over):
    with stack.db() as db:
        number, fee = db.execute(
            'SELECT id, fee FROM ledger.transfer WHERE session_id = %s'
            ' ORDER BY charge_no LIMIT 1', (over.number,)).fetchone()
    audited(stack,
            ('UPDATE ledger.transfer SET fee = fee - 1 WHERE id = %s',
             (number,)),
            ('UPDATE ledger.transfer SET fee = %s WHERE id = %s',
             (fee, number)), [f'{number}', over.id])


def test_a_balance_altered(stack, over):
    number = over.client.number
    with stack.db() as db:
        wallet, = db.execute('SELECT id FROM ledger.wallet WHERE owner_id = %s',
                             (number,)).fetchone()
    audited(stack,
            ('UPDATE ledger.wallet SET balance = balance + 5 WHERE id = %s',
             (wallet,)),
            ('UPDATE ledger.wallet SET balance = balance - 5 WHERE id = %s',
             (wallet,)), [f'wallet {wallet}', f'{wallet}'])


def test_an_interval_altered(stack, over):
    """Time that nobody was there for."""
    with stack.db() as db:
        number, close = db.execute(
            'SELECT id, close_life_ms FROM consult.interval'
            ' WHERE session_id = %s AND account_id = %s LIMIT 1',
            (over.number, over.client.number)).fetchone()
    audited(stack,
            ('UPDATE consult.interval SET close_life_ms = open_life_ms'
             ' WHERE id = %s', (number,)),
            ('UPDATE consult.interval SET close_life_ms = %s WHERE id = %s',
             (close, number)), [over.id, f'session {over.number}'])


def test_while_it_runs(stack):
    """The audit is right also in the middle of sessions."""
    talk = Consultation(stack, rates=(60000, None, None)).active()
    for _ in range(5):
        talk.c.forget()
        talk.c.expect('billing_tick')
        code, said = stack.audit()
        assert code == 0, said
    talk.end()
    assert stack.audit()[0] == 0


def test_it_cannot_run(stack):
    """No database: neither right nor wrong."""
    stack.stop('pg')
    try:
        code, _ = stack.audit()
        assert code == 2
    finally:
        stack.start('pg')


def test_operators_see_what_it_came_to(stack, over):
    """The last verdict, and the first violation of it, as it was said."""
    admin = stack.person('admin')

    def verdict():
        answer = stack.rest.get('/api/admin/books', admin.token)
        assert answer.status == 200, answer
        return answer.json['audit']

    assert stack.audit()[0] == 0
    well = verdict()
    assert well['violations'] == 0 and well['said'] is None
    assert well['sessions'] >= 1 and well['transfers'] >= 1

    with stack.db() as db:
        db.execute('SET session_replication_role = replica')
        number = db.execute('SELECT min(id) FROM ledger.transfer WHERE'
                            ' session_id = %s', (over.number,)).fetchone()[0]
        change = 'UPDATE ledger.transfer SET amount = amount + %s WHERE id = %s'
        db.execute(change, (1, number))
        try:
            assert stack.audit()[0] == 1
        finally:
            db.execute(change, (-1, number))
    wrong = verdict()
    assert wrong['violations'] >= 1 and wrong['at'] > well['at']
    assert f'session {over.number}' in wrong['said']
    assert stack.audit()[0] == 0 and verdict()['violations'] == 0

    client = stack.person()
    assert stack.rest.get('/api/admin/books', client.token).status == 403

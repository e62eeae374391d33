"""SQL alone: what is read of bodies and queries, and what is refused."""

import datetime
import json
import uuid

import psycopg
import pytest

from sql_fixture import sql, web      # noqa: F401


def read(sql, call, doc):
    return sql.one(f"SELECT consult.{call}", json.dumps(doc))


def utc(*args):
    return datetime.datetime(*args, tzinfo=datetime.timezone.utc)


U = "123e4567-e89b-12d3-a456-426614174000"

GOOD = [
    ("f_text(%s, 'k', 1, 3)", {"k": "añ✓"}, "añ✓"),
    ("f_text(%s, 'k', 1, 3, false)", {"k": None}, None),
    ("f_text(%s, 'k', 1, 3, false)", {}, None),
    ("f_int(%s, 'k', -5, 5)", {"k": -5}, -5),
    ("f_int(%s, 'k', 0, 999999999999999999)", {"k": 10 ** 18 - 1},
     10 ** 18 - 1),
    ("f_int(%s, 'k', 1, 5, false)", {}, None),
    ("q_int(%s, 'k', 1, 5)", {"k": "5"}, 5),
    ("q_int(%s, 'k', 1, 5)", {}, None),
    ("f_number(%s, 'k', -90, 90)::float", {"k": -89.25}, -89.25),
    ("f_number(%s, 'k', -90, 90)::float", {"k": 1e-7}, 1e-7),
    ("q_number(%s, 'k', -90, 90)::float", {"k": "12.5"}, 12.5),
    ("f_bool(%s, 'k')", {"k": False}, False),
    ("f_bool(%s, 'k', false)", {}, None),
    ("q_bool(%s, 'k')", {"k": "true"}, True),
    ("q_bool(%s, 'k')", {"k": "false"}, False),
    ("q_bool(%s, 'k')", {}, None),
    ("f_enum(%s, 'k', '{a,b}')", {"k": "b"}, "b"),
    ("f_uuid(%s, 'k')", {"k": U.upper()}, uuid.UUID(U)),
    ("f_id(%s, 'k', 'u')", {"k": "u_5"}, 5),
    ("f_id(%s, 'k', 'u')", {"k": f"u_{2 ** 56 - 1}"}, 2 ** 56 - 1),
    ("f_list(%s, 'k', 2)", {"k": [1, None]}, [1, None]),
    ("f_texts(%s, 'k', 2, 1, 2)", {"k": ["a", "bb"]}, ["a", "bb"]),
    ("f_texts(%s, 'k', 2, 1, 2)", {"k": []}, []),
    ("f_object(%s, 'k')", {"k": {"a": 1}}, {"a": 1}),
    ("f_date(%s, 'k')", {"k": "2024-02-29"}, datetime.date(2024, 2, 29)),
    ("f_time(%s, 'k')", {"k": "2026-01-31T10:00:00.25+05:30"},
     utc(2026, 1, 31, 4, 30, 0, 250000)),
    ("f_time(%s, 'k')", {"k": "2026-01-31t10:00:00z"}, utc(2026, 1, 31, 10)),
    ("f_time(%s, 'k')", {"k": 1763690000123},
     utc(2025, 11, 21, 1, 53, 20, 123000)),
    ("f_time(%s, 'k')", {"k": "1763690000000"}, utc(2025, 11, 21, 1, 53, 20)),
]

BAD = [
    ("f_text(%s, 'k', 1, 3)", ["", "abcd", 5, True, [], {}, None]),
    ("f_text(%s, 'k', 1, 3, false)", ["", "abcd", 5]),
    ("f_int(%s, 'k', -5, 5)", [6, -6, 1.0, 1e3, "5", True, [], {}, None,
                               10 ** 18, 10 ** 40, 1e300]),
    ("q_int(%s, 'k', 1, 5)", ["", "6", "0", "1.0", "+1", " 1", "9" * 30]),
    ("f_number(%s, 'k', -90, 90)", [90.1, "5", 1e300, 1e-300, True, None,
                                    float("1" * 39)]),
    ("q_number(%s, 'k', -90, 90)", ["90.1", "NaN", "Infinity", "", "1e1",
                                    "0" * 50]),
    ("f_bool(%s, 'k')", ["true", 1, 0, None, []]),
    ("q_bool(%s, 'k')", ["1", "TRUE", ""]),
    ("f_enum(%s, 'k', '{a,b}')", ["c", "", 1, None, ["a"], "A"]),
    ("f_uuid(%s, 'k')", [U[:-1], U + "0", "{" + U + "}", 5, None, ""]),
    ("f_id(%s, 'k', 'u')", ["u_0", "u_", "s_5", "u_05", "u_-1", 5, "u_5 ",
                            f"u_{2 ** 56}", "u_" + "9" * 17, None]),
    ("f_list(%s, 'k', 2)", [[1, 2, 3], {}, "[]", None]),
    ("f_object(%s, 'k')", [[], "{}", 1, None]),
    ("f_date(%s, 'k')", ["2023-02-29", "0000-01-01", "2024-13-01", "24-01-01",
                         "2024-1-1", 20240101, None, "2024-01-01 "]),
    ("f_time(%s, 'k')", ["2026-01-31", "2026-01-31T10:00:00", -1, 1.5, "",
                         "2026-02-30T10:00:00Z", "2026-01-31T25:00:00Z",
                         "1969-12-31T23:59:59Z", "0000-01-01T00:00:00Z",
                         "2026-01-31T10:00:00+99:00", 10 ** 15, "now",
                         "infinity", None, True]),
]


@pytest.mark.parametrize("call, doc, value", GOOD, ids=repr)
def test_read(sql, call, doc, value):
    assert read(sql, call, doc) == value


@pytest.mark.parametrize("call, values", BAD, ids=[c for c, _ in BAD])
def test_a10_refused_with_the_field(sql, call, values):
    for value in values:
        with pytest.raises(psycopg.Error) as error:
            read(sql, call, {"k": value})
        diag = error.value.diag
        assert (diag.sqlstate, diag.message_detail, diag.message_hint) \
            == ("AS400", "bad_request", "/k"), (value, diag.message_primary)


def test_a_field_within_objects_and_lists(sql):
    with pytest.raises(psycopg.Error) as error:
        read(sql, "f_int(%s, 'k', 1, 5, true, '/a/b')", {"k": 9})
    assert error.value.diag.message_hint == "/a/b/k"
    for bad in (["a", 5], ["a", ""], ["a", None]):
        with pytest.raises(psycopg.Error) as error:
            read(sql, "f_texts(%s, 'k', 5, 1, 2)", {"k": bad})
        assert error.value.diag.message_hint == "/k/1"


@pytest.mark.parametrize("given, ok", [
    (None, True), ("*", True), ("v2", True), ("v1,v2", True), ("", False),
    ("v1", False), ("v", False)])
def test_f_match(sql, given, ok):
    if ok:
        sql.admin("SELECT consult.f_match(%s, 'v2')", given)
        return
    with pytest.raises(psycopg.Error) as error:
        sql.admin("SELECT consult.f_match(%s, 'v2')", given)
    assert error.value.diag.message_detail == "precondition_failed"


def test_these_are_not_for_the_web(sql, web):
    for call in ("fail('x', 'y')", "f_int('{}', 'k', 1, 2)",
                 "id_of('u', 'u_1')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            web.execute(f"SELECT consult.{call}")

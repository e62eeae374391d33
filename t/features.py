#!/usr/bin/python3
#
# Copyright (C) The Astro authors
#
"""Prints which capability (features.txt) is shown by which tests, and how they
ended, from the JUnit files of a run.

    t/features.py FILE.xml...

Exit status 1 if a test that shows one failed, or a test is named after an id
that is not in the list.
"""

import collections
import pathlib
import re
import sys
import xml.etree.ElementTree as tree

LIST = pathlib.Path(__file__).with_name('features.txt')
LINE = re.compile(r'([A-Z]\d+)\s+(\d|later)\s+([^=]+?)\s*(?:=\s*(.*))?$')
SAYS = re.compile(r'test_([a-z]\d+)_')


def features():
    for line in LIST.read_text().splitlines():
        if line and not line.startswith('#'):
            name, tier, title, tests = LINE.match(line).groups()
            yield name, tier, title, (tests or '').split()


def results(files):
    """test -> how it ended; a worse end wins, but what was tried again is
    what it was the second time."""
    ends = {}
    for file in sorted(files, key=lambda f: '-first' not in f):
        try:
            cases = list(tree.parse(file).getroot().iter('testcase'))
        except (OSError, tree.ParseError):
            continue
        for case in cases:
            what = {child.tag for child in case}
            ends[case.get('classname'), case.get('name')] = (
                'failed' if what & {'failure', 'error'} else
                'skipped' if 'skipped' in what else 'passed')
    worst = {}
    order = ['skipped', 'passed', 'failed']
    for (_, name), end in ends.items():
        name = name.split('[')[0]
        worst[name] = max(worst.get(name, end), end, key=order.index)
    return worst


def main(files):
    ends = results(files)
    known = list(features())
    ids = {name for name, *_ in known}
    shown = collections.defaultdict(list)
    bad = 0

    for test in sorted(ends):
        said = SAYS.match(test)
        if said and said[1].upper() in ids:
            shown[said[1].upper()].append(test)
    for name, _, _, tests in known:
        shown[name] += [t for t in tests if t in ends]

    for name, tier, title, _ in known:
        tests = shown[name]
        outcome = {ends[test] for test in tests}
        result = ('FAILED' if 'failed' in outcome else
                  'passed' if 'passed' in outcome else
                  'later' if tier == 'later' or tier == '2' else 'no test')
        bad += result == 'FAILED'
        print(f'{name:4} {result:8} {title[:44]:44}  '
              + (tests[0] + (f' and {len(tests) - 1} more'
                             if len(tests) > 1 else '') if tests else ''))
    return bad


if __name__ == '__main__':
    if len(sys.argv) < 2 or sys.argv[1].startswith('-'):
        sys.exit(__doc__)
    sys.exit(1 if main(sys.argv[1:]) else 0)

"""Medians, ratios and the tables they are printed in."""

from statistics import median

from .common import say


def short(value):
    """A figure as people read it: 1.23 M, 145 k, 12.3, 0.42."""
    if value is None:
        return '-'
    for size, unit in ((1e6, ' M'), (1e4, ' k')):
        if abs(value) >= size:
            scaled = value / (1e6 if unit == ' M' else 1e3)
            return f'{scaled:.{0 if abs(scaled) >= 100 else 1}f}{unit}'
    if abs(value) >= 100 or value == 0:
        return f'{value:.0f}'
    return f'{value:.{1 if abs(value) >= 10 else 2}f}'


class Series:
    """The results of one thing that was measured several times."""

    def __init__(self, results=()):
        self.results = list(results)
        self.why = None             # not measured, because

    def add(self, result):
        self.results.append(result)

    def values(self, key):
        return [r[key] for r in self.results if r.get(key) is not None]

    def middle(self, key):
        values = self.values(key)
        return median(values) if values else None

    def total(self, key):
        values = self.values(key)
        return sum(values) if values else None

    def spread(self, key):
        """The median, with the least and the most of several."""
        values = self.values(key)
        if not values:
            return '-'
        text = short(median(values))
        if len(values) > 1:
            text += f' ({short(min(values))} - {short(max(values))})'
        return text


def ratio(ours, other, key):
    """The median, over the rounds, of ours / other: a round's two figures were
    taken one after the other, the machine's moods are in both."""
    pairs = [(a.get(key), b.get(key))
             for a, b in zip(ours.results, other.results)]
    found = [a / b for a, b in pairs if a is not None and b]
    return median(found) if found else None


def show(title, columns, rows):
    """rows: lists of texts, or a text for a whole line."""
    widths = [len(c) for c in columns]
    for row in rows:
        if not isinstance(row, str):
            widths = [max(w, len(cell)) for w, cell in zip(widths, row)]

    def line(cells):
        first = cells[0].ljust(widths[0])
        rest = (c.rjust(w) for c, w in zip(cells[1:], widths[1:]))
        return '  ' + '   '.join((first, *rest)).rstrip()

    say()
    say(title)
    say(line(columns))
    for row in rows:
        say(f'  {row}' if isinstance(row, str) else line(row))


def failures(series):
    """Lines for what was not measured."""
    return [f'{name}: not measured: {s.why}'
            for name, s in series.items() if s.why]


class Goals:
    """What the project wants of itself, and whether a run met it."""

    def __init__(self):
        self.rows = []

    def at_least(self, what, value, goal):
        self._add(what, value, goal, '>=')

    def at_most(self, what, value, goal):
        self._add(what, value, goal, '<=')

    def _add(self, what, value, goal, sign):
        if value is None:
            verdict = 'not measured'
        else:
            met = value >= goal if sign == '>=' else value <= goal
            verdict = 'met' if met else 'NOT met'
        self.rows.append([what, f'{sign} {short(goal)}', short(value),
                          verdict])

    def show(self):
        if self.rows:
            show('Goals', ['figure', 'goal', 'now', ''], self.rows)

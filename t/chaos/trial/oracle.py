"""What the books must say when everything is over: from BILLING.md, in exact
fractions, from what gateways have seen and what came in from outside.  Shares
no formula with the worker, and asks for more than its audit does.
"""

from fractions import Fraction
from math import ceil, floor

# that the database went away, or a lock was waited for, is part of the trial
ALARMS = ("contradict", "make no sense", "cannot read the facts",
          "out of memory", "Sanitizer", "runtime error")


def alarming(line):
    return line["level"] == "error" and any(a in line["msg"] for a in ALARMS)


def judge(life):
    wrong = list(Books(life).everything())
    status, said = life.audit()

    if status != 0:
        wrong.append(f"audit says {status}: {said}")

    return wrong


def union(spans):
    """Disjoint, in order."""
    found = []
    for since, until in sorted(s for s in spans if s[0] < s[1]):
        if found and since <= found[-1][1]:
            found[-1][1] = max(found[-1][1], until)
        else:
            found.append([since, until])
    return found


def cost(s, parts):
    """parts: (rate, ms) of each segment.  A segment costs floor(rate * ms /
    60000), or the rate for each minute begun; the first free_ms nothing;
    anything beyond them min_minor at least, all together max_minor at most."""
    free, total, beyond = s["free_ms"], 0, False

    for rate, ms in parts:
        taken = min(free, ms)
        free, ms = free - taken, ms - taken
        beyond = beyond or ms > 0
        minutes = Fraction(ms, 60000)
        total += rate * ceil(minutes) if s["whole_minute"] \
            else floor(rate * minutes)

    if beyond:
        total = max(total, s["min_minor"])
    if s["max_minor"] is not None:
        total = min(total, s["max_minor"])
    return total


def both(one, other, cut):
    """When both were there before cut."""
    return union([max(a, c), min(b, d, cut)]
                 for a, b in union(one) for c, d in union(other))


def divide(spans, billed, rate, segments):
    """The first billed ms of them, in parts: (rate, ms) of each segment."""
    bounds = [-2**62, *(g["from_ms"] for g in segments), 2**62]
    rates = [rate, *(g["rate_minor"] for g in segments)]
    parts = []

    for i, its_rate in enumerate(rates):
        ms = sum(max(0, min(b, bounds[i + 1]) - max(a, bounds[i]))
                 for a, b in spans)
        ms = min(ms, billed)
        billed -= ms
        parts.append((its_rate, ms))

    # more than there was is said to be wrong elsewhere
    return parts if billed == 0 else [*parts, (rates[-1], billed)]


def clip(spans, within):
    return [[max(a, c), min(b, d)] for a, b in union(spans)
            for c, d in union(within) if max(a, c) < min(b, d)]


def measure(one, other, cut):
    """How long both were there before cut."""
    total = 0
    for a, b in union(one):
        for c, d in union(other):
            total += max(0, min(b, d, cut) - max(a, c))
    return total


class Books:
    def __init__(self, life):
        self.life = life

    def dicts(self, query, *args):
        with self.life.lock:
            cur = self.life.conn.execute(query, args)
            names = [column.name for column in cur.description]
            return [dict(zip(names, row)) for row in cur.fetchall()]

    def everything(self):
        self.life.sql("SELECT 1")           # connected again
        self.sessions = self.dicts("SELECT * FROM consult.session"
                                   " ORDER BY id")
        self.intervals, self.transfers, self.ends = {}, {}, {}
        self.relayed = 0
        self.shown = {}

        for row in self.dicts(
                "SELECT i.*, g.started_ms, g.life_ms, g.closed FROM"
                " consult.interval i JOIN consult.gateway g ON g.id ="
                " i.gateway_id ORDER BY i.id"):
            self.intervals.setdefault(row["session_id"], []).append(row)

        self.segments = {}

        for row in self.dicts("SELECT * FROM consult.segment ORDER BY"
                              " session_id, no"):
            self.segments.setdefault(row["session_id"], []).append(row)

        for row in self.dicts("SELECT * FROM ledger.transfer WHERE session_id"
                              " IS NOT NULL ORDER BY session_id, charge_no"):
            self.transfers.setdefault(row["session_id"], []).append(row)

        for row in self.dicts("SELECT payload FROM consult.event"
                              " WHERE type = 'session_end'"):
            self.ends.setdefault(row["payload"]["session"],
                                 []).append(row["payload"])

        if not self.sessions:
            yield "there is no session: nothing was tried"

        for s in self.sessions:
            wrong = list(self.session(s))

            for what in wrong:
                yield f"session {s['id']}: {what}"

            if wrong:
                yield self.shown.get(s["id"], "")

        yield from self.wallets()

        if not self.life.gateways:
            return              # of real nginx, which keeps no diary

        if self.relayed == 0:
            yield "nobody was served: nothing was tried"
            yield from list(self.shown.values())[:3]

        yield from self.evidence()
        yield from self.told()
        yield from self.switched()

        if self.life.vendor:
            yield from self.payouts()

    def session(self, s):
        since = f"s_{s['id']}"
        rows = self.transfers.get(s["id"], [])
        billed = s["billed_ms"]

        if not s["settled"]:
            yield f"not settled, {s['state']}"
            return

        never = 2**62
        until = min(never if s["end_ms"] is None else s["end_ms"],
                    0 if s["paid_until_ms"] is None else s["paid_until_ms"])
        parts = divide(both(*self.there(s).values(), until), billed,
                       s["rate_minor"], self.segments.get(s["id"], []))
        charged = cost(s, parts)
        fee = floor(Fraction(charged * s["commission_bps"], 10000))

        if (s["charged"], s["fee"]) != (charged, fee):
            yield f"{billed} ms are charged {s['charged']}, of it a fee of" \
                  f" {s['fee']}; they cost {charged} and {fee}: {parts}"

        if sum(t["amount"] for t in rows) != charged:
            yield f"transfers of {sum(t['amount'] for t in rows)}"

        if sum(t["fee"] for t in rows) != fee:
            yield f"fees of {sum(t['fee'] for t in rows)} instead of {fee}"

        if [t["charge_no"] for t in rows] != list(range(1, len(rows) + 1)):
            yield f"charges {[t['charge_no'] for t in rows]}"

        if s["held"] != 0:
            yield f"holds {s['held']} still"

        ends = self.ends.get(since, [])

        if len(ends) != 1:
            yield f"{len(ends)} events session_end"
        elif (ends[0]["totals"]["billed_ms"], ends[0]["totals"]["charged"]) \
                != (billed, charged):
            yield f"said at the end: {ends[0]['totals']}"

        yield from self.time(s)

    def there(self, s):
        """When each of the two was there, in instants."""
        there = {s["client_id"]: [], s["advisor_id"]: []}

        for i in self.intervals.get(s["id"], []):
            until = i["close_life_ms"]
            if until is None:
                until = max(i["life_ms"], i["open_life_ms"])
            there[i["account_id"]].append(
                (i["started_ms"] + i["open_life_ms"],
                 i["started_ms"] + until))

        return there

    def time(self, s):
        """Nobody is charged for what is not proven; nothing is given away."""
        there = self.there(s)

        for i in self.intervals.get(s["id"], []):
            if i["close_life_ms"] is None and not i["closed"]:
                yield f"interval {i['id']} is open"

        never = 2**62
        end = never if s["end_ms"] is None else s["end_ms"]
        paid = s["paid_until_ms"]
        proven = 0 if paid is None else measure(*there.values(),
                                                min(end, paid))

        if s["billed_ms"] > proven:
            yield f"billed {s['billed_ms']} ms of {proven} that are proven"

        if s["billed_ms"] < proven:
            yield f"unfunded: {proven - s['billed_ms']} ms of {proven} were" \
                  f" given away, {s['reason']}"

        # what a gateway has relayed before it fell silent is its own loss
        served = {who: clip([span for g in self.life.gateways for span in
                             g.served.get((s["id"], who), [])], there[who])
                  for who in there}
        relayed = measure(*served.values(), end)

        if relayed > s["billed_ms"]:
            yield f"unfunded: relayed for {relayed} ms, billed" \
                  f" {s['billed_ms']} ms, {s['reason']}"

        self.relayed += relayed
        self.shown[s["id"]] = self.show(s, served)

        if s["max_ms"] is not None and s["billed_ms"] > s["max_ms"]:
            yield f"billed {s['billed_ms']} ms of at most {s['max_ms']}"

    def show(self, s, served):
        """Its time, in ms from the first interval on."""
        rows = self.intervals.get(s["id"], [])
        first = min((i["started_ms"] + i["open_life_ms"] for i in rows),
                    default=0)

        def at(ms):
            return None if ms is None else ms - first

        names = {s["client_id"]: "client", s["advisor_id"]: "advisor"}
        lines = [", ".join(f"{k} {at(s[k + '_ms'])}" for k in (
            "active", "paid_until", "end", "state")) + ", " + ", ".join(
                f"{k} {s[k]}" for k in ("reason", "rate_minor", "max_ms",
                                        "billed_ms", "charged", "ver"))]
        lines += [f"{names[i['account_id']]} at {i['gateway_id']}:"
                  f" {at(i['started_ms'] + i['open_life_ms'])} to"
                  f" {at(i['started_ms'] + (i['close_life_ms'] or 0))},"
                  f" {i['close_reason']}" for i in rows]
        lines += [f"{names[who]} was served {[(at(a), at(b)) for a, b in x]}"
                  for who, x in served.items()]
        lines += [f"charge {t['charge_no']}: {t['amount']} at {t['at']}"
                  for t in self.transfers.get(s["id"], [])]
        return "\n        ".join(["shown:", *lines])

    def wallets(self):
        spent, earned, paid = {}, {}, self.paid_out()

        for s in self.sessions:
            spent[s["client_id"]] = spent.get(s["client_id"], 0) \
                + s["charged"]
            earned[s["advisor_id"]] = earned.get(s["advisor_id"], 0) \
                + s["charged"] - s["fee"]

        # what is spent and then refunded is a debt: a wallet of its own
        for w in self.dicts(
                "SELECT owner_id AS who, sum(balance)::bigint AS balance,"
                " sum(held)::bigint AS held, min(balance) FILTER (WHERE kind"
                " <> 'receivable') AS least, bool_or(kind = 'client') AS"
                " client FROM ledger.wallet WHERE owner_id IS NOT NULL"
                " GROUP BY owner_id"):
            who = w["who"]
            want = self.life.funds.get(who, 0) - spent.get(who, 0) \
                if w["client"] else \
                earned.get(who, 0) + self.life.gifts.get(who, 0) \
                - paid.get(who, 0)

            if (w["balance"], w["held"]) != (want, 0) or w["least"] < 0:
                yield f"account {who} has {w['balance']}, {w['held']} of it" \
                      f" held, instead of {want}"

    def paid_out(self):
        """Whom the vendor has paid how much: by its own record."""
        paid = {}

        for t in self.life.vendor.books("transfer") if self.life.vendor \
                else []:
            who = int(t["destination"].removeprefix("acct_"))
            paid[who] = paid.get(who, 0) + t["amount"]

        return paid

    def payouts(self):
        """One transfer for each advisor, and none that we do not know."""
        theirs = self.life.vendor.books("transfer")
        ours = {row["id"]: row for row in self.dicts(
            "SELECT * FROM ledger.payout")}

        if not theirs:
            yield "nobody was paid: nothing was tried"

        if len({t["destination"] for t in theirs}) != len(theirs):
            yield f"{len(theirs)} transfers to" \
                  f" {len({t['destination'] for t in theirs})} advisors"

        paid = {int(t["metadata"]["payout"]): t for t in theirs}

        for number in paid.keys() | ours.keys():
            t, p = paid.get(number), ours.get(number)
            state = "failed" if t is None else "paid"

            if p is None or p["state"] != state or t is not None and (
                    p["amount"], p["destination"], p["vendor_id"]) != (
                    t["amount"], t["destination"], t["id"]):
                yield f"payout {number}: ours {p}, the vendor's {t}"

    def switched(self):
        """Each segment is what somebody asked for, at the rate and, but for
        what may have been billed already, at the instant."""
        asked = {}

        for g in self.life.gateways:
            for one in g.asked:
                asked.setdefault((one[0], one[2]), []).append(one)

        self.life.segments = sum(map(len, self.segments.values()))

        for s in self.sessions:
            last = {"from_ms": -2**62, "rate_minor": s["rate_minor"]}
            there = self.there(s).values()
            proven = min((max((b for _, b in x), default=-2**62)
                          for x in there))

            for g in self.segments.get(s["id"], []):
                fits = [one for one in asked.get((s["id"], g["service"]), [])
                        if one[3] <= g["from_ms"] <= max(
                            one[4], last["from_ms"], proven)
                        and (one[1] == s["client_id"]
                             or g["rate_minor"] <= last["rate_minor"])
                        and (one[5] is None or one[5][0] == 200)]

                if not fits or g["from_ms"] < last["from_ms"] or \
                        g["rate_minor"] != \
                        self.life.rates[s["advisor_id"]][g["service"]]:
                    yield f"session {s['id']}: nobody asked for {g}; after" \
                          f" {last}, {asked.get((s['id'], g['service']))}"

                last = g

            for one in (o for k, v in asked.items() if k[0] == s["id"]
                        for o in v if o[5] == (200, False)):
                if not any(g["service"] == one[2] and g["from_ms"] >= one[3]
                           for g in self.segments.get(s["id"], [])):
                    yield f"session {s['id']}: a switch was confirmed, and" \
                          f" is not there: {one}"

    def evidence(self):
        """What the database believes of presence, gateways have seen."""
        seen, orphans = {}, {}

        for g in self.life.gateways:
            seen.update(g.evidence)
            for lease, session, who, opened, ended in g.orphans:
                orphans[lease, session, who] = [opened, ended]

        for rows in self.intervals.values():
            for i in rows:
                known = seen.get(i["id"]) or orphans.get(
                    (i["gateway_id"], i["session_id"], i["account_id"]))

                if known is None:
                    yield f"interval {i['id']}: nobody has opened it"
                    continue

                opened = i["open_life_ms"]
                # clocks are apart: not before the last switch of the mode
                bounds = [g["from_ms"] - i["started_ms"] for g in
                          self.segments.get(i["session_id"], [])]

                if opened != known[0] and (opened < known[0]
                                           or opened not in bounds):
                    yield f"interval {i['id']} opened {opened}," \
                          f" not {known[0]}"

                until = i["close_life_ms"]
                until = i["life_ms"] if until is None else until

                if until > max(opened, *known):
                    yield f"interval {i['id']} of session" \
                          f" {i['session_id']} ends {until}," \
                          f" {i['close_reason']}; was seen until {known[1]}"

    def told(self):
        """Nobody hears of a charge that is not in the books."""
        true = set()

        for session, rows in self.transfers.items():
            charged = 0
            for t in rows:
                charged += t["amount"]
                true.add((session, charged))

        true.update((s["id"], s["charged"]) for s in self.sessions)

        for tick in set().union(*(g.ticks for g in self.life.gateways)):
            if (tick[0], tick[2]) not in true and tick[2] != 0:
                yield f"a billing_tick was told that is not in the books:" \
                      f" {tick}"

"""The parts of the benchmark; run.py puts them together.

common.py    paths, ports, programs, and the exception that says "skipped"
machine.py   what this machine is; CPU time and memory of processes
load.py      runs wsload and reads what it prints
table.py     medians, ratios and the tables they are printed in
stack.py     our own system: database, Redis, nginx with the module, worker
people.py    accounts, tokens and sessions made straight in the database
ours.py      our system as a server to load, and what its clients send
peers.py     the servers that it is compared with
relay.py  idle.py  growth.py  chat.py  rest.py  logins.py  webhooks.py
search.py  stats.py  ticks.py  exhaustion.py  storm.py  billing.py
             what is measured: one file for each
"""

"""The service under load beside other ways to serve the same model: who answers how fast.

`python -m perfcast.serving.bench.peers` (or `make bench-serving`) installs the others into
environments of their own below a cache folder, starts everything, checks that all give the same
answers, and measures them in turn with `wrk`. Ratios count; times depend on the machine.

`peers` says who is measured; `environments`, `processes` and `fleet` install and start them.
`requests` writes the same question as each wants it, `checking` compares the answers, `wrk` sends
the load, `long` one long request; `usage` notices a machine that is not idle. `report` holds the
results against the bars and `tables` shows them. What is in `programs` runs in the peers'
environments and is never imported.
"""

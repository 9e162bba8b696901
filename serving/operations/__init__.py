"""Running the service among other people's machines: who may ask, how much, and how it went.

`Gate` stands in front of every door: request ids, tokens, rate limit, bounded admission, deadlines,
metrics and access log, at a few microseconds a request. `Lifecycle` says whether the process is
ready or stopping; `protocol` bounds what a connection may send before there is a request at all;
`workers` runs several processes on one socket. `serving/deploy` holds what a cluster needs.
"""

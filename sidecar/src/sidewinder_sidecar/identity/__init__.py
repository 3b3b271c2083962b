"""Who this sidecar is: a key and a certificate of its own, from the operator, for the token of its pod.

`renewal` lives in the proxy and decides when; `child` starts `enrol` in a process of its own and hears how it went;
`files` is what is on disk, `leaf` what a certificate says. Started by main; nothing here knows discovery.
"""

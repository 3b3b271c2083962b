"""Transparent interception: rules that lead a pod's TCP connections through its proxy. Run once, as the init container.

`rules` says what is redirected, as data; `netfilter` writes it to the kernel in one atomic batch, without any program;
`main` reads the arguments. Needs NET_ADMIN and nothing else. A rerun replaces the rules.
"""

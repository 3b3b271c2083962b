"""Pod in, JSON patch out: what a pod of the mesh gets beside its own containers. Pure; called by `admission`.

`annotations` is the table of what users may ask for, `options` what the installation says, `containers` what is added,
`probes` what the proxy asks for the kubelet, `patch` the recipe and its refusals, `difference` the JSON patch.
"""

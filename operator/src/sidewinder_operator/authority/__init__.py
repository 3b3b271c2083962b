"""The certificate authority: who may call itself what. `root` holds keys and trust, `sign` makes leaves.

All replicas sign with the same root, which lies in one Secret. What a leaf says comes from whoever has verified the
caller (a TokenReview in the cluster, the socket in local mode), never from the request.
"""

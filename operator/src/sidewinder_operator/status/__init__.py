"""What is told in the cluster: conditions and counts in each object's status, and Events for what a person should see.

`content` says what a status is to say, `writer` writes what differs from what stands there, `events` tells the news.
"""

-- wrk: 1 MB in a POST, on every request.
wrk.method = "POST"
wrk.headers["content-type"] = "application/octet-stream"
wrk.body = string.rep("0123456789abcdef", 65536)

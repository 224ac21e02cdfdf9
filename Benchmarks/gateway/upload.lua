-- For wrk: a body of 10 MiB.
wrk.method = "POST"
wrk.body = string.rep("x", 10 * 1024 * 1024)

#!/bin/sh
# Run with: sh run_test.sh
answer=$(printf Ada | CALL_ID=test METHOD=POST REQUEST_PATH=/ QUERY= ./run.sh 2>/dev/null)
[ "$answer" = "Hello, Ada!" ] || { echo "FAIL: '$answer'" >&2; exit 1; }
echo ok

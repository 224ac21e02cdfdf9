#!/bin/sh
# Run with: sh server_test.sh (needs curl and a free port 18080)
make -s server && PORT=18080 ./server &
server=$!
trap 'kill $server' EXIT
answer=$(curl -s --retry 20 --retry-connrefused --retry-delay 1 -d Ada http://127.0.0.1:18080/)
[ "$answer" = "Hello, Ada!" ] || { echo "FAIL: '$answer'" >&2; exit 1; }
echo ok

#!/bin/sh
# Run with: sh server_test.sh (needs curl and a free port, 28641 unless TEST_PORT says otherwise)
port=${TEST_PORT:-28641}
make -s server || exit 1
PORT=$port ./server &
server=$!
trap 'kill $server 2>/dev/null' EXIT
answer=$(curl -s --retry 20 --retry-connrefused --retry-delay 1 -d Ada "http://127.0.0.1:$port/")
[ "$answer" = "Hello, Ada!" ] || { echo "FAIL: '$answer'" >&2; exit 1; }
echo ok

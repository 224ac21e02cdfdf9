#!/bin/sh
# One process a call: the body is on standard input, what is printed is the answer, standard error is the log.
name=$(cat)
echo "greeting $name, call $CALL_ID" >&2
printf 'Hello, %s!' "$name"

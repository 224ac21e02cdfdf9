#!/bin/sh
# One process a call: the body is on standard input, what is printed is the answer, standard error is the log.
name=$(cat)
while :; do
  case $name in
    [[:space:]]*) name=${name#?} ;;
    *[[:space:]]) name=${name%?} ;;
    *) break ;;
  esac
done
echo "greeting, call $CALL_ID" >&2
printf 'Hello, %s!' "${name:-world}"

#!/bin/sh
# Statistics of a posted text with standard tools: lines, words, bytes, and the most frequent words (?top=N).
set -eu

if [ "$METHOD" != POST ]; then
  echo "post a text, this was $METHOD" >&2
  exit 2
fi
top=5
case $QUERY in
  top=[0-9]|top=[0-9][0-9]) top=${QUERY#top=} ;;
  "") ;;
  *) echo "query '$QUERY' is not top=N with N from 0 to 99" >&2; exit 2 ;;
esac

text=$TMPDIR/text.$CALL_ID.$$
trap 'rm -f "$text"' EXIT
cat > "$text"
set -- $(wc < "$text")
echo "read $3 bytes" >&2
echo "lines $1"
echo "words $2"
echo "bytes $3"
tr 'A-Z' 'a-z' < "$text" | tr -cs 'a-z' '\n' | sort | uniq -c | sort -k1,1nr -k2 | while read -r count word; do
  [ -n "$word" ] || continue
  [ "$top" -gt 0 ] || break
  echo "$word $count"
  top=$((top - 1))
done

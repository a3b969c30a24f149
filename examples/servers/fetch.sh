#!/bin/sh
# Fetches what a TLS server needs to check cards: root.pem and lists.pem, in the current directory.
#
#     sh fetch.sh http://127.0.0.1:18601                                    # the full list
#     sh fetch.sh http://127.0.0.1:18601 Tokyo-to/Shibuya-ku authority      # one municipality's, and the authority's own
#
# nginx, HAProxy and PostgreSQL need the list `authority` beside municipalities' lists. Run it once a day, and reload the
# server afterwards. GENERATION is the generation of the authority's key (`kazashi ca generations`); each has a root and
# lists of its own.
set -eu
services=$1
generation=${GENERATION:-03}
shift
[ $# -gt 0 ] || set -- full

fetched=$(mktemp -d)
trap 'rm -rf "$fetched"' EXIT
curl --silent --show-error --fail "$services/ca/authentication/$generation.cer" | openssl x509 -inform DER > "$fetched/root.pem"
for list in "$@"; do
    curl --silent --show-error --fail "$services/crl/authentication/$generation/$list.crl" | openssl crl -inform DER
done > "$fetched/lists.pem"
[ "$(grep -c BEGIN "$fetched/lists.pem")" -eq $# ]
mv "$fetched/root.pem" "$fetched/lists.pem" .

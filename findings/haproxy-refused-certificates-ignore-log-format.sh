#!/bin/sh
# Tool:      HAProxy 2.6 (Debian 12: 2.6.12), a TLS listener with `verify required` and an own `log-format`
# Behaviour: A connection whose client certificate is refused is not logged in that format. Its line has the address,
#            the time and "SSL client certificate not trusted", so neither the serial number nor the error code that the
#            format asks for. Programs that parse the log by its format drop exactly the refused certificates.
# Guess:     "log-format" is the format of the listener's log, so a refused connection has a line of the same fields,
#            some of them "-", as in nginx and Apache.
# Remedy:    Set `error-log-format`, too. `%[ssl_c_serial,hex]` has the serial number there as well.
# Seen:      2026-11-30, HAProxy 2.6.12: as described, without and with the remedy.
set -eu
directory=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$directory"' EXIT
server=0
cd "$directory"
PATH=$PATH:/usr/sbin

case $(haproxy -v) in
  "HAProxy version 2.6."*) ;;
  *) echo "this describes HAProxy 2.6, and here is: $(haproxy -v | head -n 1)" >&2; exit 1 ;;
esac

issue() { # NAME SUBJECT SERIAL: a self-signed certificate
  openssl req -new -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.crt" -days 30 -subj "/CN=$2" \
    -set_serial "$3" 2>/dev/null
}
issue server localhost 1
issue known "a known client" 0x70000A0B
issue unknown "an unknown client" 0x70000C0D
cat server.key server.crt > server.pem

log() { # EXTRA LINE: the lines of the log after a known and an unknown client
  cat > haproxy.cfg <<CONFIGURATION
global
  log stdout format raw local0
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend site
  bind 127.0.0.1:28443 ssl crt server.pem ca-file known.crt verify required
  log global
  log-format "serial=%[ssl_c_serial,hex] error=%[ssl_c_err]"
  $1
  http-request return status 200
CONFIGURATION
  haproxy -f haproxy.cfg > log 2> errors &
  server=$!
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    curl -sk --cert known.crt --key known.key https://127.0.0.1:28443/ > /dev/null && break
    sleep 0.5
  done
  curl -sk --tls-max 1.2 --cert unknown.crt --key unknown.key https://127.0.0.1:28443/ > /dev/null || true
  sleep 0.5
  kill "$server"
  wait "$server" 2>/dev/null || true
  cat log
}

log "" > without
grep -q '^serial=70000A0B error=0$' without || { echo "CHANGED: a good certificate is logged otherwise" >&2; exit 1; }
if grep -q 70000C0D without; then
  echo "CHANGED: a refused certificate is logged in the format" >&2
  exit 1
fi
grep -q 'SSL client certificate not trusted' without || { echo "CHANGED: another text for a refused one" >&2; exit 1; }
echo "log-format alone:"
sed 's/^127[^ ]* \[[^]]*\]/ADDRESS [TIME]/' without

log 'error-log-format "serial=%[ssl_c_serial,hex] error=%[ssl_c_err]"' > with
grep -q '^serial=70000C0D error=[1-9]' with || { echo "CHANGED: error-log-format does not help" >&2; exit 1; }
echo "with error-log-format:"
cat with

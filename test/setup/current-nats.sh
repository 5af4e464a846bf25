#!/bin/sh
# A current nats-server for the cluster's tests, beside the one that Debian has: built from Go's module proxy into a cache, where there is Go.
#
#   sh test/setup/current-nats.sh          builds it where it is missing, and says when it cannot
#   sh test/setup/current-nats.sh --path   prints where it is, or would be
set -eu

version=v2.15.2
folder="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/whalesong/nats-server-$version"
program="$folder/nats-server"

if [ "${1:-}" = "--path" ]; then
  echo "$program"
  exit 0
fi
[ -x "$program" ] && exit 0
# Go's own archive puts it where no PATH leads.
PATH="$PATH:/usr/local/go/bin"
if ! command -v go >/dev/null 2>&1; then
  echo "test set-up: there is no Go here, so the cluster's tests run against the installed nats-server alone" >&2
  exit 0
fi
echo "test set-up: building nats-server $version"
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
if GOBIN="$built" go install "github.com/nats-io/nats-server/v2@$version"; then
  mkdir -p "$folder"
  # Renamed in its own folder, so that two set-ups at once leave a whole file.
  cp "$built/nats-server" "$program.$$" && mv "$program.$$" "$program"
else
  echo "test set-up: could not build nats-server $version; the tests against it will say so" >&2
fi

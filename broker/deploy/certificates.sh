#!/bin/sh
# Makes the certificates of a cluster's NATS: an authority, one for each server, and one for each client.
#
#     sh certificates.sh FOLDER SERVER…        e.g.  sh certificates.sh certs nats-1 nats-2 nats-3
#
# SERVER is the name by which clients and the other servers reach it; of several, by commas (nats-1,nats-1.example,10.0.0.1), the first
# names its folder. Nodes go by names: their NATS client holds no certificate against an address. What comes of it:
#
#     FOLDER/authority/      ca-key.pem: whoever has it can be anyone; keep it apart from the servers
#     FOLDER/SERVER/         ca.pem server.pem server-key.pem: for that server's /etc/nats/certs
#     FOLDER/whalesong/      ca.pem client.pem client-key.pem: for each node's /etc/whalesong/certs
#     FOLDER/nats-admin/     the same for who runs the servers, FOLDER/apps/ for other programs
#
# Run again it makes what is missing and leaves the rest: so a server is added, or after a deleted folder gets new certificates.
# They are good for DAYS days (825 when it is not set), the authority for ten years.
set -eu

[ $# -ge 2 ] || { echo "usage: sh certificates.sh FOLDER SERVER…" >&2; exit 2; }
folder=$1
shift
days=${DAYS:-825}
umask 077
mkdir -p "$folder/authority"
authority=$folder/authority

if [ ! -e "$authority/ca.pem" ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=whalesong authority" \
    -keyout "$authority/ca-key.pem" -out "$authority/ca.pem" 2>/dev/null
fi

# certificate NAME FILE EXTENSIONS
certificate() {
  into=$folder/$1
  [ -e "$into/$2.pem" ] && return
  mkdir -p "$into"
  printf '%s\n' "basicConstraints=critical,CA:FALSE" "$3" >"$into/extensions"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
    -keyout "$into/$2-key.pem" -out "$into/request" 2>/dev/null
  openssl x509 -req -in "$into/request" -days "$days" -extfile "$into/extensions" \
    -CA "$authority/ca.pem" -CAkey "$authority/ca-key.pem" -set_serial "0x$(openssl rand -hex 16)" -out "$into/$2.pem" 2>/dev/null
  rm "$into/request" "$into/extensions"
  cp "$authority/ca.pem" "$into/ca.pem"
  echo "$into/$2.pem"
}

for names in "$@"; do
  # nats-1,10.0.0.1 as DNS:nats-1,IP:10.0.0.1
  alternatives=$(printf '%s' "$names" | tr ',' '\n' | sed -E 's/^[0-9.]+$/IP:&/; t; s/^/DNS:/' | paste -sd, -)
  # A server is a client too, of the other servers.
  certificate "${names%%,*}" server "subjectAltName=$alternatives
extendedKeyUsage=serverAuth,clientAuth"
done
for client in whalesong nats-admin apps; do
  certificate "$client" client "extendedKeyUsage=clientAuth"
done

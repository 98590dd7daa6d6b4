#!/bin/sh
# Written by provision: the certificate of the address that clients use. An edit here is put back.
#   tls-renew [DAYS]   makes a new one when fewer than DAYS (30) are left or its names or its issuer have changed
#   tls-renew load     lets nginx read today's, once it has accepted it
set -eu
umask 077
LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
D=${PROVISION_TLS:-/etc/provision/tls}

if [ "${1:-}" = load ]; then
  # What nginx noted at its last start or reload is the file as it is: nothing to read.
  if grep -qxF -e "$(sha256sum "$D/door.pem")" /run/provision/nginx.service 2>/dev/null; then exit 0; fi
  systemctl -q is-active nginx.service || exit 0
  nginx -t -q
  systemctl reload nginx.service
  exit 0
fi

names=$(cat "$D/names")
days=${1:-30}
good() {
  grep -qxF -e "# names: $names" "$D/door.pem" &&
    openssl x509 -in "$D/door.pem" -noout -checkend "$((days * 86400))" &&
    openssl verify -x509_strict -purpose sslserver -CAfile "$D/root.crt" -untrusted "$T/issuer" "$D/door.pem"
}

T=$(mktemp -d "$D/.new.XXXXXX")
trap 'rm -rf "$T"' EXIT
trap 'exit 143' TERM
openssl x509 -in "$D/issuer.pem" -out "$T/issuer"
if good >/dev/null 2>&1; then exit 0; fi

# An hour back, for clients whose clock is late.
from=$(date -u -d "@$(($(date +%s) - 3600))" +%Y%m%d%H%M%SZ 2>/dev/null) || from=$(date -u +%Y%m%d%H%M%SZ)
: >"$T/index"
openssl rand -hex 16 >"$T/serial"
cat >"$T/settings" <<end
[req]
distinguished_name = subject
[subject]
[ca]
default_ca = this
[this]
database = $T/index
serial = $T/serial
new_certs_dir = $T
default_md = sha256
policy = policy
unique_subject = no
copy_extensions = none
x509_extensions = leaf
[policy]
organizationName = supplied
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = $names
end
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:named_curve -out "$T/key" 2>/dev/null
openssl req -new -sha256 -config "$T/settings" -subj /O=provision -key "$T/key" -out "$T/request"
openssl ca -batch -notext -config "$T/settings" -startdate "$from" -days 90 \
  -cert "$T/issuer" -keyfile "$D/issuer.pem" -in "$T/request" -out "$T/leaf" 2>"$T/said" || { cat "$T/said" >&2; exit 1; }
# Nothing that a client would refuse takes the place of what is there.
openssl verify -x509_strict -purpose sslserver -CAfile "$D/root.crt" -untrusted "$T/issuer" "$T/leaf" >/dev/null
{
  echo "# Written by provision: key and certificate of the address that clients use, renewed by provision-tls.timer."
  echo "# names: $names"
  cat "$T/key" "$T/leaf" "$T/issuer"
} >"$T/door.pem"
mv -f "$T/door.pem" "$D/door.pem"
echo "a new certificate, good for 90 days: $names"

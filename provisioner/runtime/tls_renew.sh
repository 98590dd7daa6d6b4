#!/bin/sh
# Written by provision: the certificates that this host's services show. An edit here is put back.
#   tls-renew [DAYS [FILE]]   makes new ones where fewer than DAYS (30) are left, or names or issuer have changed
#   tls-renew load            lets each service read today's, once it has accepted it
set -eu
umask 077
LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
D=${PROVISION_TLS:-/etc/provision/tls}

load() {
  # What the service noted at its last start or reload is the file as it is: nothing to read.
  if grep -qxF -e "$(sha256sum "$file")" "/run/provision/$unit" 2>/dev/null; then exit 0; fi
  systemctl -q is-active "$unit" || exit 0
  if [ "$unit" = nginx.service ]; then nginx -t -q; fi
  systemctl reload "$unit"
}

good() {
  grep -qxF -e "# names: $names" "$file" &&
    openssl x509 -in "$file" -noout -checkend "$((days * 86400))" &&
    openssl verify -x509_strict -purpose sslserver -CAfile "$D/root.crt" -untrusted "$T/issuer" "$file"
}

renew() {
  # Beside its place: a file gets its group from the folder.
  T=$(mktemp -d "${file%/*}/.new.XXXXXX")
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
extendedKeyUsage = $usage
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
    echo "# Written by provision: a key and its certificate, renewed by provision-tls.timer."
    echo "# names: $names"
    cat "$T/key" "$T/leaf" "$T/issuer"
  } >"$T/pem"
  chmod "$mode" "$T/pem"
  mv -f "$T/pem" "$file"
  echo "$file: a new certificate, good for 90 days: $names"
}

what=renew days=30 only=
case ${1:-} in
  load) what=load ;;
  ?*) days=$1 only=${2:-} ;;
esac
failed=0
while read -r file mode unit usage names; do
  case $file in /*) ;; *) continue ;; esac
  if [ -n "$only" ] && [ "$file" != "$only" ]; then continue; fi
  # Its service is not there yet, or not any more.
  [ -d "${file%/*}" ] || continue
  # One that fails keeps no other from its turn. Not in a condition, in which a shell ignores `set -e`.
  (set -eu; if [ $what = load ]; then load; else renew; fi) &
  wait $! || failed=1
done <"$D/names"
exit $failed

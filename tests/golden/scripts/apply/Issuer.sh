# create certificate:issuer: absent
f=$T/stage0
printf %s '# Written by provision: what renews the certificate of this host'\''s address, and can certify no other name.
' >"$f"
[ "$(sha256sum <"$f")" = "805112d8ae8bc1867048fdcce9da5e0248369d26d0e7af39d0e97c4f539ea1a2  -" ]
unplaced() { rm -f -- /etc/provision/tls/issuer.pem.provision-new; }
trap unplaced EXIT
f=$T/stage0
[ -d /etc/provision/tls ] || mkdir -p -m 0755 /etc/provision/tls
keep /etc/provision/tls/issuer.pem
rm -f -- /etc/provision/tls/issuer.pem.provision-new
cat "$f" >/etc/provision/tls/issuer.pem.provision-new
chown -h root:root -- /etc/provision/tls/issuer.pem.provision-new
chmod 0600 -- /etc/provision/tls/issuer.pem.provision-new
mv -f -T -- /etc/provision/tls/issuer.pem.provision-new /etc/provision/tls/issuer.pem

# create certificate:issuer: absent
f=$T/stage0
printf %s '# Written by provision: what renews the certificates of this host, and can certify no other name.
' >"$f"
[ "$(sha256sum <"$f")" = "7393bb7e9a101c53990ba393ffd78488cb57ebb145b7e3a0f0029ec005d0bb45  -" ]
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

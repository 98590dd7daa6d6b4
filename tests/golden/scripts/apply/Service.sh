# start unit:seaweedfs.service: absent
systemctl daemon-reload
if [ "$(systemctl show -p LoadState --value seaweedfs.service)" = masked ]; then
  systemctl unmask -q seaweedfs.service; systemctl unmask -q --runtime seaweedfs.service; systemctl daemon-reload
fi
if [ "$(systemctl show -p LoadState --value seaweedfs-s3.socket)" = masked ]; then
  systemctl unmask -q seaweedfs-s3.socket; systemctl unmask -q --runtime seaweedfs-s3.socket; systemctl daemon-reload
fi
[ "$(systemctl is-enabled seaweedfs.service 2>/dev/null)" = enabled ] || systemctl enable -q seaweedfs.service || case $(systemctl is-enabled seaweedfs.service) in static|alias|generated|indirect|enabled-runtime) ;; *) exit 1 ;; esac
if systemctl -q is-active seaweedfs.service; then undo_unit seaweedfs.service /etc/systemd/system/seaweedfs.service /etc/systemd/system/seaweedfs-s3.socket /etc/systemd/system/seaweedfs-s3.service /etc/seaweedfs/seaweedfs.env /etc/seaweedfs/s3.json /usr/local/bin/weed; fi
systemctl reset-failed seaweedfs.service 2>/dev/null || :
systemctl restart seaweedfs.service || { journalctl -u seaweedfs.service -n 20 --no-pager -o cat; exit 1; }
t=$(($(date +%s) + 90)); n0=$(systemctl show -p NRestarts --value seaweedfs.service)
until said=$( ( /usr/bin/python3 -I -S - <<'end-of-answers'
ASKED = [('port 9000', (200,), 9000, b'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', b'', '')]
import socket, time
def encrypted(plain, certificate):
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain.settimeout(5)
    s = context.wrap_socket(plain)
    end = "-----END CERTIFICATE-----"
    with open(certificate) as file:
        first = file.read().partition(end)[0].rpartition("-----BEGIN")[2]
    if s.getpeercert(True) != ssl.PEM_cert_to_DER_cert("-----BEGIN" + first + end):
        raise OSError("shows another certificate than today's")
    return s
def ask(port, request, wanted, certificate):
    with socket.create_connection(("127.0.0.1", port), 2) as plain:
        s = encrypted(plain, certificate) if certificate else plain
        status = exchange(s, request, wanted)
        s.close()
    return status
def exchange(s, request, wanted):
    s.settimeout(5)
    s.sendall(request)
    reply = b""
    while (wanted not in reply or b"\n" not in reply) and len(reply) < 65536:
        chunk = s.recv(4096)
        if not chunk:
            break
        reply += chunk
    words = reply.split(b"\n")[0].split()
    if wanted not in reply or len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return 0
    return int(words[1])
def all_well():
    for place, accepted, *rest in ASKED:
        try:
            status = ask(*rest)
        except (OSError, ValueError) as error:
            print(place, error)
            return False
        if status not in accepted:
            print(place, "answers", status)
            return False
    return True
end = time.monotonic() + 3
while not all_well():
    if time.monotonic() > end:
        raise SystemExit(1)
    time.sleep(0.1)
end-of-answers
) 2>&1 ); do
  n=$(systemctl show -p NRestarts --value seaweedfs.service); [ $((${n:-0} - ${n0:-0})) -lt 3 ] || { echo 'it ends again and again while starting' >&2; { journalctl -u seaweedfs.service -n 20 --no-pager -o cat; exit 1; }; }
  if systemctl -q is-failed seaweedfs.service; then echo 'it ended while starting' >&2; { journalctl -u seaweedfs.service -n 20 --no-pager -o cat; exit 1; }; fi
  if [ "$(date +%s)" -ge $t ]; then echo "no healthy answer within 90 s${said:+: $(printf '%s' "$said" | tail -n 1 | tr -d '\000-\037' | cut -c1-200)}" >&2; { journalctl -u seaweedfs.service -n 20 --no-pager -o cat; exit 1; }; fi
  sleep 0.1
done
proven

# run cluster:minio: not enough of its drives are there
said=; t=$(($(date +%s) + 300))
until [ "$(/usr/bin/python3 -I - 9000 /etc/provision/tls/root.crt /minio/health/cluster <<'end-of-question'
import http.client, ssl, sys
try:
    context = ssl.create_default_context(cafile=sys.argv[2])
    connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), timeout=5, context=context)
    connection.request("GET", sys.argv[3])
    print(connection.getresponse().status)
except (OSError, ValueError, http.client.HTTPException):
    print(0)
end-of-question
)" = 200 ] && said=$( ( true
) 2>&1 ); do
  if [ "$(date +%s)" -ge $t ]; then
    echo "not enough of the drives on its 4 hosts came within 300 s${said:+: $(printf '%s' "$said" | tail -n 1 | tr -d '\000-\037' | cut -c1-200)}" >&2
    journalctl -u minio.service -n 20 --no-pager -o cat; exit 1
  fi
  sleep 1
done

# remove example:nginx: comes with the package nginx
s=$(
if [ -L /etc/nginx/sites-enabled/default ] && [ "$(readlink -f /etc/nginx/sites-enabled/default)" = /etc/nginx/sites-available/default ]; then
  w=$(dpkg-query -W -f '${Conffiles}\n' nginx-common 2>/dev/null |
    while read -r p m rest; do if [ "$p" = /etc/nginx/sites-available/default ]; then echo "$m"; fi; done)
  h=$(md5sum </etc/nginx/sites-available/default); if [ "${h%% *}" = "$w" ]; then echo "0 same"; else echo "0 edited"; fi
fi
:
)
if [ "$s" = "0 same" ]; then keep /etc/nginx/sites-enabled/default; rm -f -- /etc/nginx/sites-enabled/default; fi

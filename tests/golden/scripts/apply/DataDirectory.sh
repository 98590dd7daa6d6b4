# create directory:seaweedfs-data: absent
if [ -e /etc/provision/had/bucket-mlflow ] && ! { [ -e /opt/seaweedfs/data/.provision-data ] || [ -e /opt/seaweedfs/data/filerldb2 ] || [ -e /opt/seaweedfs/data/vol_dir.uuid ]; }; then
  echo 'it is empty: is its disk mounted?' >&2; exit 1
fi
if [ -L /opt/seaweedfs/data ]; then echo 'a link is in its place: name the directory itself' >&2; exit 1; fi
if [ -e /opt/seaweedfs/data ] && ! [ -d /opt/seaweedfs/data ]; then keep /opt/seaweedfs/data; rm -f -- /opt/seaweedfs/data; fi
[ -d /opt/seaweedfs/data ] || ( umask 022 && mkdir -p /opt/seaweedfs/data )
(
  cd -P -- /opt/seaweedfs/data || exit 1
  if [ "$(stat -c %d:%i .)" != "$(stat -c %d:%i -- /opt/seaweedfs/data)" ]; then
    echo '/opt/seaweedfs/data is being replaced while it is worked on' >&2; exit 1
  fi
  chown seaweedfs:seaweedfs .
  chmod 0750 .
)
[ -e /opt/seaweedfs/data/.provision-data ] || setpriv --reuid=seaweedfs --regid=seaweedfs --clear-groups sh -c 'umask 027; echo "$1" >"$2"' mark 'Written by provision: without this file the service does not start, as its disk is not mounted then.' /opt/seaweedfs/data/.provision-data

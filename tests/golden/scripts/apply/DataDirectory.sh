# create directory:seaweedfs-data: absent
if [ -L /opt/seaweedfs/data ]; then echo 'a link is in its place: name the directory itself' >&2; exit 1; fi
if [ -e /opt/seaweedfs/data ] && ! [ -d /opt/seaweedfs/data ]; then keep /opt/seaweedfs/data; rm -f -- /opt/seaweedfs/data; fi
[ -d /opt/seaweedfs/data ] || ( umask 022 && mkdir -p /opt/seaweedfs/data )
chown -h seaweedfs:seaweedfs -- /opt/seaweedfs/data
chmod 0750 -- /opt/seaweedfs/data

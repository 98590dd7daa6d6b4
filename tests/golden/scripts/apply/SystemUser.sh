# create user:seaweedfs: absent
getent group seaweedfs >/dev/null || groupadd --system seaweedfs
getent passwd seaweedfs >/dev/null || useradd --system --gid seaweedfs --no-create-home --home-dir /opt/seaweedfs --shell /usr/sbin/nologin seaweedfs

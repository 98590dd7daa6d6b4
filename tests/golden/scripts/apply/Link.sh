# create link:weed: absent
mkdir -p -m 0755 /usr/local/bin
keep /usr/local/bin/weed
ln -sfn -- /opt/seaweedfs/bin/weed-4.48 /usr/local/bin/weed.provision-new
mv -f -T -- /usr/local/bin/weed.provision-new /usr/local/bin/weed

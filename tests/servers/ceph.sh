# A Ceph of one machine, its data in memory, with an S3 gateway on port 7480. Run as root.
# Arguments: access key, secret key
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends radosgw ceph-mon ceph-osd ceph-mgr ceph-common > /dev/null
mkdir -p /etc/ceph /var/lib/ceph/mon/ceph-a /var/lib/ceph/mgr/ceph-a /var/lib/ceph/osd/ceph-0
fsid=$(cat /proc/sys/kernel/random/uuid)
osd=$(cat /proc/sys/kernel/random/uuid)
cat > /etc/ceph/ceph.conf <<END
[global]
fsid = $fsid
mon host = v1:127.0.0.1:6789
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 2147483648
mon allow pool size one = true
mon data avail crit = 1
mon data avail warn = 1
END
monmaptool --create --clobber --addv a '[v1:127.0.0.1:6789]' --fsid "$fsid" /tmp/monmap > /dev/null
ceph-mon -i a --mkfs --monmap /tmp/monmap
ceph-mon -i a
ceph-mgr -i a
timeout 60 ceph osd new "$osd"
ceph-osd -i 0 --mkfs --osd-uuid "$osd"
ceph-osd -i 0
radosgw -n client.rgw.a --rgw-frontends='beast port=7480'
timeout 120 radosgw-admin user create --uid=test --display-name=test \
    --access-key="$1" --secret-key="$2" > /dev/null
dpkg-query -W -f '${Version}\n' radosgw

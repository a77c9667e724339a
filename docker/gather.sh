#!/bin/sh
# gather.sh BUILD IMAGE: put what the image holds into the folder IMAGE: the programs of the build folder BUILD, the libraries that they load,
# the authorities for TLS, a user. Packages that something was taken from are listed in var/lib/dpkg/status.d, where scanners look.
set -eu
build=$1 image=$2

mkdir -p "$image/etc/ssl" "$image/usr/lib64" "$image/var/lib/dpkg/status.d" "$image/tmp"
chmod 1777 "$image/tmp"
ln -s usr/bin "$image/bin"
ln -s usr/lib "$image/lib"
ln -s usr/lib64 "$image/lib64"
DESTDIR=$image cmake --install "$build" --component programs --strip --prefix /usr

# take FILE: a file of a package, under the name that it is looked up by, and the package's entry.
take() {
	mkdir -p "$image$(dirname "$1")"
	cp -L "$1" "$image$1"
	package=$(dpkg-query -S "$(readlink -f "$1")" | head -n 1 | cut -d: -f1)
	dpkg-query -s "$package" > "$image/var/lib/dpkg/status.d/$package"
}

for program in "$image"/usr/bin/*; do
	ldd "$program" | awk '$2 == "=>" { print $3 } $1 ~ "^/" { print $1 }'
done | sed 's,^/lib,/usr/lib,' | sort -u | while read -r library; do
	take "$library"
done

# One bundle and its name in OpenSSL's own folder serve hiredis, libpq (sslrootcert=system) and everything else.
mkdir -p "$image/etc/ssl/certs" "$image/usr/lib/ssl"
cp /etc/ssl/certs/ca-certificates.crt "$image/etc/ssl/certs/"
ln -s /etc/ssl/certs/ca-certificates.crt "$image/usr/lib/ssl/cert.pem"
ln -s /etc/ssl/certs "$image/usr/lib/ssl/certs"
dpkg-query -s ca-certificates > "$image/var/lib/dpkg/status.d/ca-certificates"

cp /etc/os-release "$image/etc/"
echo 'hosts: files dns' > "$image/etc/nsswitch.conf"
echo 'drover:x:65532:65532:Drover:/tmp:/sbin/nologin' > "$image/etc/passwd"
echo 'drover:x:65532:' > "$image/etc/group"
install -D -m 644 LICENSE "$image/usr/share/doc/drover/copyright"

"""An authority of the tests' own, and certificates by it."""

import subprocess

from lib.process import give_to_server_user, temporary_directory


class Authority:
    """ca: the file to trust. issue() makes a certificate and its key; all are gone with the tests' folder."""

    def __init__(self):
        self.dir = temporary_directory("certificates")
        self.ca = self.dir / "ca.pem"
        self.key = self.dir / "ca.key"
        self._openssl("req", "-x509", "-subj", "/CN=the tests' authority", "-days", "2", "-keyout", self.key, "-out", self.ca)

    def _openssl(self, verb, *args):
        subprocess.run(["openssl", verb, *map(str, args), *(["-newkey", "rsa:2048", "-nodes"] if verb == "req" else [])],
                       check=True, capture_output=True)

    def issue(self, name, *hosts, days=2):
        """(certificate, key) for host names and addresses, readable for servers."""
        cert, key, request, extra = (self.dir / f"{name}.{kind}" for kind in ("pem", "key", "csr", "ext"))
        self._openssl("req", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        names = [("IP:" if host.replace(".", "").isdigit() else "DNS:") + host for host in hosts]
        extra.write_text(f"subjectAltName={','.join(names)}\n" if names else "basicConstraints=CA:FALSE\n")
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key, "-CAcreateserial", "-days", days,
                      "-extfile", extra, "-out", cert)
        for path in (cert, key):
            path.chmod(0o600)
            give_to_server_user(path)
        return cert, key

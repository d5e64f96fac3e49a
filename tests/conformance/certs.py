# SPDX-License-Identifier: Apache-2.0
"""Certificates for the small servers of the tests."""
import functools
import itertools
import pathlib
import subprocess
import tempfile

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """A CA of its own; pem is its certificate."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="isoplane-ca-"))
        self.numbers = itertools.count()
        self.openssl("req", "-x509", *KEY, "-keyout", "ca.key", "-out", "ca.crt", "-subj",
                     "/CN=test-ca", "-days", "2")
        self.pem = (self.dir / "ca.crt").read_text()

    def openssl(self, *args):
        subprocess.run(["openssl", *args], cwd=self.dir, check=True, capture_output=True)

    def issue(self, *names, days=2):
        """A file with a key and a certificate for names ("DNS:x", "IP:y"); days 0: expired."""
        n = f"s{next(self.numbers)}"
        self.openssl("req", *KEY, "-keyout", f"{n}.key", "-out", f"{n}.csr", "-subj", "/CN=test")
        (self.dir / f"{n}.ext").write_text("subjectAltName=" + ",".join(names))
        self.openssl("x509", "-req", "-in", f"{n}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-out",
                     f"{n}.crt", "-CAcreateserial", "-days", str(days), "-extfile", f"{n}.ext")
        pem = self.dir / f"{n}.pem"
        pem.write_text((self.dir / f"{n}.key").read_text() + (self.dir / f"{n}.crt").read_text())
        return pem


@functools.cache
def authority():
    """One for all who do not care which."""
    return Authority()

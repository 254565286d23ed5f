"""Makes a certificate for `localhost` and all names below it, signed by itself: `certificate.py CERTIFICATE KEY`."""

import datetime
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def main():
    """Writes both files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName("*.localhost")])
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    pathlib.Path(sys.argv[1]).write_bytes(certificate.public_bytes(pem))
    form = serialization.PrivateFormat.PKCS8
    pathlib.Path(sys.argv[2]).write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))


if __name__ == "__main__":
    main()

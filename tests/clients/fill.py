"""Makes the bucket and the objects that several clients use. They are the same bytes in every run."""

import gzip
import random

import checks

TEXT = "".join(f"line {i}: a sentence with some words, and with umlauts: äöü\n" for i in range(4000)).encode()


def store(key, body, **fields):
    """Stores an object, and keeps its bytes in a file."""
    path = checks.FILES / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    checks.put(key, body, **fields)


def main():
    """Fills the bucket."""
    checks.s3().create_bucket(Bucket=checks.BUCKET)
    large = random.Random(1).randbytes(20_000_000)
    store("large.bin", large, ContentType="application/octet-stream")
    store("medium.bin", large[:3_000_000], ContentType="application/octet-stream")
    store("empty.txt", b"", ContentType="text/plain")
    store("text.txt", TEXT, ContentType="text/plain; charset=utf-8")
    packed = gzip.compress(TEXT, mtime=0)
    store("packed.txt", packed, ContentType="text/plain; charset=utf-8", ContentEncoding="gzip")
    store("a b+c/grün.txt", b"a key with a space, a plus and an umlaut\n", ContentType="text/plain")


if __name__ == "__main__":
    main()

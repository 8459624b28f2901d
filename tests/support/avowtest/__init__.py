"""What the integration tests and the demo share: processes, an installation, and an independent reader of the topics.

Nothing here uses Avow's own libraries: records are decoded by fastavro and proofs are checked with `cryptography`, so
that a fault in our codecs or signatures cannot hide itself.
"""

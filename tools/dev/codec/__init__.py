"""The parts of tools/dev/gen-codec."""

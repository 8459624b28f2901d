"""The parts of tools/dev/gen-reference."""

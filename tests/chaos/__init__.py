"""The chaos suite: everything that can break does, while rows that must change exactly once are being changed. See README.md of the tests."""

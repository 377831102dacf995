"""Command line tools beside the daemon."""

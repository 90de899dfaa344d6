"""Showing a parity ladder, its energy estimates or a diagnosis: terminal, HTML page, JSON."""

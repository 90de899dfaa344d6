"""Reports of parity ladders, energy estimates and diagnoses: terminal, HTML page, JSON."""

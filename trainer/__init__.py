"""Training with rate-based backpropagation (needs torch)."""
